// One statement a second that proves this replica alive and says what there is to do: the poll that makes every
// notification a mere hint (D6, I7). After an outage, or at the start, it grants grace before it counts.

import type { QueueEntry } from "../store/queue-heads.ts";
import {
  closeOrphans,
  endPulses,
  forgetReplicas as forgetOldReplicas,
  type OpenStream,
  type Patience,
  type PulseQuery,
  recover,
  sendPulse,
} from "../store/replicas.ts";
import type { Engine, EngineSettings } from "./context.ts";

/** A pulse may be late by a few intervals before anything follows from it. */
const LATE_PULSES = 3;

/** How long a silence of all replicas may last (D6): half a heartbeat interval says little, a whole one is an outage. */
export function patience(settings: EngineSettings): Patience {
  const lateMs = settings.pollIntervalMs * LATE_PULSES;
  return {
    doubtMs: Math.max(lateMs, settings.heartbeatIntervalMs / 2),
    awayMs: Math.max(lateMs, settings.heartbeatIntervalMs),
  };
}

export interface Pulse {
  readonly otherReplicas: number;
  /** Another replica has pulsed since this one came up. */
  readonly othersSince: boolean;
  /** Grace was granted: this replica came up, or nobody had pulsed for too long. */
  readonly recovered: boolean;
  readonly timersDue: boolean;
  readonly leasesOver: boolean;
  /** Ends have not been told to their parents or children yet. */
  readonly outboxFull: boolean;
  /** Of the addresses asked about: those with something in the queue. */
  readonly readyAddresses: readonly string[];
  /** Of the streams asked about: those that count as closed, so that nothing comes through them any more. */
  readonly closedStreams: readonly OpenStream[];
}

export interface Asked {
  /** Whether the queues are looked at from their very beginning, or from where they are believed to begin. */
  readonly whole: boolean;
  readonly addresses: readonly string[];
  readonly streams: readonly OpenStream[];
}

export async function pulse(engine: Engine, asked: Asked): Promise<Pulse> {
  const bounds = patience(engine.settings);
  const { queues } = engine.store;
  const query: PulseQuery = {
    ...bounds,
    streams: asked.streams,
    queues: asked.whole ? queues.wholes(asked.addresses) : queues.parts(asked.addresses),
    replicaId: engine.replicaId,
  };
  let row = await sendPulse(engine.store, query);
  const recovered = !row.served;
  if (recovered) {
    await recover(engine.store, engine.replicaId, engine.settings.restartGraceMs, bounds);
    row = await sendPulse(engine.store, query);
    if (!row.served) throw new Error("the pulse after a recovery came too late to count");
  }
  const closed = new Set(row.closed_streams);
  const heads: readonly QueueEntry[] = JSON.parse(row.ready ?? "[]");
  for (const head of heads) queues.add(head);
  return {
    otherReplicas: row.others,
    othersSince: row.others_since,
    recovered,
    timersDue: row.timers_due,
    leasesOver: row.leases_over,
    outboxFull: row.outbox_full,
    readyAddresses: [...new Set(heads.map((head) => head.address))],
    closedStreams: asked.streams.filter((stream) => closed.has(stream.id)),
  };
}

/** A replica that we came up beside turned out to be dead: nobody will see its streams close. */
export async function inheritStreams(engine: Engine): Promise<void> {
  const { awayMs } = patience(engine.settings);
  await closeOrphans(engine.store, engine.settings.restartGraceMs, awayMs);
}

export async function forgetReplicas(engine: Engine): Promise<void> {
  await forgetOldReplicas(engine.store);
}

export async function endPulse(engine: Engine): Promise<void> {
  await endPulses(engine.store, engine.replicaId);
}
