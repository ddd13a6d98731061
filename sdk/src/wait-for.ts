// Owns: waiting for an intent's end over lost connections and restarted servers. Must not: judge by events: an operator's retry makes an
// older terminal event untrue, only the current status is the answer.
import { linkAbort, pause } from "./abort.ts";
import { jitter } from "./backoff.ts";
import { type Duration, toMs } from "./duration.ts";
import { PerdureError } from "./errors.ts";
import type { Http } from "./http.ts";
import { type Outcome, presentOutcome } from "./intents.ts";

export interface WaitOptions {
  /** Give up after this long with `wait_timeout`. The intent goes on, and may be waited for again. Default: never. */
  timeout?: Duration;
  /** Stop waiting; throws the signal's reason. */
  signal?: AbortSignal;
}

const LONGEST_WAIT_S = 50;
/** A wait answered sooner than this, without an end, was cut short: by a server that is draining, for example. */
const CUT_SHORT_MS = 1_000;
const ONE_LOOK_MS = 5_000;

export async function waitForIntent<R>(
  http: Http,
  id: string,
  options: WaitOptions = {},
): Promise<Outcome<R>> {
  const timeoutMs = options.timeout === undefined ? undefined : toMs(options.timeout);
  const deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
  const late = () =>
    new PerdureError("wait_timeout", `${id} did not end in time; it goes on and may be waited for again`);
  // A timeout of 0 asks for one look, which takes the time it takes.
  const limit = timeoutMs === undefined ? undefined : { ms: timeoutMs || ONE_LOOK_MS, reason: late };
  const scope = linkAbort([options.signal], limit);
  try {
    for (;;) {
      const leftMs = deadline === undefined ? Number.POSITIVE_INFINITY : deadline - Date.now();
      const waitS = Math.max(0, Math.min(LONGEST_WAIT_S, Math.ceil(leftMs / 1_000)));
      const asked = Date.now();
      const answer = await http.send({
        method: "GET",
        path: `/v1/intents/${encodeURIComponent(id)}`,
        query: { wait: waitS === 0 ? undefined : waitS },
        retry: "forever",
        timeoutMs: (waitS + 10) * 1_000,
        signal: scope.signal,
      });
      const outcome = presentOutcome<R>(answer.intent);
      if (outcome !== undefined) return outcome;
      if (deadline !== undefined && Date.now() >= deadline) throw late();
      if (Date.now() - asked < CUT_SHORT_MS) await pause(jitter(250), scope.signal);
    }
  } finally {
    scope.release();
  }
}
