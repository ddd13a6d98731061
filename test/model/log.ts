// The log of an intent: each entry with what the intent was after it, so that it can be told and gone back to.

import type { ModelIntent, Past } from "./shapes.ts";

/** Whatever an entry tells of has been done to the intent before. */
export function log(intent: ModelIntent, type: string, note = ""): void {
  const attempt = intent.attempt === 0 ? null : intent.attempt;
  intent.log.push({ type, status: intent.status, attempt, note });
  intent.past.push(pictureOf(intent));
}

const pictureOf = ({ plan, steps, state }: ModelIntent): Past => ({
  plan,
  steps: steps.map((step) => ({ ...step })),
  state: { ...state },
});

/** What it was after an entry; before the first there was nothing. */
export const pastOf = (intent: ModelIntent, seq: number): Past =>
  intent.past[seq - 1] ?? { plan: false, steps: [], state: {} };
