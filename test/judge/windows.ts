// What clients were told through windows: one owner per delivery, numbers that only grow, and a status that says whether it is new
// (I6, I10); and no last strike by whoever just came (X2, I12).

import type { Violation } from "../../server/verify/log-rules.ts";
import { violation } from "./verdict.ts";

export interface WindowTold {
  readonly client: string;
  readonly intentId: string;
  readonly attempt: number;
  /** The delivery's number at its address. */
  readonly seq: number;
  readonly status: string;
}

/** An entry of any intent's log. */
export interface LogRow {
  readonly intent_id: string;
  readonly type: string;
  readonly details: { readonly [name: string]: unknown } | null;
}

export function judgeWindows(told: readonly WindowTold[], log: readonly LogRow[]): Violation[] {
  const owners = new Map<string, string>();
  const cursors = new Map<string, number>();
  const found: Violation[] = [];
  for (const { client, intentId, attempt, seq, status } of told) {
    const say = (invariant: string, message: string) => found.push(violation(invariant, intentId, message));
    const delivery = `${intentId} ${attempt}`;
    const owner = owners.get(delivery);
    if (owner !== undefined) say("I6", `attempt ${attempt} was told to ${owner} and to ${client}`);
    owners.set(delivery, client);
    const cursor = cursors.get(client) ?? 0;
    if (seq <= cursor) say("I10", `${client} was told ${seq} after ${cursor}`);
    cursors.set(client, seq);
    const expected = attempt === 1 ? "DELIVERED" : "IN_PROGRESS";
    if (status !== expected) say("I6", `delivery ${attempt} was told as ${status}`);
  }
  for (const { intent_id, type, details } of log) {
    if (!type.endsWith("lost") || details?.reason !== "takeover") continue;
    if (!String(details.consumer).startsWith("window-")) continue;
    if (Number(details.lost_deliveries) >= Number(details.max_delivery_attempts))
      found.push(violation("I12", intent_id, "a newcomer took the last strike"));
  }
  return found;
}
