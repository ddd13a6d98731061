// The pulse of this replica and what follows from it: grace after an outage before anybody is declared dead (D6), a wake
// for every worker that has something to do. A watch of its own sees when the pulse itself gets no answer.

import type { Engine } from "../engine/context.ts";
import { inheritStreams, type Pulse, patience, pulse } from "../engine/pulse.ts";
import { type OpenStream, PULSE_TIMEOUT_MS } from "../store/replicas.ts";
import { createWorker, type Worker } from "./service.ts";

export interface PulseOptions {
  readonly engine: Engine;
  readonly onError: (error: unknown, worker: string) => void;
  /** Addresses with somebody waiting here. */
  readonly addresses: () => string[];
  readonly wakeAddress: (address: string) => void;
  readonly onDatabase: (up: boolean) => void;
  /** No pulse for a heartbeat interval: nothing can be delivered here, and agents may find a better replica (D6). */
  readonly onOutage: () => void;
  readonly onPeers: (others: number) => void;
  readonly openStreams: () => readonly OpenStream[];
  /** A stream here that counts as closed, whoever closed it: its agent has to connect again. */
  readonly onStreamClosed: (stream: OpenStream) => void;
}

export interface DueWorkers {
  readonly timers: Worker;
  readonly leases: Worker;
  readonly outbox: Worker;
}

/** Rejects when `work` takes longer; what comes of it later is nobody's concern. */
function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let late: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    late = setTimeout(() => reject(new Error(`the database did not answer within ${ms} ms`)), ms);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(late));
}

/** A standby that took over may not know of the last commits: queues have entries again that were taken. */
const WHOLE_LOOK_PULSES = 10;
const WATCH_MAX_MS = 1_000;

export function createPulse(options: PulseOptions, due: DueWorkers): { pulse: Worker; watch: Worker } {
  const { engine } = options;
  const { awayMs } = patience(engine.settings);
  let lastAt = performance.now();
  /** Since we came up beside a replica that had pulsed a moment before: whether it lives is to be seen. */
  let doubted = false;

  async function watchNeighbours(seen: Pulse): Promise<void> {
    if (seen.recovered) doubted = seen.otherReplicas > 0;
    else if (doubted && seen.othersSince) doubted = false;
    else if (doubted && seen.otherReplicas === 0) {
      await inheritStreams(engine);
      doubted = false;
    }
  }

  let others = 0;
  let pulses = 0;

  const pulseWorker = createWorker({
    name: "pulse",
    intervalMs: engine.settings.pollIntervalMs,
    onError: (error, worker) => {
      options.onDatabase(false);
      options.onError(error, worker);
    },
    pass: async () => {
      // Of what others commit we may have heard nothing. Alone we know where the queues begin, as long as the database forgets nothing.
      const whole = others > 0 || pulses++ % WHOLE_LOOK_PULSES === 0;
      const asked = { addresses: options.addresses(), streams: options.openStreams(), whole };
      const seen = await within(PULSE_TIMEOUT_MS, pulse(engine, asked));
      others = seen.otherReplicas;
      lastAt = performance.now();
      options.onPeers(seen.otherReplicas);
      for (const stream of seen.closedStreams) options.onStreamClosed(stream);
      await within(PULSE_TIMEOUT_MS, watchNeighbours(seen));
      options.onDatabase(true);
      if (seen.leasesOver) due.leases.wake();
      if (seen.timersDue) due.timers.wake();
      if (seen.outboxFull) due.outbox.wake();
      for (const address of seen.readyAddresses) options.wakeAddress(address);
      return seen.readyAddresses.length;
    },
  });
  let looks = 0;
  // A database that hangs fails nothing: only the time that passes tells of it. Looked at twice, because after a pause of this
  // process the watch may come before the answer that has long been there.
  const watch = createWorker({
    name: "watch",
    intervalMs: Math.min(engine.settings.pollIntervalMs, WATCH_MAX_MS),
    onError: options.onError,
    pass: async () => {
      looks = performance.now() - lastAt > awayMs ? looks + 1 : 0;
      if (looks < 2) return 0;
      options.onDatabase(false);
      options.onOutage();
      return 1;
    },
  });
  return { pulse: pulseWorker, watch };
}
