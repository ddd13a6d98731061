// What the servers and the tables weigh while the faults go on, and whether it stays as it is.

import { readFileSync } from "node:fs";
import type { World } from "./world.ts";

export interface Sample {
  readonly atS: number;
  /** Of each server; null while it is dead. */
  readonly rssMib: readonly (number | null)[];
  /** Null while the database is away. */
  readonly tables: Readonly<Record<string, TableSize>> | null;
}

export interface TableSize {
  /** With its indexes. */
  readonly bytes: number;
  /** Counted, where rows stay for ever. */
  readonly rows: number | null;
  /** As its statistics say, which PostgreSQL forgets when it is killed. */
  readonly dead: number;
}

/** Filled and emptied all the time: what they weigh has nothing to do with how much was ever done. */
const QUEUES = ["ready", "leases", "replicas", "outbox"];
/** Grow by one row or more for everything that is done. */
const LOGS = ["intents", "intent_data", "events", "steps"];
const MIB = 1_048_576;

/** Memory and tables, from now on; `stop` answers with all samples. */
export function startSampling(world: World, everyMs: number): { stop(): Promise<Sample[]> } {
  const samples: Sample[] = [];
  const began = performance.now();
  let busy: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    busy = busy.then(async () => {
      samples.push(await sample(world, (performance.now() - began) / 1_000));
    });
  }, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await busy;
      return samples;
    },
  };
}

async function sample(world: World, atS: number): Promise<Sample> {
  const rssMib = world.servers.map((server) => residentMib(server.pid));
  const rows = await world
    .query<{ relname: string; bytes: string; rows: string | null; dead: string }>(
      `select relname, pg_total_relation_size(relid) as bytes, n_dead_tup as dead, case relname
          ${LOGS.map((table) => `when '${table}' then (select count(*) from ${table})`).join(" ")} end as rows
        from pg_stat_user_tables where schemaname = 'public'`,
    )
    .catch(() => null);
  const tables = rows?.map(({ relname, bytes, rows: count, dead }) => [
    relname,
    { bytes: Number(bytes), rows: count === null ? null : Number(count), dead: Number(dead) },
  ]);
  return { atS: Math.round(atS), rssMib, tables: tables === undefined ? null : Object.fromEntries(tables) };
}

/** Undefined processes and those of other systems than Linux weigh nothing known. */
export function residentMib(pid: number | undefined): number | null {
  if (pid === undefined) return null;
  try {
    const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return kib === undefined ? null : Math.round(Number(kib) / 1_024);
  } catch {
    return null;
  }
}

/** What grew that should not: the last third of the time against the one before it. Too short a run says nothing. */
export function judgeFlatness(samples: readonly Sample[]): string[] {
  if (samples.length < 30) return [];
  const third = Math.floor(samples.length / 3);
  const middle = samples.slice(third, 2 * third);
  const last = samples.slice(2 * third);
  const grown: string[] = [];
  const compare = (what: string, of: (sample: Sample) => number | null, factor: number, slack: number) => {
    const [before, after] = [largest(middle, of), largest(last, of)];
    if (after > before * factor + slack)
      grown.push(`${what} grew from ${before.toFixed(1)} to ${after.toFixed(1)}`);
  };
  const servers = samples[0]?.rssMib.length ?? 0;
  for (let n = 0; n < servers; n += 1)
    compare(`memory of server ${n} (MiB)`, ({ rssMib }) => rssMib[n] ?? null, 1.3, 20);
  for (const table of QUEUES) compare(`${table} (MiB)`, ({ tables }) => sizeOf(tables, table), 1.5, 1);
  for (const table of LOGS) compare(`${table} (bytes a row)`, (one) => bytesPerRow(one, table), 1.25, 50);
  return grown;
}

const largest = (samples: readonly Sample[], of: (sample: Sample) => number | null): number =>
  Math.max(0, ...samples.flatMap((one) => of(one) ?? []));

const sizeOf = (tables: Sample["tables"], table: string): number | null => {
  const bytes = tables?.[table]?.bytes;
  return bytes === undefined ? null : bytes / MIB;
};

/** Null where there are too few to tell. */
function bytesPerRow({ tables }: Sample, table: string): number | null {
  const size = tables?.[table];
  if (size === undefined || size.rows === null || size.rows < 1_000) return null;
  return size.bytes / size.rows;
}
