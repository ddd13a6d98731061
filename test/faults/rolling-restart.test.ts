// Servers that are stopped and started one after the other, behind a balancer, while everybody works: nobody notices.
import { PerdureClient } from "@perdure/sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { type Balancer, startBalancer } from "../support/balancer.ts";
import { asAdmin, createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { until } from "../support/server.ts";
import { endAll, freePort, type Process, startServer } from "./processes.ts";

const LANES = 12;
const AGENTS = 3;
const STEPS = 3;
/** So often each server is stopped and started. */
const ROUNDS = Number(process.env.ROLLING_ROUNDS ?? 1);
/** As in production: who cannot come back within them is not there. */
const LEASES = {
  PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
  PERDURE_LEASE_TTL_MS: "60000",
  PERDURE_RECONNECT_GRACE_MS: "30000",
  PERDURE_RESTART_GRACE_MS: "60000",
};

let database: TestDatabase;
let balancer: Balancer;
const ports: number[] = [];
const servers: Process[] = [];
beforeAll(async () => {
  database = await createTestDatabase();
  ports.push(await freePort(), await freePort());
  for (const port of ports) servers.push(await startServer(database.url, port, { env: LEASES }));
  balancer = await startBalancer(ports.map((port) => `http://127.0.0.1:${port}`));
});
afterAll(async () => {
  await balancer.close();
  await endAll();
  await database.drop({ openConnections: "close" });
});

const name = "a rolling restart under load fails no call, runs no step twice and counts no attempt as lost";
test(name, { timeout: 60_000 + ROUNDS * 300_000 }, async () => {
  const runs = new Map<string, number>();
  const agents = Array.from({ length: AGENTS }, () =>
    new PerdureClient({ baseUrl: balancer.url, logger: false }).listen<{ mark: string }>(
      "rolled",
      async (ctx) => {
        for (let n = 0; n < STEPS; n += 1)
          await ctx.step(`s${n}`, () => {
            const name = `${ctx.payload.mark} s${n}`;
            runs.set(name, (runs.get(name) ?? 0) + 1);
          });
        return ctx.payload.mark;
      },
      { capacity: 4, handleSignals: false },
    ),
  );
  await Promise.all(agents.map((agent) => agent.ready));

  let stopping = false;
  let done = 0;
  const failures: string[] = [];
  const lane = async (name: number) => {
    // Each has a client, and so connections, of its own.
    const client = new PerdureClient({ baseUrl: balancer.url, logger: false });
    for (let n = 0; !stopping; n += 1) {
      const mark = `${name}-${n}`;
      try {
        const id = await client.sendIntent({ intentType: "rolled.v1", toAgent: "rolled", payload: { mark } });
        const outcome = await client.waitFor(id);
        if (outcome.status !== "COMPLETED" || outcome.result !== mark)
          failures.push(`${mark}: ${JSON.stringify(outcome)}`);
        done += 1;
      } catch (error) {
        failures.push(`${mark}: ${String(error)}`);
      }
    }
  };
  const lanes = Array.from({ length: LANES }, (_, name) => lane(name));
  const moreIsDone = async () => {
    const before = done;
    await until("more is done", () => done >= before + 2 * LANES);
  };
  await moreIsDone();
  for (let turn = 0; turn < ROUNDS * ports.length; turn += 1) {
    const n = turn % ports.length;
    servers[n]?.kill("SIGTERM");
    expect(await servers[n]?.over).toBe(0);
    await moreIsDone();
    servers[n] = await startServer(database.url, ports[n] ?? 0, { env: LEASES });
    await moreIsDone();
  }
  stopping = true;
  await Promise.all(lanes);
  await Promise.all(agents.map((agent) => agent.stop()));

  expect(failures).toEqual([]);
  expect([...runs].filter(([, times]) => times !== 1)).toEqual([]);
  expect(runs.size).toBe(done * STEPS);
  const [lost] = await asAdmin(database.url, async (admin) => (await admin.query(LOST)).rows);
  expect(lost).toEqual({ intents: done, strikes: 0, lost: 0 });
  expect((await verifyDatabase(database.url)).violations).toEqual([]);
  console.info(`${ROUNDS * ports.length} restarts, ${done} intents`);
});

const LOST = `select count(*)::int as intents, sum(strikes)::int as strikes,
  (select count(*)::int from events where type = 'intent.lost') as lost from intents`;
