// A signal: data for a wait by name. One that finds nobody waiting stays until a wait takes it (W2, I14).

import { type Draft, emit } from "../draft.ts";
import { isTerminal } from "../lifecycle.ts";
import type { RawJson } from "../raw-json.ts";
import { Refusal } from "../refusal.ts";
import { waitingSteps } from "../wait.ts";
import { wake } from "./waits.ts";

export const UNREAD_MAX = 1_000;

export interface SignalInput {
  readonly name: string;
  readonly data: RawJson;
  /** Signals of this name that nobody has taken yet. */
  readonly unread: number;
}

export interface Signaled {
  /** The log entry, by which the signal is numbered. */
  readonly no: number;
  /** The step whose wait took it at once. */
  readonly takenBy: string | null;
}

export function signal(draft: Draft, { name, data, unread }: SignalInput): Signaled {
  const { intent } = draft;
  if (isTerminal(intent.status)) {
    throw new Refusal(
      "intent_terminal",
      `the intent already ended as ${intent.status}; nobody will read a signal`,
      {
        status: intent.status,
      },
    );
  }
  if (unread >= UNREAD_MAX) {
    throw new Refusal(
      "too_many_signals",
      `${unread} signals ${JSON.stringify(name)} are unread; wait until some are taken`,
      {
        limit: UNREAD_MAX,
      },
    );
  }
  const taker = waitingSteps(intent, draft.steps).find(
    ({ wait }) => wait.kind === "signal" && wait.name === name,
  );
  emit(draft, "intent.signaled", { name, data, ...(taker === undefined ? {} : { taken_by: taker.key }) });
  const no = intent.seq;
  if (taker !== undefined) wake(draft, taker.key, { result: data, signal: no });
  return { no, takenBy: taker?.key ?? null };
}
