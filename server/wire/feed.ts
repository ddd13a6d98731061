// The wire shape of one entry of the feed: the event, and the intent as its commit left it.

import { formatAddress } from "../domain/address.ts";
import type { IntentEvent } from "../domain/event.ts";
import type { Intent } from "../domain/intent.ts";
import { eventView, progressView } from "./views.ts";

const iso = (ms: number): string => new Date(ms).toISOString();

/** `events`: how many of its events are told of by this one. */
export function feedView(intent: Intent, event: IntentEvent, events: number) {
  return {
    ...eventView(event),
    events,
    intent: {
      intent_type: intent.intentType,
      address: formatAddress(intent.toAgent),
      seq: intent.seq,
      status: intent.status,
      lifecycle_waiting_reason: intent.waitingReason,
      paused: intent.paused,
      attempt: intent.attempt,
      lost_deliveries: intent.strikes,
      max_delivery_attempts: intent.maxDeliveryAttempts,
      priority: intent.priority,
      deadline_at: intent.deadlineAt === null ? null : iso(intent.deadlineAt),
      parent_intent_id: intent.parentId,
      created_at: iso(intent.createdAt),
      updated_at: iso(intent.updatedAt),
      progress: progressView(intent),
    },
  };
}
