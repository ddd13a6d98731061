// Owns: waiting for an intent's end over lost connections and restarted servers. Must not: judge by events: an operator's retry makes an
// older terminal event untrue, only the current status is the answer.
import { linkAbort, pause, within } from "./abort.ts";
import { jitter } from "./backoff.ts";
import { type Duration, toMs } from "./duration.ts";
import { PerdureError } from "./errors.ts";
import type { Http } from "./http.ts";
import { type IntentEvent, type Outcome, presentOutcome } from "./intents.ts";
import type { Logger } from "./logger.ts";
import { observeIntent } from "./observe.ts";
import type { Outcomes } from "./outcomes.ts";
import { type Progress, progressOf } from "./progress.ts";

export interface WaitOptions {
  /** Give up after this long with `wait_timeout`. The intent goes on, and may be waited for again. Default: never. */
  timeout?: Duration;
  /** Stop waiting; throws the signal's reason. */
  signal?: AbortSignal;
  /** What the handler tells on its way, from the beginning: `ctx.progress`, and pieces of output of `ctx.write`. */
  onProgress?: (progress: Progress) => void;
}

const LONGEST_WAIT_S = 50;
/** A wait answered sooner than this, without an end, was cut short: by a server that is draining, for example. */
const CUT_SHORT_MS = 1_000;
const ONE_LOOK_MS = 5_000;

/** After the end: what was told before it is on its way. */
const LAST_WORDS_MS = 2_000;

interface WaitDeps {
  readonly http: Http;
  readonly outcomes: Outcomes;
  readonly logger: Logger;
}

/** With `onProgress`, the outcome comes after all that was told before it. */
export async function waitAndWatch<R>(
  { http, outcomes, logger }: WaitDeps,
  id: string,
  { onProgress, ...options }: WaitOptions,
): Promise<Outcome<R>> {
  if (onProgress === undefined) return await waitForIntent<R>(http, id, options, outcomes);
  const scope = linkAbort([options.signal]);
  let failure: { error: unknown } | undefined;
  const watching = watch(observeIntent(http, logger, id, { signal: scope.signal }), onProgress).catch(
    (error) => {
      failure = { error };
    },
  );
  try {
    const outcome = await waitForIntent<R>(http, id, options, outcomes);
    await within(LAST_WORDS_MS, watching);
    if (failure !== undefined) throw failure.error;
    return outcome;
  } finally {
    scope.abort(new Error("the wait is over"));
    scope.release();
  }
}

async function watch(
  events: AsyncIterable<IntentEvent>,
  onProgress: (progress: Progress) => void,
): Promise<void> {
  for await (const event of events) {
    const progress = progressOf(event);
    if (progress !== undefined) onProgress(progress);
  }
}

/** Over the stream of outcomes where there is one; where there is not, by asking for this intent alone. */
export async function waitForIntent<R>(
  http: Http,
  id: string,
  options: Omit<WaitOptions, "onProgress"> = {},
  outcomes?: Outcomes,
): Promise<Outcome<R>> {
  const timeoutMs = options.timeout === undefined ? undefined : toMs(options.timeout);
  const deadline = timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
  const late = () =>
    new PerdureError("wait_timeout", `${id} did not end in time; it goes on and may be waited for again`);
  // A timeout of 0 asks for one look, which takes the time it takes.
  const limit = timeoutMs === undefined ? undefined : { ms: timeoutMs || ONE_LOOK_MS, reason: late };
  const scope = linkAbort([options.signal, http.closing], limit);
  const leave = outcomes?.enter();
  try {
    for (;;) {
      const told = timeoutMs === 0 ? undefined : await outcomes?.next(id, scope.signal);
      const end = told === undefined ? undefined : presentOutcome<R>(told);
      if (end !== undefined) return end;
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
    leave?.();
    scope.release();
  }
}
