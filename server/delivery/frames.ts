// Builds delivery frames from the rows as they are now.

import { maySee } from "../domain/access.ts";
import { requireHolderRight } from "../domain/decide/authority.ts";
import type { Actor, Intent } from "../domain/intent.ts";
import { encodeJson, RawJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import { frameStatus } from "../domain/window.ts";
import type { Engine } from "../engine/context.ts";
import type { WindowDelivery } from "../engine/windows.ts";
import { findWorkingSets } from "../store/queries/working-sets.ts";
import type { HandOver } from "../store/workspace.ts";
import { type DeliveryView, deliveryView } from "../wire/views.ts";

export interface Assignment {
  readonly intentId: string;
  readonly attempt: number;
}

export interface DeliveryFrame {
  readonly intentId: string;
  readonly seq: number;
  readonly data: RawJson;
}

async function readDeliveries(
  engine: Engine,
  assignments: readonly Assignment[],
): Promise<Map<string, DeliveryView>> {
  const sets = await findWorkingSets(
    engine.store,
    assignments.map((assignment) => assignment.intentId),
  );
  const views = new Map<string, DeliveryView>();
  for (const { intentId, attempt } of assignments) {
    const set = sets.get(intentId);
    if (set === undefined) continue;
    const { intent } = set.record;
    // Ended while we looked: there is nothing to deliver any more.
    if (intent.attempt !== attempt || intent.consumerId === null) continue;
    views.set(intentId, deliveryView(set.record, set.steps));
  }
  return views;
}

/** One frame's data per assignment that is still open; one too large only says where to fetch it. */
export async function buildFrames(
  engine: Engine,
  assignments: readonly Assignment[],
): Promise<DeliveryFrame[]> {
  const frames: DeliveryFrame[] = [];
  // A frame is small, what it is made of may not be: a few at a time.
  for (let from = 0; from < assignments.length; from += READ_AT_ONCE) {
    const views = await readDeliveries(engine, assignments.slice(from, from + READ_AT_ONCE));
    for (const view of views.values()) frames.push(deliveryFrame(engine, view));
  }
  return frames;
}

const READ_AT_ONCE = 16;

/** The frames of deliveries through windows. One that cannot be made, or not in time, only says where to fetch it: its reader has to be told. */
export async function windowFrames(
  engine: Engine,
  deliveries: readonly WindowDelivery[],
): Promise<Map<string, DeliveryFrame>> {
  const views = await readDeliveries(engine, deliveries).catch(() => new Map<string, DeliveryView>());
  return new Map(
    deliveries.map(({ intentId, attempt, cursor }) => {
      const view = views.get(intentId);
      const told = {
        intent_id: intentId,
        seq: cursor,
        event_type: "intent.delivered",
        status: frameStatus(attempt),
        attempt,
      };
      const whole = view === undefined ? null : encodeJson({ ...view, ...told });
      const data =
        whole !== null && Buffer.byteLength(whole) <= engine.settings.frameMaxBytes
          ? new RawJson(whole)
          : RawJson.of({ ...told, fetch: true });
      return [intentId, { intentId, seq: cursor, data }];
    }),
  );
}

/** The first frame of an intent that was leased as it was created: all of it is still at hand. */
export function firstFrame(engine: Engine, intent: Intent, handed: HandOver): DeliveryFrame {
  return deliveryFrame(engine, deliveryView({ intent, data: handed.data, outcome: null }, handed.steps));
}

function deliveryFrame(engine: Engine, view: DeliveryView): DeliveryFrame {
  const text = encodeJson(view);
  const fits = Buffer.byteLength(text) <= engine.settings.frameMaxBytes;
  const data = fits
    ? new RawJson(text)
    : RawJson.of({ intent_id: view.intent_id, attempt: view.attempt, fetch: true });
  return { intentId: view.intent_id, seq: view.seq, data };
}

/** The whole working set, for its holder, whatever its size. */
export async function fetchDelivery(
  engine: Engine,
  intentId: string,
  attempt: number | null,
  actor: Actor,
): Promise<DeliveryView> {
  const set = (await findWorkingSets(engine.store, [intentId])).get(intentId);
  if (set === undefined || !maySee(actor.access, set.record.intent))
    throw new Refusal("not_found", `there is no intent ${intentId}`);
  const { intent } = set.record;
  requireHolderRight(actor, intent);
  if (intent.consumerId === null || (attempt !== null && attempt !== intent.attempt)) {
    throw new Refusal("stale_attempt", "that delivery is not open any more; stop working on this intent", {
      current_attempt: intent.attempt,
      open: intent.consumerId !== null,
    });
  }
  return deliveryView(set.record, set.steps);
}
