// A TCP proxy that misbehaves when told to: between agents and the server, between the server and PostgreSQL.

import { createServer, connect as dial, type Server, type Socket } from "node:net";

export type ProxyFault =
  /** Every byte arrives late, in order. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Half of the next chunk towards the client arrives, then both sides are gone. */
  | { readonly kind: "cut" }
  /** The server's side is gone; the client hears nothing of it. */
  | { readonly kind: "half-open" }
  /** Bytes vanish in both directions. */
  | { readonly kind: "blackhole" }
  /** Every connection gets a reset. */
  | { readonly kind: "reset" };

const swallows = (fault: ProxyFault | null): boolean =>
  fault?.kind === "blackhole" || fault?.kind === "half-open";

interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
  /** Bytes may have been swallowed: it can never be whole again. */
  spoiled: boolean;
}

export class TcpProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #target: { host: string; port: number };
  #fault: ProxyFault | null = null;

  private constructor(target: { host: string; port: number }) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  static async open(target: { host: string; port: number }): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  get connections(): number {
    return this.#links.size;
  }

  /** From now on, on connections open and new, until `heal`. */
  fail(fault: ProxyFault): void {
    this.#fault = fault;
    if (fault.kind === "reset") for (const link of [...this.#links]) link.client.resetAndDestroy();
    if (!swallows(fault)) return;
    for (const link of this.#links) {
      link.spoiled = true;
      if (fault.kind === "half-open") link.upstream.destroy();
    }
  }

  /** Bytes pass again; connections that lost some are ended. */
  heal(): void {
    this.#fault = null;
    for (const link of [...this.#links]) if (link.spoiled) this.#end(link);
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const link of [...this.#links]) this.#end(link);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(client: Socket): void {
    if (this.#fault?.kind === "reset") {
      client.on("error", () => undefined);
      client.resetAndDestroy();
      return;
    }
    const link: Link = { client, upstream: dial(this.#target), spoiled: swallows(this.#fault) };
    this.#links.add(link);
    client.setNoDelay(true);
    link.upstream.setNoDelay(true);
    this.#pipe(link, client, link.upstream, false);
    this.#pipe(link, link.upstream, client, true);
  }

  #pipe(link: Link, from: Socket, to: Socket, towardsClient: boolean): void {
    from.on("data", (chunk: Buffer) => this.#pass(link, to, chunk, towardsClient));
    from.on("error", () => undefined);
    from.on("close", () => {
      // A half-open connection is one whose other end never hears of it.
      if (link.spoiled && this.#fault !== null) return;
      this.#end(link);
    });
  }

  #pass(link: Link, to: Socket, chunk: Buffer, towardsClient: boolean): void {
    const fault = this.#fault;
    switch (fault?.kind) {
      case "blackhole":
      case "half-open":
        return;
      case "cut":
        if (!towardsClient) return void to.write(chunk);
        this.#fault = null;
        to.write(chunk.subarray(0, chunk.length >> 1), () => this.#end(link));
        return;
      case "delay":
        this.#later(fault.ms, () => to.write(chunk));
        return;
      default:
        // What is delayed must not be overtaken.
        if (this.#timers.size > 0) this.#later(0, () => to.write(chunk));
        else to.write(chunk);
    }
  }

  #last = 0;

  #later(ms: number, act: () => void): void {
    this.#last = Math.max(this.#last, performance.now() + ms);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      act();
    }, this.#last - performance.now());
    this.#timers.add(timer);
  }

  #end(link: Link): void {
    this.#links.delete(link);
    link.client.destroy();
    link.upstream.destroy();
  }
}
