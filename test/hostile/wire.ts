// HTTP as bytes on a socket, for tests that send what no client library would. One connection for each exchange.
import { connect, type Socket } from "node:net";

export interface Raw {
  /** 0: the connection was closed without an answer. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Everything received, as Latin-1. */
  readonly bytes: string;
}

export interface Outgoing {
  readonly method: string;
  readonly path: string;
  /** As pairs, because a hostile client repeats itself. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body?: Buffer | undefined;
}

const ANSWER_MS = 10_000;

export function portOf(server: { readonly url: string }): number {
  return Number(new URL(server.url).port);
}

/** A request's bytes; header values are written as Latin-1, so that any byte can be sent. */
export function encodeRequest({ method, path, headers, body }: Outgoing): Buffer {
  const own = body === undefined ? [] : [["content-length", String(body.length)] as const];
  const lines = [["host", "localhost"] as const, ["connection", "close"] as const, ...headers, ...own];
  const head = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), body ?? Buffer.alloc(0)]);
}

export function open(server: { readonly url: string }): Socket {
  const socket = connect(portOf(server), "127.0.0.1");
  // Being cut off in the middle of a lie is an answer.
  socket.on("error", () => undefined);
  return socket;
}

/** Writes, reads to the end, and answers what came. An event stream is left after its headers. */
export function exchange(server: { readonly url: string }, bytes: Buffer | string): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const socket = open(server);
    let received = "";
    const finish = () => {
      clearTimeout(late);
      socket.destroy();
      resolve(parseAnswer(received));
    };
    const late = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end of the answer within ${ANSWER_MS} ms; came: ${received.slice(0, 500)}`));
    }, ANSWER_MS);
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      // Whoever sent `expect: 100-continue` is told to go on first.
      received = received.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, "");
      const head = received.slice(0, received.indexOf("\r\n\r\n") + 4);
      if (/^content-type: text\/event-stream/im.test(head)) finish();
    });
    socket.on("close", finish);
    socket.write(bytes);
  });
}

export const send = (server: { readonly url: string }, request: Outgoing): Promise<Raw> =>
  exchange(server, encodeRequest(request));

export function parseAnswer(bytes: string): Raw {
  const end = bytes.indexOf("\r\n\r\n");
  const [start = "", ...lines] = bytes.slice(0, Math.max(0, end)).split("\r\n");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const text = Buffer.from(bytes.slice(end + 4), "latin1").toString("utf8");
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(start)?.[1] ?? 0), headers, body: text, bytes };
}
