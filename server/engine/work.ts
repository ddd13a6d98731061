// What an agent does with an intent it holds: start, steps, progress, hand-back. Every write carries its attempt.

import { release } from "../domain/decide/attempt.ts";
import { requireOpenAttempt } from "../domain/decide/fence.ts";
import { resolveDigest } from "../domain/decide/resolve.ts";
import {
  type BeginInput,
  begin,
  type ProgressInput,
  recordDone,
  recordFailed,
  reportProgress,
  type StartInput,
  start,
} from "../domain/decide/steps.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor, Failure, Intent, Step } from "../domain/intent.ts";
import type { Status } from "../domain/lifecycle.ts";
import { describeNext, type NextStep, nextDeclared } from "../domain/plan.ts";
import type { RawJson } from "../domain/raw-json.ts";
import type { StateWrite } from "../domain/state.ts";
import { renewByWrite } from "../store/consumers.ts";
import { bytesOf, type Engine, fenced } from "./context.ts";
import { headRefs, stageState, stateBytes } from "./state.ts";

/** One step finishes and one begins at most: this much of the plan's head is needed. */
const HEAD = 3;

export interface StartAnswer {
  readonly intent: Intent;
  readonly next: NextStep | null;
  /** The steps that it made, began or put back. */
  readonly changed: readonly Step[];
}

export function startIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: Omit<StartInput, "stepsMax">,
): Promise<StartAnswer> {
  return engine.commits.submit<StartAnswer>({
    name: "start",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: input.steps === null ? HEAD : "all" }],
    bytes: bytesOf(input.steps),
    decide: (work) =>
      fenced(work, intentId, actor, { attempt: input.attempt, operation: "start" }, (draft) => {
        start(draft, { ...input, stepsMax: engine.settings.stepsMax });
        const changed = [...draft.steps.values()].filter(({ key }) => draft.changedSteps.has(key));
        return { intent: draft.intent, next: describeNext(draft.intent, nextDeclared(draft)), changed };
      }),
  });
}

export type StepWrite =
  | ({ readonly status: "running" } & BeginInput)
  | { readonly status: "done"; readonly result: RawJson }
  | { readonly status: "failed"; readonly error: Failure; readonly retryable: boolean };

function stepBytes(write: StepWrite): number {
  switch (write.status) {
    case "running":
      return bytesOf(write.input);
    case "done":
      return bytesOf(write.result);
    case "failed":
      return bytesOf(write.error);
  }
}

export interface RecordStepInput {
  readonly key: string;
  readonly attempt: number;
  readonly write: StepWrite;
  /** Begin this step in the same commit; `true` is the plan's next one. */
  readonly beginNext: string | true | null;
  readonly completeIntent: boolean;
  /** State that is written with the step, or not at all. */
  readonly state: readonly StateWrite[];
}

export interface RecordStepAnswer {
  readonly intent: Intent;
  readonly step: Step;
  readonly begun: Step | null;
  readonly next: NextStep | null;
  readonly status: Status;
}

export function recordStep(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: RecordStepInput,
): Promise<RecordStepAnswer> {
  const keys = typeof input.beginNext === "string" ? [input.key, input.beginNext] : [input.key];
  return engine.commits.submit<RecordStepAnswer>({
    name: "record_step",
    intents: [intentId],
    steps: [{ intentId, keys, undone: HEAD }],
    state: headRefs(input.state),
    bytes: stepBytes(input.write) + stateBytes(input.state),
    decide: (work) =>
      fenced(
        work,
        intentId,
        actor,
        { attempt: input.attempt, operation: `step_${input.write.status}` },
        (draft) => {
          // A repeated report finds its step done: what came with it was written then.
          const repeated = draft.steps.get(input.key)?.status === "done";
          if (input.state.length > 0 && !repeated) {
            requireOpenAttempt(draft, input.attempt);
            stageState(work, draft, input.state);
          }
          return decideStepWrite(engine, draft, input);
        },
      ),
  });
}

