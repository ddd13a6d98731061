// Tells an intent's story from its rows and log: who has it, what was lost, what happens next.

import { formatAddress } from "../domain/address.ts";
import type { IntentEvent } from "../domain/event.ts";
import type { Intent, Step } from "../domain/intent.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import { RawJson } from "../domain/raw-json.ts";
import { nextDueAt } from "../domain/schedule.ts";
import type { ConsumersTable } from "../store/database.ts";
import type { IntentRecord } from "../store/queries/intents.ts";

interface AttemptStory {
  attempt: number;
  consumer: string;
  delivered_at: string;
  ended_at?: string;
  end?: string;
}

const at = (ms: number): string => new Date(ms).toISOString();

function detailsOf(event: IntentEvent): Record<string, unknown> {
  const value = event.details instanceof RawJson ? event.details.parse() : event.details;
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function tellAttempts(events: readonly IntentEvent[]): AttemptStory[] {
  const stories: AttemptStory[] = [];
  for (const event of events) {
    if (event.type === "intent.delivered") {
      stories.push({
        attempt: event.attempt ?? 0,
        consumer: String(detailsOf(event).consumer ?? "unknown"),
        delivered_at: at(event.at),
      });
      continue;
    }
    const last = stories.at(-1);
    if (last === undefined || last.end !== undefined || last.attempt !== event.attempt) continue;
    const { reason } = detailsOf(event);
    last.ended_at = at(event.at);
    last.end = event.type.slice("intent.".length) + (typeof reason === "string" ? `: ${reason}` : "");
  }
  return stories;
}

interface Next {
  readonly what: string;
  readonly at?: string;
}

function whatItWaitsFor(intent: Intent, steps: readonly Step[]): Next {
  const open = steps.filter((step) => intent.openSteps.includes(step.key));
  const waiting = open.filter((step) => step.status === "waiting");
  const what = waiting.map(describeWait).join(" and ");
  if (waiting.length === 0)
    return {
      what: `waits for a decision about ${open.map((step) => step.key).join(", ") || "it"}: done, retry or fail (perdure resolve-step)`,
    };
  return intent.wakeAt === null ? { what } : { what, at: at(intent.wakeAt) };
}

function describeWait({ wait, key }: Step): string {
  switch (wait?.kind) {
    case "signal":
      return `waits for signal ${JSON.stringify(wait.name)}${wait.timeoutAt === null ? "" : ", or gives up"}`;
    case "intents":
      return `waits for ${wait.ids.length === 1 ? `its child ${wait.ids[0]}` : `${wait.ids.length} children`}`;
    case "human":
      return `waits for a person: ${wait.task.title} (${wait.task.allowedOutcomes.join(" or ")})`;
    default:
      return `sleeps in step ${key}, and goes on`;
  }
}

/** Whoever is there to take it. */
export interface Listening {
  readonly listeners: number;
  /** Nothing is delivered to it. */
  readonly agentPaused: boolean;
}

function whatNext(
  { intent }: IntentRecord,
  steps: readonly Step[],
  { listeners, agentPaused }: Listening,
): Next | undefined {
  if (isTerminal(intent.status))
    return intent.status === "COMPLETED" ? undefined : { what: `nothing, unless an operator retries it` };
  if (intent.paused)
    return {
      what:
        intent.consumerId === null
          ? "waits for unpause"
          : "is handed back after its current step, because it is paused",
    };
  if (intent.status === "WAITING") return whatItWaitsFor(intent, steps);
  if (intent.consumerId !== null) {
    const due = nextDueAt(intent);
    return due === null
      ? { what: "its agent works on it" }
      : { what: "its agent works on it, until a time limit", at: at(due) };
  }
  if (intent.availableAt !== null) return { what: "becomes available", at: at(intent.availableAt) };
  if (intent.conducted) return { what: "the server begins its next step" };
  if (agentPaused) return { what: `waits until ${formatAddress(intent.toAgent)} is unpaused` };
  return {
    what:
      listeners > 0
        ? "is delivered to the next free consumer"
        : `waits for an agent to listen at ${formatAddress(intent.toAgent)}`,
  };
}

export function explain(
  record: IntentRecord,
  events: readonly IntentEvent[],
  steps: readonly Step[],
  holder: ConsumersTable | undefined,
  listening: Listening,
) {
  const { intent, outcome } = record;
  const attempts = tellAttempts(events);
  const next = whatNext(record, steps, listening);
  const lost = attempts.filter((story) => story.end?.startsWith("lost") === true).length;
  const inDoubt = steps.filter((step) => step.interrupted).map((step) => step.key);
  const parts = [
    `${intent.status}${intent.paused ? " (paused)" : ""}`,
    holder === undefined
      ? null
      : `held by ${holder.name} since ${intent.deliveredAt === null ? "now" : at(intent.deliveredAt)} (attempt ${intent.attempt})`,
    intent.stepsCount > 0
      ? `${intent.stepsDone}${intent.planBy === null ? "" : `/${intent.stepsTotal}`} steps done`
      : null,
    lost > 0
      ? `${lost} ${lost === 1 ? "delivery" : "deliveries"} lost, ${intent.strikes} of ${intent.maxDeliveryAttempts} since the last progress`
      : null,
    inDoubt.length > 0 ? `in doubt: ${inDoubt.join(", ")}` : null,
    outcome?.error == null ? null : `${outcome.error.code}: ${outcome.error.message}`,
    next === undefined ? null : `next: ${next.what}${next.at === undefined ? "" : ` at ${next.at}`}`,
  ];
  return {
    summary: parts.filter((part) => part !== null).join("; "),
    status: intent.status,
    ...(holder === undefined
      ? {}
      : {
          holder: {
            consumer: holder.name,
            consumer_id: holder.id,
            attempt: intent.attempt,
            since: intent.deliveredAt === null ? null : at(intent.deliveredAt),
            lease_until: holder.lease_until === null ? null : at(holder.lease_until),
          },
        }),
    attempts,
    ...(intent.status === "WAITING"
      ? { waiting: { reason: intent.waitingReason, steps: intent.openSteps } }
      : {}),
    in_doubt: inDoubt,
    ...(next === undefined ? {} : { next }),
  };
}
