// What an intent's steps were after any entry of its log: the log folded, entry by entry. Restores and exports rest on it;
// that folding the whole log equals the stored steps is tested.

import type { EventType } from "./event.ts";
import type { StepStatus } from "./intent.ts";
import type { RawJson } from "./raw-json.ts";
import type { Wait } from "./wait.ts";
import { waitFromJson } from "./wait-json.ts";

export interface LogEntry {
  readonly seq: number;
  readonly type: EventType;
  readonly attempt: number | null;
  readonly at: number;
  // biome-ignore lint/suspicious/noExplicitAny: an event's details are its own
  readonly details: Record<string, any> | null;
  /** `details.result` as it was written. */
  readonly result: RawJson | null;
}

export interface FoldedStep {
  readonly key: string;
  readonly position: number | null;
  readonly status: StepStatus;
  readonly generation: number;
  readonly tries: number;
  readonly interrupted: boolean;
  readonly attempt: number | null;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  /** The entry that recorded it done. */
  readonly seq: number | null;
  readonly result: RawJson | null;
  readonly error: Record<string, unknown> | null;
  readonly wait: Wait | null;
  /** The signal that its wait took. */
  readonly signal: number | null;
}

export interface Folded {
  readonly generation: number;
  readonly planBy: "sender" | "agent" | null;
  readonly steps: ReadonlyMap<string, FoldedStep>;
}

const NOTHING: Folded = { generation: 0, planBy: null, steps: new Map() };

/** Folds the entries up to `seq` (all of them without one). They begin with the log's first and are in order. */
export function foldLog(entries: readonly LogEntry[], seq: number = Number.POSITIVE_INFINITY): Folded {
  let folded = NOTHING;
  for (const entry of entries) {
    if (entry.seq > seq) break;
    folded = entry.type === "intent.restored" ? afterRestore(entries, folded, entry) : after(folded, entry);
  }
  return folded;
}

function afterRestore(entries: readonly LogEntry[], before: Folded, entry: LogEntry): Folded {
  return restoredTo(foldLog(entries, Number(entry.details?.to)), before);
}

/**
 * The steps as they were at an earlier entry, as if the agent had crashed right after it (S6): done ones stay, begun ones are in doubt,
 * what was begun later is superseded.
 */
export function restoredTo(then: Folded, now: Folded): Folded {
  const generation = now.generation + 1;
  const steps = new Map<string, FoldedStep>();
  for (const step of now.steps.values()) {
    if (!then.steps.has(step.key)) steps.set(step.key, { ...step, position: null, ...SUPERSEDED });
  }
  for (const step of then.steps.values())
    steps.set(step.key, rewind(step, now.steps.get(step.key), generation));
  return { generation, planBy: then.planBy, steps };
}

const SUPERSEDED = { status: "superseded", interrupted: false, result: null, signal: null } as const;

function rewind(step: FoldedStep, now: FoldedStep | undefined, generation: number): FoldedStep {
  switch (step.status) {
    case "running":
      return { ...step, status: "interrupted", interrupted: true };
    case "waiting":
    case "failed":
      return { ...step, status: "planned", finishedAt: null };
    case "planned": {
      // Begun only after that entry: that try is superseded, and the next one is another to the outside world.
      const begunLater =
        now !== undefined && (now.tries !== step.tries || now.generation !== step.generation);
      return begunLater ? { ...step, generation } : step;
    }
    default:
      return step;
  }
}

function after(folded: Folded, entry: LogEntry): Folded {
  const { details } = entry;
  switch (entry.type) {
    case "intent.created":
      return details?.steps === undefined ? folded : withPlan(folded, details.steps, "sender");
    case "intent.in_progress":
      return details?.steps === undefined ? folded : withPlan(folded, details.steps, "agent");
    case "intent.step_running":
    case "intent.step_done":
    case "intent.step_failed":
    case "intent.step_waiting":
    case "intent.step_interrupted":
      return withStep(folded, String(details?.key), (step) => stepAfter(step, entry));
    case "intent.step_decided":
      return withStep(folded, String(details?.key), (step) => decided(step, details));
    case "intent.released":
      return ((details?.not_run ?? []) as string[]).reduce((sum, key) => withStep(sum, key, unbegun), folded);
    case "intent.retried":
      return retried(folded);
    default:
      return folded;
  }
}

