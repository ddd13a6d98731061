// Owns: what an intent waits for and from whom, as its log tells it. Must not: answer.
import { type IntentEvent, isTerminal, type Wire } from "../intents.ts";

export interface Question {
  readonly kind: "signal" | "human" | "doubt" | "intents" | "time";
  /** Under which it is answered. */
  readonly name: string;
  /** Tells it from the other questions of its intent. */
  readonly place: string;
}

/** What the intent waits for now; undefined when it does not. */
export function questionOf(events: readonly IntentEvent[]): Question | undefined {
  const last = events.findLast(({ type }) => type === "intent.waiting" || type === "intent.resumed");
  if (last?.type !== "intent.waiting" || isTerminal(events.at(-1)?.status ?? "")) return undefined;
  if (last.details.question === "in_doubt") return doubtOf(events, last);
  const asked = events.findLast(({ type }) => type === "intent.step_waiting");
  const { key, wait }: Wire = asked?.details ?? {};
  const place = String(last.seq);
  if (wait?.signal !== undefined) return { kind: "signal", name: wait.signal, place };
  if (wait?.human_task !== undefined) return { kind: "human", name: key, place };
  return { kind: wait?.intents === undefined ? "time" : "intents", name: key, place };
}

/** The first of the steps in doubt about which nobody has decided yet. */
function doubtOf(events: readonly IntentEvent[], { seq, details }: IntentEvent): Question | undefined {
  const decided = events
    .filter((event) => event.seq > seq && event.type === "intent.step_decided")
    .map((event) => event.details.key);
  const name = (details.steps as string[]).find((key) => !decided.includes(key));
  return name === undefined ? undefined : { kind: "doubt", name, place: `${seq} ${name}` };
}

/** Why a simulation cannot go on, and what would help. */
export function describeQuestion(question: Question | undefined): string {
  const name = JSON.stringify(question?.name);
  switch (question?.kind) {
    case "signal":
      return `it waits for the signal ${name}: give its data in \`answers\``;
    case "human":
      return `it waits for a decision about ${name}: give { outcome } in \`answers\``;
    case "doubt":
      return `step ${name} is in doubt and asks somebody: give { done }, "retry" or "fail" in \`answers\``;
    case "intents":
      return `it waits for intents that it has sent (${name}): give the agents at their addresses in \`others\``;
    default:
      return "nothing can happen any more, and it has not ended";
  }
}
