// A wire between a server and PostgreSQL that knows where messages begin: it stops, cuts or refuses at exactly one of them.
// To PostgreSQL a stopped wire looks like a server that got SIGSTOP: connected, and silent.

import { once } from "node:events";
import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";

export interface Wire {
  /** The database's URL, by this wire. */
  readonly url: string;
  /** Stops at once: all bytes of all connections wait, both ways. */
  stop(): void;
  /** The same just before the next message that holds this text, or in the middle of it; resolves when it came. */
  stopAt(text: string, where?: "before" | "within"): Promise<void>;
  /** What has waited goes on. */
  goOn(): void;
  /** The next COMMIT is done, its answer is not passed on, and the connection breaks; resolves when that has happened. */
  loseCommit(): Promise<void>;
  /** A pooler's limit: a longer message is answered with a protocol violation. */
  refuseLongerThan(bytes: number): void;
  close(): Promise<void>;
}

const TYPE_BYTES = 1;
const LENGTH_BYTES = 4;

export async function openWire(databaseUrl: string): Promise<Wire> {
  const target = new URL(databaseUrl);
  const links = new Set<Link>();
  const state: WireState = { stopped: false, stopAt: null, losing: null, longest: Number.POSITIVE_INFINITY };
  const server = createServer((client) => {
    const upstream = dial({ host: target.hostname, port: Number(target.port) });
    const link = new Link(client, upstream, state, () => links.delete(link));
    links.add(link);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(databaseUrl);
  url.hostname = "127.0.0.1";
  url.port = String((server.address() as AddressInfo).port);
  return {
    url: url.href,
    stop: () => {
      state.stopped = true;
    },
    stopAt: (text, where = "before") =>
      new Promise<void>((came) => {
        state.stopAt = { text, where, came };
      }),
    goOn() {
      state.stopped = false;
      for (const link of [...links]) link.goOn();
    },
    loseCommit: () =>
      new Promise<void>((lost) => {
        state.losing = lost;
      }),
    refuseLongerThan: (bytes) => {
      state.longest = bytes;
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const link of [...links]) link.destroy();
      await closed;
    },
  };
}

interface WireState {
  stopped: boolean;
  stopAt: { readonly text: string; readonly where: "before" | "within"; readonly came: () => void } | null;
  losing: (() => void) | null;
  longest: number;
}

/** One client and its connection to PostgreSQL. */
class Link {
  readonly #client: Socket;
  readonly #upstream: Socket;
  readonly #state: WireState;
  readonly #onOver: () => void;
  #unread: Buffer = Buffer.alloc(0);
  #started = false;
  #lost: (() => void) | null = null;
  #toUpstream: Buffer[] = [];
  #toClient: Buffer[] = [];
  #over = false;

  constructor(client: Socket, upstream: Socket, state: WireState, onOver: () => void) {
    this.#client = client;
    this.#upstream = upstream;
    this.#state = state;
    this.#onOver = onOver;
    client.on("data", (chunk: Buffer) => this.#read(chunk));
    upstream.on("data", (chunk: Buffer) => this.#answer(chunk));
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#over = true;
        // A process that is stopped neither closes anything nor hears of it.
        if (!state.stopped) this.destroy();
      });
    }
  }

  goOn(): void {
    for (const chunk of this.#toClient.splice(0)) this.#client.write(chunk);
    for (const chunk of this.#toUpstream.splice(0)) this.#upstream.write(chunk);
    if (this.#over) this.destroy();
  }

  destroy(): void {
    this.#onOver();
    this.#client.destroySoon();
    this.#upstream.destroy();
  }

  #read(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    for (;;) {
      // The first message has no type.
      const head = this.#started ? TYPE_BYTES : 0;
      if (this.#unread.length < head + LENGTH_BYTES) return;
      const end = head + this.#unread.readInt32BE(head);
      if (this.#unread.length < end) return;
      const message = this.#unread.subarray(0, end);
      this.#unread = this.#unread.subarray(end);
      this.#started = true;
      this.#pass(message);
    }
  }

  #pass(message: Buffer): void {
    const { stopAt, longest } = this.#state;
    if (message.length > longest) {
      this.#refuse();
      return;
    }
    if (stopAt !== null && message.includes(stopAt.text)) {
      this.#state.stopAt = null;
      const half = stopAt.where === "within" ? message.length >> 1 : 0;
      this.#upstream.write(message.subarray(0, half));
      this.#state.stopped = true;
      this.#toUpstream.push(message.subarray(half));
      stopAt.came();
      return;
    }
    if (message[0] === "Q".charCodeAt(0) && message.includes("commit\0")) {
      this.#lost = this.#state.losing;
      this.#state.losing = null;
    }
    if (this.#state.stopped) this.#toUpstream.push(message);
    else this.#upstream.write(message);
  }

  #answer(chunk: Buffer): void {
    if (this.#lost !== null) {
      if (!chunk.includes("COMMIT\0")) return;
      this.#client.destroy();
      this.#lost();
    } else if (this.#state.stopped) this.#toClient.push(chunk);
    else this.#client.write(chunk);
  }

  #refuse(): void {
    const fields = ["SFATAL", "VFATAL", "C08P01", "Minvalid message length", ""];
    const body = Buffer.from(`${fields.join("\0")}\0`);
    const head = Buffer.alloc(TYPE_BYTES + LENGTH_BYTES);
    head.write("E");
    head.writeInt32BE(LENGTH_BYTES + body.length, TYPE_BYTES);
    this.#client.write(Buffer.concat([head, body]));
    this.destroy();
  }
}