function planned(key: string, position: number | null, generation: number): FoldedStep {
  return {
    key,
    position,
    status: "planned",
    generation,
    tries: 0,
    interrupted: false,
    attempt: null,
    startedAt: null,
    finishedAt: null,
    seq: null,
    result: null,
    error: null,
    wait: null,
    signal: null,
  };
}

function withPlan(folded: Folded, keys: readonly string[], planBy: "sender" | "agent"): Folded {
  const steps = new Map<string, FoldedStep>();
  for (const step of folded.steps.values()) {
    const dropped = step.position !== null && !keys.includes(step.key) && step.status !== "done";
    steps.set(step.key, { ...step, position: null, ...(dropped ? { status: "superseded" as const } : {}) });
  }
  keys.forEach((key, position) => {
    const known = steps.get(key);
    if (known === undefined) steps.set(key, planned(key, position, folded.generation));
    else
      steps.set(key, {
        ...known,
        position,
        ...(known.status === "superseded"
          ? { status: "planned" as const, generation: folded.generation, wait: null }
          : {}),
      });
  });
  return { ...folded, planBy, steps };
}

function withStep(folded: Folded, key: string, change: (step: FoldedStep) => FoldedStep): Folded {
  const { generation } = folded;
  const known = folded.steps.get(key) ?? planned(key, null, generation);
  const current = known.status === "superseded" ? { ...known, generation, wait: null } : known;
  const steps = new Map(folded.steps);
  steps.set(key, change(current));
  return { ...folded, steps };
}

function stepAfter(step: FoldedStep, entry: LogEntry): FoldedStep {
  const { type, details, at, seq, attempt, result } = entry;
  const tries = Number(details?.tries ?? step.tries);
  switch (type) {
    case "intent.step_running":
      return { ...step, status: "running", tries, attempt, startedAt: at, finishedAt: null, error: null };
    case "intent.step_done":
      return {
        ...step,
        status: "done",
        tries,
        attempt,
        interrupted: false,
        ...waited(step, entry),
        finishedAt: at,
        seq,
        result,
        error: null,
        signal: details?.signal ?? null,
      };
    case "intent.step_failed":
      return {
        ...step,
        status: "failed",
        tries,
        attempt,
        ...waited(step, entry),
        finishedAt: at,
        error: { ...details?.error, final: details?.final },
      };
    case "intent.step_waiting":
      return {
        ...step,
        status: "waiting",
        tries,
        attempt,
        ...waited(step, entry),
        finishedAt: null,
      };
    default:
      return { ...step, status: "interrupted", interrupted: true, tries };
  }
}

/** What a step asked for, told by the entry that parks on it, or by the one that ends it at once. */
function waited(
  { startedAt, wait }: FoldedStep,
  { details, at }: LogEntry,
): Pick<FoldedStep, "startedAt" | "wait"> {
  if (details?.wait === undefined) return { startedAt, wait };
  return { startedAt: startedAt ?? at, wait: waitFromJson(details.wait) };
}

function decided(step: FoldedStep, details: LogEntry["details"]): FoldedStep {
  if (details?.decision === "retry") return { ...step, status: "planned", interrupted: false };
  if (details?.decision !== "fail") return step;
  return { ...step, status: "failed", error: { ...details.error, final: true } };
}

/** Begun, and handed back before it ran. */
function unbegun(step: FoldedStep): FoldedStep {
  const status = step.interrupted ? "interrupted" : "planned";
  return { ...step, status, tries: step.tries - 1, startedAt: null };
}

function retried(folded: Folded): Folded {
  const steps = new Map(folded.steps);
  for (const step of steps.values())
    if (step.status === "failed") steps.set(step.key, { ...step, status: "planned", wait: null });
  return { ...folded, generation: folded.generation + 1, steps };
}
