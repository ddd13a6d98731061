// Folding the log to any entry gives the steps as they were then: random lives of an intent, decided by the domain itself.
import fc from "fast-check";
import { expect, test } from "vitest";
import { deliver, lose, release } from "../../server/domain/decide/attempt.ts";
import { decideStep, type StepAnswer } from "../../server/domain/decide/doubt.ts";
import { pause, retry, unpause } from "../../server/domain/decide/operator.ts";
import { cancel, resolve } from "../../server/domain/decide/resolve.ts";
import { restore } from "../../server/domain/decide/restore.ts";
import { signal } from "../../server/domain/decide/signals.ts";
import { begin, recordDone, recordFailed, start } from "../../server/domain/decide/steps.ts";
import { park } from "../../server/domain/decide/waits.ts";
import type { Draft } from "../../server/domain/draft.ts";
import { type FoldedStep, foldLog, type LogEntry } from "../../server/domain/fold.ts";
import type { Step } from "../../server/domain/intent.ts";
import { stepIdempotencyKey } from "../../server/domain/plan.ts";
import { RawJson } from "../../server/domain/raw-json.ts";
import { Refusal } from "../../server/domain/refusal.ts";
import { created, LIMITS, next, plan } from "../domain/builders.ts";

const KEYS = ["a", "b", "c", "d"] as const;
const SEED = process.env.FOLD_SEED === undefined ? undefined : Number(process.env.FOLD_SEED);

type Play = (draft: Draft, key: string, n: number, log: readonly LogEntry[]) => unknown;

const error = { code: "e", message: "m" };
const HOLDER = { id: "00000000-0000-7000-8000-00000000c0de", name: "c" };
const record = (draft: Draft, n: number) => ({
  attempt: draft.intent.attempt,
  stepsMax: 100,
  completeIntent: n % 2 === 0,
  digest: "d",
});
const isHeld = (draft: Draft): boolean => draft.intent.consumerId !== null;

const ANSWERS: readonly StepAnswer[] = [
  { kind: "retry" },
  { kind: "done", result: RawJson.of(1) },
  { kind: "fail", error },
];

const PLAYS: Readonly<Record<string, Play>> = {
  deliver: (draft, _key, n) => deliver(draft, { ...HOLDER, explicitAck: n % 2 === 0 }),
  start: (draft, _key, n) =>
    start(draft, {
      attempt: draft.intent.attempt,
      ackOnly: false,
      beginNext: n % 2 === 0,
      steps: n % 3 === 0 ? KEYS.slice(0, 1 + (n % 4)).map((one) => plan(one)) : null,
      force: n % 2 === 0,
      stepsMax: 100,
    }),
  begin: (draft, key) => isHeld(draft) && begin(draft, key, {}),
  done: (draft, key, n) => recordDone(draft, key, RawJson.of(n), record(draft, n)),
  failed: (draft, key, n) =>
    recordFailed(draft, key, { ...record(draft, n), error, retryable: n % 3 === 0, random: 1 }),
  park: (draft, key, n) =>
    park(draft, key, {
      attempt: draft.intent.attempt,
      wait: { kind: "signal", name: n % 5 === 0 ? key : `${key}${n % 3}`, timeoutMs: n % 7 === 0 ? 0 : null },
      stepsMax: 100,
      completeIntent: n % 2 === 0,
      lookUp: () => (n % 4 === 0 ? { result: RawJson.of(n), signal: n } : undefined),
    }),
  signal: (draft, key, n) => signal(draft, { name: key, data: RawJson.of(n), unread: 0 }),
  lose: (draft) => lose(draft, "lease_expired", LIMITS),
  release: (draft, _key, n) =>
    isHeld(draft) && release(draft, n % 2 === 0 ? draft.intent.openSteps : [], "drain"),
  decide: (draft, key, n) => decideStep(draft, key, ANSWERS[n % ANSWERS.length] as StepAnswer),
  pause: (draft) => pause(draft, null),
  unpause: (draft) => unpause(draft),
  fail: (draft) =>
    resolve(draft, {
      status: "FAILED",
      attempt: null,
      result: null,
      error,
      retryable: false,
      random: 1,
      holderIsLive: false,
    }),
  cancel: (draft) => cancel(draft, null),
  retry: (draft) => retry(draft, { deadlineAt: null }),
  restore(draft, _key, n, log) {
    const to = n % (draft.intent.seq + 1);
    restore(draft, { to, name: null, past: foldLog(log, to), present: foldLog(log) });
  },
};

