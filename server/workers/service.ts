// A background loop that can be started, stopped and ticked by hand: jittered, one pass at a time, errors reported
// and survived.

export interface Worker {
  readonly name: string;
  start(): void;
  stop(): Promise<void>;
  /** One pass; resolves with how much was handled. Concurrent calls share it. */
  tick(): Promise<number>;
  /** Begins a pass soon, or after `ms`; after the one under way, if there is one. */
  wake(ms?: number): void;
}

export interface WorkerOptions {
  readonly name: string;
  readonly intervalMs: number;
  readonly pass: () => Promise<number>;
  readonly onError: (error: unknown, worker: string) => void;
}

const JITTER = 0.1;

export function createWorker(options: WorkerOptions): Worker {
  let running: Promise<number> | null = null;
  let timer: NodeJS.Timeout | null = null;
  let dueAt = Number.POSITIVE_INFINITY;
  let started = false;
  let stopped = false;

  function schedule(ms: number): void {
    const at = performance.now() + ms;
    if (!started || stopped || at >= dueAt) return;
    if (timer !== null) clearTimeout(timer);
    dueAt = at;
    timer = setTimeout(() => {
      timer = null;
      dueAt = Number.POSITIVE_INFINITY;
      void pass().finally(() => schedule(options.intervalMs * (1 + JITTER * (Math.random() - 0.5))));
    }, ms);
    timer.unref();
  }

  /** One that begins now: a pass that is under way may have looked before what we are woken for was there. */
  async function pass(): Promise<void> {
    await running;
    if (!stopped) await tick();
  }

  function tick(): Promise<number> {
    running ??= options
      .pass()
      .catch((error) => {
        options.onError(error, options.name);
        return 0;
      })
      .finally(() => {
        running = null;
      });
    return running;
  }

  return {
    name: options.name,
    tick,
    start() {
      if (started) return;
      started = true;
      schedule(0);
    },
    async stop() {
      stopped = true;
      if (timer !== null) clearTimeout(timer);
      await running;
    },
    wake(ms = 0) {
      schedule(ms);
    },
  };
}
