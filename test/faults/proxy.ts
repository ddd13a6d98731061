// A TCP proxy that misbehaves when told to: between agents and the server, between the server and PostgreSQL.
// Every fault ends by itself, after a time or a count, so that a test that forgets it cannot hang on it.

import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from "node:net";

export interface Target {
  readonly host: string;
  readonly port: number;
}

export type Mode =
  | { readonly kind: "pass" }
  /** Every byte arrives late, in order, both ways. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Half of the next chunk towards a client arrives, then both sides are gone; so many times. */
  | { readonly kind: "cut-mid-frame"; readonly times: number }
  /** The target's side is gone, and the client is never told. */
  | { readonly kind: "half-open" }
  /** Connections are taken and read; nothing comes out at the other end, not even their end. */
  | { readonly kind: "blackhole" }
  /** Every connection gets an RST. */
  | { readonly kind: "reset" }
  /** What is open stays; what is new is closed at once. */
  | { readonly kind: "refuse" };

export interface FaultProxy {
  readonly port: number;
  /** Connections of clients that are open now. */
  readonly connections: number;
  /** For all connections, open and to come. Set directly, a fault lasts `LONGEST_FAULT_MS` at most. */
  mode: Mode;
  /** For connections to come. */
  target: Target;
  /** Bytes pass again; connections that lost some are destroyed, never continued with a hole in them. */
  pass(): void;
  delay(ms: number, forMs?: number): void;
  cutMidFrame(times?: number): void;
  halfOpen(forMs?: number): void;
  blackhole(forMs?: number): void;
  /** What is open now; with a time also what comes in it. */
  reset(forMs?: number): void;
  refuse(forMs?: number): void;
  /** Leaves nothing open. */
  close(): Promise<void>;
}

export const LONGEST_FAULT_MS = 60_000;
/** What a delayed direction may hold back before its sender is slowed down. */
const HELD_MAX_BYTES = 4 * 1024 * 1024;

export async function openProxy(target: Target): Promise<FaultProxy> {
  const proxy = new TcpFaultProxy(target);
  await proxy.listen();
  return proxy;
}

const isSilent = (mode: Mode): boolean => mode.kind === "blackhole" || mode.kind === "half-open";

class TcpFaultProxy implements FaultProxy {
  target: Target;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #sockets = new Set<Socket>();
  #port = 0;
  #mode: Mode = { kind: "pass" };
  #until: NodeJS.Timeout | undefined;

  constructor(target: Target) {
    this.target = target;
    // Half-closed connections are passed on as such; an end that is swallowed must not be answered either.
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, "127.0.0.1", resolve);
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  get port(): number {
    return this.#port;
  }

  get connections(): number {
    return this.#links.size;
  }

  get mode(): Mode {
    return this.#mode;
  }

  set mode(mode: Mode) {
    this.#set(mode, LONGEST_FAULT_MS);
  }

  pass(): void {
    this.#set({ kind: "pass" }, 0);
  }

  delay(ms: number, forMs = LONGEST_FAULT_MS): void {
    this.#set({ kind: "delay", ms }, forMs);
  }

  cutMidFrame(times = 1): void {
    this.#set({ kind: "cut-mid-frame", times }, LONGEST_FAULT_MS);
  }

  halfOpen(forMs = LONGEST_FAULT_MS): void {
    this.#set({ kind: "half-open" }, forMs);
  }

  blackhole(forMs = LONGEST_FAULT_MS): void {
    this.#set({ kind: "blackhole" }, forMs);
  }

  reset(forMs = 0): void {
    this.#set({ kind: "reset" }, forMs);
    if (forMs === 0) this.pass();
  }

  refuse(forMs = LONGEST_FAULT_MS): void {
    this.#set({ kind: "refuse" }, forMs);
  }

