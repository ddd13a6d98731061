// Who may do what to an intent that it sees. What it does not see does not exist for it: that is said where rows are opened.

import { isSender, may, mayActOn } from "../access.ts";
import type { Draft } from "../draft.ts";
import type { Actor, Intent } from "../intent.ts";
import { Refusal } from "../refusal.ts";

/** Only whoever may hold the intent, or an operator, acts on it; a matching attempt alone proves nothing. */
export function requireHolderRight(actor: Actor, intent: Intent): void {
  if (actor.operator || mayActOn(actor.access, intent)) return;
  throw new Refusal(
    "forbidden",
    "only the agent that this intent was given to acts on it: use a key with the scope act that covers its address",
  );
}

/** Its sender may take an intent back, and so may an operator. */
export function requireSenderRight({ actor, intent }: Pick<Draft, "actor" | "intent">): void {
  if (actor.operator || (may(actor.access, "send") && isSender(actor.access, intent))) return;
  throw new Refusal("forbidden", "only the sender of this intent or an operator may do that");
}
