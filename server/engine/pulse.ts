// One statement a second that proves this replica alive and says what there is to do: the poll that makes every
// notification a mere hint (D6, I7).

import { encodeArray } from "../store/binary.ts";
import { graceAfterOutage } from "../store/consumers.ts";
import type { Engine } from "./context.ts";

export interface Pulse {
  /** Milliseconds since this replica's previous pulse; null at its first. */
  readonly sinceMs: number | null;
  readonly otherReplicas: number;
  readonly timersDue: boolean;
  readonly leasesOver: boolean;
  /** Ends have not been told to their parents or children yet. */
  readonly outboxFull: boolean;
  /** Of the addresses asked about: those with something in the queue. */
  readonly readyAddresses: readonly string[];
}

export async function pulse(engine: Engine, addresses: readonly string[], freshMs: number): Promise<Pulse> {
  const { rows } = await engine.store.pool.query<{
    since_ms: number | null;
    others: number;
    timers_due: boolean;
    leases_over: boolean;
    outbox_full: boolean;
    ready_addresses: string[];
  }>({
    name: "pulse",
    text: `with t as (select perdure_now() as now), old as (select pulsed_at from replicas where id = $1),
        mine as (insert into replicas (id, started_at, pulsed_at) select $1, now, now from t
          on conflict (id) do update set pulsed_at = excluded.pulsed_at)
      select (extract(epoch from t.now - (select pulsed_at from old)) * 1000)::float8 as since_ms,
        (select count(*)::int from replicas r where r.id <> $1 and r.pulsed_at > t.now - make_interval(secs => $2::int / 1000.0)) as others,
        exists(select 1 from timers where due_at <= t.now) as timers_due,
        exists(select 1 from consumers where lease_until <= t.now) as leases_over,
        exists(select 1 from outbox) as outbox_full,
        array(select a.address from unnest($3::text[]) as a(address)
          where exists (select 1 from ready r where r.to_agent = a.address)) as ready_addresses
      from t`,
    values: [engine.replicaId, freshMs, encodeArray("text", addresses)],
  });
  const row = rows[0];
  if (row === undefined) throw new Error("the pulse returned no row");
  return {
    sinceMs: row.since_ms,
    otherReplicas: row.others,
    timersDue: row.timers_due,
    leasesOver: row.leases_over,
    outboxFull: row.outbox_full,
    readyAddresses: row.ready_addresses,
  };
}

/**
 * Nobody served for a while: whoever held something gets time to come back before anything is lost. `slept`: this replica too heard
 * nothing, so what it knows of its own streams counts no more.
 */
export function grantGrace(engine: Engine, slept: boolean): Promise<number> {
  const spared = slept ? null : engine.replicaId;
  return graceAfterOutage(engine.store.pool, engine.settings.restartGraceMs, spared);
}

/** Replicas that stopped pulsing long ago. */
export async function forgetReplicas(engine: Engine): Promise<void> {
  await engine.store.pool.query("delete from replicas where pulsed_at < perdure_now() - interval '1 hour'");
}

/** This replica goes away in order: whoever comes next need not wait to see whether it still pulses. */
export async function endPulse(engine: Engine): Promise<void> {
  await engine.store.pool.query("delete from replicas where id = $1", [engine.replicaId]);
}