  async close(): Promise<void> {
    clearTimeout(this.#until);
    const gone = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    const closed = new Promise((resolve) => this.#server.close(resolve));
    // Links end with their sockets; a socket may also be without one, while its reset waits until it has connected.
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([...gone, closed]);
  }

  #set(mode: Mode, forMs: number): void {
    clearTimeout(this.#until);
    this.#mode = mode;
    if (mode.kind !== "pass")
      this.#until = setTimeout(() => this.pass(), Math.min(forMs, LONGEST_FAULT_MS)).unref();
    for (const link of [...this.#links]) link.enter(mode);
  }

  #accept(client: Socket): void {
    this.#own(client);
    const { kind } = this.#mode;
    if (kind === "refuse") return void client.destroy();
    if (kind === "reset") return void client.resetAndDestroy();
    const upstream = isSilent(this.#mode) ? undefined : dial({ ...this.target, allowHalfOpen: true });
    if (upstream !== undefined) this.#own(upstream);
    const link = new Link(client, upstream, {
      mode: () => this.#mode,
      onCut: () => this.#countCut(),
      onOver: () => this.#links.delete(link),
    });
    this.#links.add(link);
    link.enter(this.#mode);
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    // Whatever happens to a socket, its link learns of it by "close".
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
  }

  #countCut(): void {
    if (this.#mode.kind !== "cut-mid-frame") return;
    const times = this.#mode.times - 1;
    // The time that was set for all of them goes on.
    if (times > 0) this.#mode = { kind: "cut-mid-frame", times };
    else this.pass();
  }
}

interface LinkOwner {
  mode(): Mode;
  onCut(): void;
  onOver(): void;
}

/** One client and its connection to the target. */
class Link {
  readonly #client: Socket;
  readonly #upstream: Socket | undefined;
  readonly #owner: LinkOwner;
  readonly #lanes: readonly Lane[];
  /** Bytes were lost, or may have been: it can never be whole again. */
  #spoiled = false;
  /** The half of a cut frame is on its way; until it has left, the client's side stays. */
  #cutting = false;
  #over = false;

  constructor(client: Socket, upstream: Socket | undefined, owner: LinkOwner) {
    this.#client = client;
    this.#upstream = upstream;
    this.#owner = owner;
    const lanes: Lane[] = [new Lane(client, upstream)];
    if (upstream !== undefined) lanes.push(new Lane(upstream, client));
    this.#lanes = lanes;
    for (const lane of lanes) {
      lane.from.on("data", (chunk: Buffer) => this.#move(lane, chunk));
      lane.from.on("end", () => this.#move(lane, null));
      lane.from.on("close", (hadError) => this.#sideClosed(hadError));
    }
  }

  enter(mode: Mode): void {
    if (mode.kind === "reset") this.destroy(true);
    else if (isSilent(mode)) this.#fallSilent(mode);
    else if (this.#cutting) return;
    else if (this.#spoiled) this.destroy();
    else if (mode.kind !== "delay") for (const lane of this.#lanes) lane.flush();
  }

  destroy(withReset = false): void {
    if (this.#over) return;
    this.#over = true;
    for (const lane of this.#lanes) lane.discard();
    for (const socket of [this.#client, this.#upstream]) {
      // Node cannot reset what is in the middle of its own end: the error would leave the socket open.
      const ending = socket?.writableEnded === true && !socket.writableFinished;
      if (withReset && !ending) socket?.resetAndDestroy();
      else socket?.destroy();
    }
    this.#owner.onOver();
  }

  #fallSilent(mode: Mode): void {
    this.#spoiled = true;
    for (const lane of this.#lanes) {
      lane.discard();
      // A sender that was slowed down goes on into the void.
      lane.from.resume();
    }
    if (mode.kind === "half-open") this.#upstream?.destroy();
  }

  #sideClosed(hadError: boolean): void {
    if (this.#over) return;
    const bothGone = this.#client.destroyed && this.#upstream?.destroyed !== false;
    if (bothGone) this.destroy();
    // In the void the other side never hears of it.
    else if (this.#cutting || isSilent(this.#owner.mode())) return;
    else if (this.#spoiled || hadError) this.destroy();
    else this.#endBoth();
  }

  /** What is held, and what is written, still arrives. */
  #endBoth(): void {
    const held = this.#lanes.filter((lane) => lane.holds);
    for (const lane of held) lane.whenEmpty(() => this.#sideClosed(false));
    if (held.length > 0) return;
    this.#client.destroySoon();
    this.#upstream?.destroySoon();
  }

  #move(lane: Lane, chunk: Buffer | null): void {
    const mode = this.#owner.mode();
    if (this.#over || this.#spoiled) return;
    if (mode.kind === "delay") lane.hold(chunk, mode.ms);
    else if (mode.kind === "cut-mid-frame" && lane.to === this.#client && chunk !== null) this.#cut(chunk);
    else lane.write(chunk);
  }

  #cut(chunk: Buffer): void {
    this.#spoiled = true;
    this.#cutting = true;
    this.#upstream?.destroy();
    // Destroyed only once the half has left: bytes still buffered here would die with the socket.
    this.#client.end(chunk.subarray(0, chunk.length >> 1), () => this.destroy());
    this.#owner.onCut();
  }
}

/** One direction; null is its end. */
class Lane {
  readonly from: Socket;
  readonly to: Socket | undefined;
  #held: { readonly at: number; readonly chunk: Buffer | null }[] = [];
  #heldBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #empty: (() => void) | undefined;

  constructor(from: Socket, to: Socket | undefined) {
    this.from = from;
    this.to = to;
    to?.on("drain", () => from.resume());
  }

  get holds(): boolean {
    return this.#held.length > 0;
  }

  write(chunk: Buffer | null): void {
    if (this.to === undefined || !this.to.writable) return;
    if (chunk === null) this.to.end();
    else if (!this.to.write(chunk)) this.from.pause();
  }

  /** Never earlier than what was held before it. */
  hold(chunk: Buffer | null, ms: number): void {
    this.#held.push({ at: Math.max(this.#held.at(-1)?.at ?? 0, performance.now() + ms), chunk });
    this.#heldBytes += chunk?.length ?? 0;
    if (this.#heldBytes > HELD_MAX_BYTES) this.from.pause();
    if (this.#timer === undefined) this.#wait();
  }

  whenEmpty(then: () => void): void {
    this.#empty = then;
  }

  /** All that is held, at once. */
  flush(): void {
    if (this.holds) this.#release(Number.POSITIVE_INFINITY);
  }

  /** Nothing of what is held ever arrives. */
  discard(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#held = [];
    this.#heldBytes = 0;
  }

  #wait(): void {
    const [first] = this.#held;
    this.#timer =
      first === undefined
        ? undefined
        : setTimeout(() => this.#release(performance.now()), Math.ceil(first.at - performance.now()));
  }

  #release(now: number): void {
    clearTimeout(this.#timer);
    const due = this.#held.findIndex(({ at }) => at > now);
    const ready = this.#held.splice(0, due === -1 ? this.#held.length : due);
    if (ready.length > 0 && !this.to?.writableNeedDrain) this.from.resume();
    for (const { chunk } of ready) {
      this.#heldBytes -= chunk?.length ?? 0;
      this.write(chunk);
    }
    this.#wait();
    if (!this.holds) this.#empty?.();
  }
}