/** Some happen more often than others. */
const OFTEN = [
  "deliver",
  "deliver",
  "deliver",
  "begin",
  "begin",
  "done",
  "lose",
  "signal",
  "unpause",
  "retry",
];
const VERBS = [...Object.keys(PLAYS), ...OFTEN, "restore", "restore"];

/** What the log has to tell of a step. */
const told = (
  id: string,
  step: Pick<Step, "key" | "status" | "tries" | "interrupted" | "position" | "generation" | "wait"> & {
    result: RawJson | null;
    error: RawJson | FoldedStep["error"];
  },
) => ({
  key: step.key,
  status: step.status,
  tries: step.tries,
  interrupted: step.interrupted,
  position: step.position,
  idempotencyKey: stepIdempotencyKey(id, step.key, step.generation),
  result: step.result?.text ?? null,
  wait: step.wait,
  final: step.status === "failed" && isFinal(step.error),
});

const isFinal = (error: RawJson | FoldedStep["error"]): boolean =>
  (error instanceof RawJson ? (error.parse() as FoldedStep["error"]) : error)?.final === true;

const byKey = <T extends { key: string }>(steps: Iterable<T>): T[] =>
  [...steps].sort((a, b) => (a.key < b.key ? -1 : 1));

const entriesOf = (draft: Draft): LogEntry[] =>
  draft.events.map(({ seq, type, attempt, at, details }) => {
    const { result, ...rest } = (details ?? {}) as { result?: RawJson };
    return {
      seq,
      type,
      attempt,
      at,
      details: details === null ? null : JSON.parse(RawJson.of(rest).text),
      result: result ?? null,
    };
  });

test("folding a log to any of its entries gives the steps as they were", () => {
  const moves = fc.array(
    fc.tuple(fc.constantFrom(...VERBS), fc.constantFrom("a", "a", ...KEYS), fc.nat(1_000)),
    {
      minLength: 5,
      maxLength: 60,
      size: "max",
    },
  );
  fc.assert(
    fc.property(moves, fc.boolean(), (life, declared) => {
      let draft = created({
        steps: declared ? KEYS.slice(0, 3).map((key) => plan(key)) : [],
        maxDeliveryAttempts: 50,
        onInterrupt: declared ? "ask" : null,
        retry: { maxRetries: 2, initialDelayMs: 0, factor: 1, maxDelayMs: 0 },
      });
      const log = entriesOf(draft);
      const seen = [{ seq: draft.intent.seq, steps: new Map(draft.steps) }];
      for (const [verb, key, n] of life) {
        const tried = next(draft, 1);
        try {
          tried.intent.availableAt = null;
          PLAYS[verb]?.(tried, key, n, log);
        } catch (error) {
          if (error instanceof Refusal) continue;
          throw error;
        }
        draft = tried;
        log.push(...entriesOf(draft));
        seen.push({ seq: draft.intent.seq, steps: new Map(draft.steps) });
      }
      for (const { seq, steps } of seen) {
        const folded = foldLog(log, seq);
        const { id } = draft.intent;
        expect(byKey(folded.steps.values()).map((step) => told(id, step))).toEqual(
          byKey(steps.values()).map((step) => told(id, step)),
        );
      }
      const declaredNow = [...draft.steps.values()].filter((step) => step.position !== null);
      expect(draft.intent.stepsTotal).toBe(declaredNow.length);
    }),
    { numRuns: Number(process.env.FOLD_RUNS ?? 300), ...(SEED === undefined ? {} : { seed: SEED }) },
  );
});
