// Preloaded into a server process of the tests: makes it die, by SIGKILL, at a named point (crash-point-names.ts).
//   CRASH_POINT=before_commit:2 node --import ./dist/test/faults/crash-points.js dist/bundle/main.js
// dies at the second time that the point is reached. With CRASH_POINT_FILE instead it is told by SIGUSR2 to read its point from that
// file, and counts from then on. Everything is patched from the outside: production has nothing of it.

import { readFileSync, writeSync } from "node:fs";
import { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import pg from "pg";
import { CRASH_POINTS, type CrashPoint } from "./crash-point-names.ts";

type Call = (...args: unknown[]) => unknown;

let name = "";
let left = 0;

function arm(text: string): void {
  const [asked = "", nth = "1"] = text.split(":");
  // One that never dies would pass for one that survived.
  if (!CRASH_POINTS.some((point) => point === asked) || !/^[1-9]\d*$/.test(nth))
    throw new Error(`CRASH_POINT must be one of ${CRASH_POINTS.join(", ")}, or name:n`);
  name = asked;
  left = Number(nth);
}

const { CRASH_POINT = "", CRASH_POINT_FILE } = process.env;
if (CRASH_POINT_FILE === undefined) arm(CRASH_POINT);
else
  process.on("SIGUSR2", () => {
    arm(readFileSync(CRASH_POINT_FILE, "utf8"));
    writeSync(2, `armed for ${name}\n`);
  });

function isDue(point: CrashPoint): boolean {
  if (point !== name) return false;
  left -= 1;
  return left === 0;
}

function die(): never {
  writeSync(2, `crash point ${name} reached\n`);
  process.kill(process.pid, "SIGKILL");
  // Nothing may happen until the signal has come.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
}

/** `around` gets the method it replaces, bound, and decides whether, and with what, it is called. */
function patch<T extends object>(
  prototype: T,
  method: string,
  around: (original: Call, self: T, args: unknown[]) => unknown,
): void {
  const original: unknown = Reflect.get(prototype, method);
  if (typeof original !== "function") throw new Error(`there is no ${method} to patch`);
  Reflect.set(prototype, method, function (this: T, ...args: unknown[]) {
    return around((...changed) => Reflect.apply(original, this, changed), this, args);
  });
}

// Queries

interface PatchedClient {
  /** Only the write path is pipelined: a migration's commit is not one of ours. */
  readonly pipeline?: boolean;
  readonly connection: { readonly stream: Socket };
}

patch(pg.Client.prototype as object as PatchedClient, "query", (query, client, args) => {
  const [config] = args;
  if (config === "commit" && client.pipeline === true) return commit(query, client, args);
  if (typeof config === "object" && config !== null && Reflect.get(config, "name") === "pulse")
    return pulse(query, args);
  return query(...args);
});

function commit(query: Call, client: PatchedClient, args: unknown[]): unknown {
  if (isDue("before_commit")) die();
  const answer = query(...args);
  // The callback of a later write says that COMMIT has left. It comes before this turn of the event loop reads anything.
  if (isDue("commit_sent")) client.connection.stream.write("", die);
  return whenAnswered(answer, (result) => {
    if (Reflect.get(Object(result), "command") === "COMMIT" && isDue("commit_answered")) die();
  });
}

function pulse(query: Call, args: unknown[]): unknown {
  if (isDue("before_pulse")) die();
  const told = args.at(-1);
  const look = () => {
    if (isDue("after_pulse")) die();
  };
  // The pool asks with a callback.
  if (typeof told !== "function") return whenAnswered(query(...args), look);
  return query(...args.slice(0, -1), (error: unknown, result: unknown) => {
    if (!error) look();
    return told(error, result);
  });
}

/** Whoever asked gets a promise that is settled only after the look. */
function whenAnswered(answer: unknown, look: (result: unknown) => void): unknown {
  if (!(answer instanceof Promise)) throw new Error("the query was expected to give a promise");
  return answer.then((result: unknown) => {
    look(result);
    return result;
  });
}

// Answers

const contentTypes = new WeakMap<ServerResponse, string>();

// Headers given to writeHead are not among those of getHeader.
patch(ServerResponse.prototype, "writeHead", (writeHead, response, args) => {
  const headers = Object(args.at(-1)) as Record<string, unknown>;
  const type = headers["content-type"] ?? response.getHeader("content-type");
  contentTypes.set(response, String(type));
  return writeHead(...args);
});

const isReply = (response: ServerResponse): boolean =>
  response.req.url?.startsWith("/v1/") === true && contentTypes.get(response)?.includes("json") === true;

const isFrame = (response: ServerResponse, chunk: unknown): chunk is string =>
  contentTypes.get(response)?.startsWith("text/event-stream") === true &&
  typeof chunk === "string" &&
  chunk.includes("event: intent.");

const half = (chunk: string | Buffer): Buffer => {
  const bytes = Buffer.from(chunk as string);
  return bytes.subarray(0, bytes.length >> 1);
};

patch(ServerResponse.prototype, "end", (end, response, args) => {
  const [body] = args;
  if (!isReply(response) || !(typeof body === "string" || Buffer.isBuffer(body))) return end(...args);
  if (isDue("before_reply")) die();
  if (isDue("mid_reply")) {
    response.write(half(body), die);
    return response;
  }
  if (isDue("after_reply")) response.once("finish", die);
  return end(...args);
});

patch(ServerResponse.prototype, "write", (write, response, args) => {
  const [chunk] = args;
  if (!isFrame(response, chunk)) return write(...args);
  if (isDue("before_frame")) die();
  if (isDue("mid_frame")) return write(half(chunk), die);
  if (isDue("after_frame")) return write(chunk, die);
  return write(...args);
});
