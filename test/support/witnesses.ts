// Who can tell what became of a wait in vain: a test's database (the intents that live, their logs, who holds what, which session waits
// for which) and its server (requests that are not answered, writes that are not committed, streams).
import type { Server as HttpServer, IncomingMessage } from "node:http";
import pg from "pg";
import type { Server } from "../../server/app.ts";
import { bearWitness, type Witness } from "./until.ts";

const INTENTS_TOLD = 5;
const EVENTS_TOLD = 15;
const DETAILS_TOLD = 160;

// The intents that are asked after, then those that live, the latest first.
const INTENTS = `select id::text, status, waiting_reason, attempt, strikes, seq, paused, open_steps, consumer_id::text, to_agent, parent_id::text,
    updated_at from intents where id::text = any($1) or status not in ('COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT')
  order by (id::text = any($1)) desc, updated_at desc limit ${INTENTS_TOLD}`;
const EVENTS = `select to_char(at, 'HH24:MI:SS.MS') as at, seq, type, attempt, actor, left(details::text, ${DETAILS_TOLD}) as details
  from events where intent_id = $1 order by seq desc limit ${EVENTS_TOLD}`;
const TABLES = {
  ready: "select to_agent, intent_id::text from ready limit 10",
  leases: "select intent_id::text, consumer_id::text, attempt from leases limit 10",
  outbox: "select * from outbox limit 10",
  timers: "select intent_id::text, due_at - now() as due_in from timers order by due_at limit 5",
  consumers: `select id::text, address, name, mode, capacity, stream_no, closed_stream_no, (lease_until - now())::text as lease_left
    from consumers order by seen_at desc limit 10`,
  sessions: `select pid, application_name, state, wait_event, (now() - query_start)::text as since, pg_blocking_pids(pid) as blocked_by,
      left(query, 100) as query
    from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`,
};

const lines = (title: string, rows: readonly unknown[]): string =>
  rows.map((row) => `\n  ${title} ${JSON.stringify(row)}`).join("");

/** What is in the database at this url. */
function databaseWitness(url: string): Witness {
  return async (about) => {
    const client = new pg.Client({
      connectionString: url,
      application_name: "a witness",
      connectionTimeoutMillis: 5_000,
    });
    await client.connect();
    try {
      let told = `the database, at ${new Date().toISOString()}:`;
      for (const intent of (await client.query(INTENTS, [about])).rows) {
        told += lines("intent", [intent]);
        told += lines("  ", (await client.query(EVENTS, [intent.id])).rows.reverse());
      }
      for (const [table, query] of Object.entries(TABLES))
        told += lines(table, (await client.query(query)).rows);
      return told;
    } finally {
      await client.end();
    }
  };
}

export const witnessDatabase = (url: string): (() => void) => bearWitness(databaseWitness(url));

/** Counts the requests that have come and are not answered. */
function openRequests(http: HttpServer): () => string[] {
  const open = new Map<IncomingMessage, number>();
  http.prependListener("request", (request, response) => {
    open.set(request, performance.now());
    response.once("close", () => open.delete(request));
  });
  return () =>
    [...open].map(
      ([{ method, url }, since]) => `${method} ${url} for ${Math.round(performance.now() - since)} ms`,
    );
}

/** To be called before it listens. */
export function witnessServer(server: Server): () => void {
  const open = openRequests(server.app.server);
  const pools = ["pool", "writers", "transactors"] as const;
  return bearWitness(() => {
    const { commits } = server.engine;
    const streams = server.streams.all().map(({ consumerId, address, streamNo, capacity, held, frames }) => ({
      consumerId,
      address,
      streamNo,
      capacity,
      held,
      open: frames.open,
    }));
    const taken = pools.map((name) => {
      const { totalCount, idleCount, waitingCount } = server.store[name];
      return `${name} ${totalCount - idleCount} of ${totalCount} at work, ${waitingCount} wait`;
    });
    return `the server: ${commits.waiting} writes wait; ${taken.join("; ")}${lines("stream", streams)}${lines("open", open())}`;
  });
}
