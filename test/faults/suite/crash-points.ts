// Preloaded into a server process of the tests: makes it die, by SIGKILL, at a named point. Everything is patched from the
// outside, so the product holds nothing of it. CRASH_POINT=name:n dies at the nth time the point is reached.

import { writeSync } from "node:fs";
import { ServerResponse } from "node:http";
import pg from "pg";

const [name = "", nth = "1"] = (process.env.CRASH_POINT ?? "").split(":");
let left = Number(nth);

function reached(point: string): boolean {
  if (point !== name) return false;
  left -= 1;
  return left === 0;
}

function die(): never {
  writeSync(2, `crash point ${name} reached\n`);
  process.kill(process.pid, "SIGKILL");
  // The signal comes at once; nothing may happen in between.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
}

// biome-ignore lint/suspicious/noExplicitAny: a stranger's prototype
type Patched = Record<string, any>;

const client = pg.Client.prototype as Patched;
const query = client.query;
client.query = function (this: Patched, ...args: unknown[]) {
  if (args[0] !== "commit") return query.apply(this, args);
  if (reached("before_commit")) die();
  const sent = query.apply(this, args);
  if (reached("commit_sent")) {
    // A little later, so that the bytes have left; before the answer, or just after it: both are a lost answer.
    setImmediate(die);
  }
  return sent.then((answer: unknown) => {
    if (reached("commit_answered")) die();
    return answer;
  });
};

const response = ServerResponse.prototype as unknown as Patched;
const { end, write } = response;

const isWork = (res: Patched): boolean =>
  String(res.req?.url).startsWith("/v1/intents") && res.req?.method !== "GET";

response.end = function (this: Patched, ...args: unknown[]) {
  const [chunk] = args;
  if (!isWork(this) || (typeof chunk !== "string" && !Buffer.isBuffer(chunk))) return end.apply(this, args);
  if (reached("before_reply")) die();
  if (reached("mid_reply")) {
    write.call(this, Buffer.from(chunk as string).subarray(0, chunk.length >> 1));
    setImmediate(die);
    return this;
  }
  if (reached("after_reply")) this.on("finish", die);
  return end.apply(this, args);
};

response.write = function (this: Patched, ...args: unknown[]) {
  const [chunk] = args;
  if (typeof chunk !== "string" || !chunk.includes("event: intent.delivered")) return write.apply(this, args);
  if (reached("before_frame")) die();
  if (reached("mid_frame")) {
    write.call(this, chunk.slice(0, chunk.length >> 1));
    setImmediate(die);
    return true;
  }
  const done = write.apply(this, args);
  if (reached("after_frame")) setImmediate(die);
  return done;
};
