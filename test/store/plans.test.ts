// What PostgreSQL makes of the statements that write. They are planned once, without looking at their values, so that what is shown here
// of an empty database holds for a full one.
import type { PoolClient } from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimOne, post, send, step } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
});

interface Prepared {
  name: string;
  statement: string;
  parameters: number;
  planned_anew: number;
}

const PREPARED = `select name, statement, cardinality(parameter_types) as parameters, custom_plans::int as planned_anew
  from pg_prepared_statements`;

/** A bit of everything that writes. */
async function work(): Promise<void> {
  const parent = await send(server, "plans", { session: "s" });
  const { attempt } = await claimOne(server, "plans");
  await post(server, parent, "start", { attempt, steps: [{ key: "a" }, { key: "b" }] });
  await step(server, parent, "a", {
    status: "done",
    attempt,
    result: 1,
    complete_intent: false,
    state: [{ key: "n", value: 1 }],
    begin_next: true,
  });
  await call(server, "PUT", `/v1/intents/${parent}/checkpoints/half`, { attempt });
  await post(server, parent, "signals/go", { data: 1 });
  await step(server, parent, "go", { status: "waiting", attempt, wait: { signal: "go" } });
  await step(server, parent, "ask", {
    status: "waiting",
    attempt,
    wait: { human_task: { title: "Go on?" } },
  });
  await post(server, parent, "restore", { to: "half" });
  await post(server, parent, "cancel", {});
}

const planOf = async (client: PoolClient, { name, parameters }: Prepared): Promise<string> => {
  const nulls = parameters === 0 ? "" : `(${Array(parameters).fill("null").join(", ")})`;
  const { rows } = await client.query<{ "QUERY PLAN": string }>(`explain execute "${name}"${nulls}`);
  return rows.map((row) => row["QUERY PLAN"]).join("\n");
};

test("every statement that writes finds its rows by an index, and is planned once", async () => {
  for (let round = 0; round < 3; round += 1) await work();
  const plans = new Map<string, { plan: string; statement: string; anew: number }>();
  for (const pool of [server.store.writers, server.store.transactors]) {
    const clients = await Promise.all(Array.from({ length: pool.totalCount }, () => pool.connect()));
    try {
      for (const client of clients) {
        const { rows } = await client.query<Prepared>(PREPARED);
        for (const prepared of rows)
          plans.set(prepared.name, {
            plan: await planOf(client, prepared),
            statement: prepared.statement,
            anew: prepared.planned_anew,
          });
      }
    } finally {
      for (const client of clients) client.release();
    }
  }
  expect(plans.size).toBeGreaterThan(25);
  for (const { plan, statement, anew } of plans.values()) {
    expect(anew, statement).toBe(0);
    expect(plan.replaceAll("Seq Scan on replicas", ""), statement).not.toContain("Seq Scan");
    // An index read from end to end is no better.
    expect(plan, statement).not.toMatch(/Index (?:Only )?Scan .*\n(?!\s+Index Cond)/);
  }
});
