// The way between a client and its server, which a test may cut, freeze and turn to another server.

export interface Network {
  readonly fetch: typeof fetch;
  /** Breaks every connection that is open now; new ones work. */
  cut(): void;
  /** From now on nothing arrives and nothing leaves: the client's process is as good as dead. */
  kill(): void;
  /** Holds requests back, and the frames of open streams, until `thaw`: a stopped process. */
  freeze(): void;
  thaw(): void;
  /** Sends new requests to another server. */
  turnTo(url: string): void;
  /** Paths of requests made so far, as `METHOD /path`. */
  readonly requests: string[];
  /** Those that are not answered, and the streams that are open, with their age. */
  open(): string[];
}

export function createNetwork(url: string): Network {
  let target = url;
  let dead = false;
  let thawed: Promise<void> = Promise.resolve();
  let release: () => void = () => undefined;
  const open = new Map<AbortController, { asked: string; since: number }>();
  const requests: string[] = [];
  const breakAll = () => {
    for (const controller of [...open.keys()]) controller.abort(new TypeError("the connection was cut"));
  };

  const networkFetch: typeof fetch = async (input, init) => {
    const asked = new URL(String(input));
    const name = `${init?.method ?? "GET"} ${asked.pathname}`;
    requests.push(name);
    await thawed;
    const connection = new AbortController();
    open.set(connection, { asked: name, since: performance.now() });
    const stop = () => connection.abort(init?.signal?.reason);
    if (init?.signal?.aborted) stop();
    init?.signal?.addEventListener("abort", stop, { once: true });
    const unlisten = () => {
      open.delete(connection);
      init?.signal?.removeEventListener("abort", stop);
    };
    if (dead) throw new TypeError("the network is gone");
    try {
      const response = await fetch(`${target}${asked.pathname}${asked.search}`, {
        ...init,
        signal: connection.signal,
      });
      if (!response.headers.get("content-type")?.startsWith("text/event-stream")) {
        const text = await response.text();
        await thawed;
        unlisten();
        const { status, headers } = response;
        return new Response(text, { status, headers });
      }
      connection.signal.addEventListener("abort", unlisten, { once: true });
      const held = new TransformStream<Uint8Array, Uint8Array>({
        flush: unlisten,
        async transform(chunk, controller) {
          await thawed;
          controller.enqueue(chunk);
        },
      });
      return new Response(response.body?.pipeThrough(held) ?? null, {
        status: response.status,
        headers: response.headers,
      });
    } catch (error) {
      unlisten();
      throw error;
    }
  };

  return {
    fetch: networkFetch,
    requests,
    open: () =>
      [...open.values()].map(
        ({ asked, since }) => `open: ${asked} for ${Math.round(performance.now() - since)} ms`,
      ),
    cut: breakAll,
    kill() {
      dead = true;
      breakAll();
    },
    freeze() {
      thawed = new Promise((resolve) => {
        release = resolve;
      });
    },
    thaw: () => release(),
    turnTo(other) {
      target = other;
    },
  };
}