function decideStepWrite(engine: Engine, draft: Draft, input: RecordStepInput): RecordStepAnswer {
  const step = writeStep(engine, draft, input);
  const following = followingKey(draft, input);
  const begun = following === null ? null : begin(draft, following, { stepsMax: engine.settings.stepsMax });
  return {
    intent: draft.intent,
    step,
    begun,
    next: describeNext(draft.intent, nextDeclared(draft)),
    status: draft.intent.status,
  };
}

/** Nothing begins once the attempt is over or the intent is paused: the result alone is recorded then (S5). */
function followingKey(draft: Draft, input: RecordStepInput): string | null {
  const { intent } = draft;
  if (input.beginNext === null || input.write.status !== "done") return null;
  if (intent.consumerId === null || intent.paused || intent.attempt !== input.attempt) return null;
  return input.beginNext === true ? (nextDeclared(draft)?.key ?? null) : input.beginNext;
}

function writeStep(engine: Engine, draft: Draft, input: RecordStepInput): Step {
  const { write, attempt, key } = input;
  const { stepsMax, resultsMaxBytes } = engine.settings;
  switch (write.status) {
    case "running": {
      // A done step is told to whoever asks, also after its attempt: nothing changes by it.
      if (draft.steps.get(key)?.status !== "done") requireOpenAttempt(draft, attempt);
      return begin(draft, key, { ...write, stepsMax, resultsMaxBytes });
    }
    case "done": {
      const digest = resolveDigest({ status: "COMPLETED", attempt, result: write.result, error: null });
      return recordDone(draft, key, write.result, {
        attempt,
        stepsMax,
        resultsMaxBytes,
        completeIntent: input.completeIntent,
        digest,
      });
    }
    case "failed": {
      const digest = resolveDigest({ status: "FAILED", attempt, result: null, error: write.error });
      return recordFailed(draft, key, {
        attempt,
        stepsMax,
        resultsMaxBytes,
        completeIntent: input.completeIntent,
        digest,
        error: write.error,
        retryable: write.retryable,
        random: Math.random(),
      });
    }
  }
}

export function releaseIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: { readonly attempt: number; readonly notRun: readonly string[]; readonly reason: string },
): Promise<{ status: Status }> {
  return engine.commits.submit({
    name: "release",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: HEAD }],
    decide: (work) =>
      fenced(work, intentId, actor, { attempt: input.attempt, operation: "release" }, (draft) => {
        requireOpenAttempt(draft, input.attempt);
        release(draft, input.notRun, input.reason);
        return { status: draft.intent.status };
      }),
  });
}

export function reportIntentProgress(
  engine: Engine,
  actor: Actor,
  intentId: string,
  input: ProgressInput,
): Promise<{ seq: number }> {
  return engine.commits.submit({
    name: "progress",
    intents: [intentId],
    bytes: bytesOf(input.message, input.output?.text ?? null, input.data),
    decide: (work) =>
      fenced(work, intentId, actor, { attempt: input.attempt, operation: "progress" }, (draft) => {
        reportProgress(draft, input);
        return { seq: draft.intent.seq };
      }),
  });
}

/** A fenced sign of life for one intent, which renews the lease of a consumer that has no stream; tells what the agent should know. */
export async function touchIntent(
  engine: Engine,
  actor: Actor,
  intentId: string,
  attempt: number,
): Promise<{ intent: Intent }> {
  const { intent } = await engine.commits.submit({
    name: "touch",
    intents: [intentId],
    decide: (work) =>
      fenced(work, intentId, actor, { attempt, operation: "heartbeat" }, (draft) => {
        requireOpenAttempt(draft, attempt);
        return { intent: draft.intent };
      }),
  });
  if (intent.consumerId !== null) await renewByWrite(engine.store, [intent.consumerId]);
  return { intent };
}
