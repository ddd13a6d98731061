// The real server under a clock that stands still until it is moved.

import { startTestServer, type TestServer } from "../support/server.ts";
import { LEASE_MS } from "./shapes.ts";

export interface SteerableServer extends TestServer {
  /** Milliseconds of the database's clock. */
  now(): number;
  moveClock(to: number): Promise<void>;
}

/** Nothing in the server reads another clock than the database's perdure_now(): replaced here by a row that stands still. */
export async function startSteerableServer(): Promise<SteerableServer> {
  const env = {
    PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
    PERDURE_LEASE_TTL_MS: String(LEASE_MS),
    PERDURE_RECONNECT_GRACE_MS: "2000",
    PERDURE_POLL_INTERVAL_MS: "1000",
  };
  const server = await startTestServer({ env });
  let now = Date.parse("2030-01-01T00:00:00Z");
  const moveClock = async (to: number) => {
    now = to;
    await server.store.pool.query("update test_clock set now = to_timestamp($1::float8 / 1000)", [to]);
  };
  await server.store.pool.query("create table test_clock (now timestamptz not null)");
  await server.store.pool.query("insert into test_clock values (to_timestamp($1::float8 / 1000))", [now]);
  await server.store.pool.query(
    "create or replace function perdure_now() returns timestamptz language sql volatile as 'select now from test_clock'",
  );
  // To the server those years were an outage: the grace that follows one is granted before anybody connects. Twice: a pulse that was
  // under way as the clock moved says nothing of the time since.
  for (const pulse of [server.sweepers.pulse, server.sweepers.pulse]) await pulse.tick();
  return Object.assign(server, { now: () => now, moveClock });
}
