// A server with a day's work on it: intents in every status, agents that work, wait, crash and are missing.

import { PerdureClient } from "@perdure/sdk";
import pg from "pg";
import { newId } from "../../server/domain/ids.ts";
import { call, type TestServer, until } from "../support/server.ts";

const ETL = "agent://demo/data/etl";
const POISON = "agent://demo/data/parser";
const NOBODY = "agent://demo/data/nobody";
const PUBLISHER = "agent://demo/data/publisher";

export interface Seed {
  readonly crashed: string;
  readonly dead: string;
  readonly asked: string;
  readonly parent: string;
  readonly stateful: string;
  readonly client: PerdureClient;
  close(): Promise<void>;
}

export async function send(server: TestServer, body: object): Promise<string> {
  const answer = await call(server, "POST", "/v1/intents", body);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body.intent_id;
}

/** As a process that may die without a word: then its lease runs out. */
function claim(server: TestServer, address: string, consumer: string, leaseSeconds = 1) {
  const path = `/v1/agents/${address.replace("agent://", "")}/claim`;
  const body = { consumer, max: 1, wait_seconds: 1, lease_seconds: leaseSeconds };
  return until(`a delivery to ${consumer}`, async () => {
    const answer = await call(server, "POST", path, body);
    return answer.body.deliveries?.[0] as { intent_id: string; attempt: number } | undefined;
  });
}

async function record(server: TestServer, id: string, key: string, body: object): Promise<void> {
  const answer = await call(server, "PUT", `/v1/intents/${id}/steps/${key}`, body);
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Two steps done, a crash in the third, and the rest by a new process. */
async function crashedRun(server: TestServer): Promise<string> {
  const id = await send(server, {
    intent_type: "etl.v1",
    to_agent: ETL,
    payload: { input: "orders.csv", output: "totals.csv", rows: 31_204 },
    steps: ["extract", "validate", "transform", "load"],
    session: "nightly",
    metadata: { team: "data", run: "2291" },
  });
  const first = await claim(server, ETL, "etl-1", 3);
  const attempt = first.attempt;
  await record(server, id, "extract", { status: "running", attempt, input: { file: "orders.csv" } });
  await pause(420);
  await record(server, id, "extract", { status: "done", attempt, result: { rows: 31_204 } });
  await record(server, id, "validate", { status: "running", attempt });
  await pause(260);
  await record(server, id, "validate", { status: "done", attempt, result: { valid: 31_190, rejected: 14 } });
  await record(server, id, "transform", { status: "running", attempt });
  await pause(500);
  const second = await claim(server, ETL, "etl-2", 60);
  const again = second.attempt;
  await pause(150);
  await record(server, id, "transform", { status: "running", attempt: again });
  await pause(610);
  await record(server, id, "transform", { status: "done", attempt: again, result: { customers: 1_822 } });
  await record(server, id, "load", { status: "running", attempt: again });
  await pause(340);
  await record(server, id, "load", { status: "done", attempt: again, result: { written: 1_822 } });
  return id;
}

/** Three processes die over the same step. */
async function poisoned(server: TestServer): Promise<string> {
  const id = await send(server, {
    intent_type: "parse.v1",
    to_agent: POISON,
    payload: { file: "broken.pdf" },
    steps: ["parse"],
  });
  for (const consumer of ["parser-1", "parser-2", "parser-3"]) {
    const delivery = await claim(server, POISON, consumer);
    await record(server, id, "parse", { status: "running", attempt: delivery.attempt });
  }
  await until(
    "the dead letter",
    async () => (await call(server, "GET", `/v1/intents/${id}`)).body.status === "FAILED",
  );
  return id;
}

export async function seed(server: TestServer): Promise<Seed> {
  const client = new PerdureClient({ baseUrl: server.url, logger: false });
  const crashed = await crashedRun(server);
  const dead = await poisoned(server);
  client.listen(
    "agent://demo/shop/orders",
    async (ctx) => {
      await ctx.step("reserve", async () => ({ item: ctx.payload.item }));
      await ctx.step("charge", async () => {
        if (ctx.payload.fail === true) throw new Error("the card was declined");
        return { amount: 12 };
      });
      await ctx.state.set("basket", { items: 1, paid: false });
      await ctx.state.set("basket", { items: 1, paid: true, receipt: "r-19" });
      return { shipped: true };
    },
    { capacity: 8, consumer: "orders-1" },
  );
  client.listen(
    PUBLISHER,
    async (ctx) => {
      const draft = await ctx.step("draft", async () => `Seven things about ${ctx.payload.topic}`);
      const decision = await ctx.ask("approve", {
        title: `Publish "${draft}"?`,
        description: "It goes to 12,400 subscribers. Check the second paragraph.",
        outcomes: ["approved", "rejected"],
        form: {
          type: "object",
          properties: {
            channel: { type: "string", enum: ["blog", "mail"] },
            priority: { type: "integer", title: "Priority" },
          },
          required: ["channel"],
        },
      });
      return { published: decision.outcome === "approved", where: decision.data };
    },
    { capacity: 4, consumer: "publisher-2" },
  );
  const orders: string[] = [];
  for (let n = 0; n < 36; n += 1)
    orders.push(
      await client.sendIntent({
        intentType: n % 5 === 0 ? "refund.v2" : "order.v1",
        toAgent: "agent://demo/shop/orders",
        payload: { item: `book ${n}`, fail: n % 9 === 4 },
      }),
    );
  const asked = await client.sendIntent({
    intentType: "post.v1",
    toAgent: PUBLISHER,
    payload: { topic: "bees" },
  });
  const parent = await send(server, { intent_type: "campaign.v1", to_agent: NOBODY, payload: {} });
  for (let n = 0; n < 3; n += 1)
    await send(server, {
      intent_type: "mail.v1",
      to_agent: NOBODY,
      payload: { n },
      parent_intent_id: parent,
    });
  const paused = await send(server, { intent_type: "report.v3", to_agent: NOBODY, payload: {} });
  await call(server, "POST", `/v1/intents/${paused}/pause`, {});
  const canceled = await send(server, { intent_type: "report.v3", to_agent: NOBODY, payload: {} });
  await call(server, "POST", `/v1/intents/${canceled}/cancel`, {});
  for (const id of orders)
    await until("an order", async () =>
      ["COMPLETED", "FAILED"].includes((await call(server, "GET", `/v1/intents/${id}`)).body.status),
    );
  await until("the question", async () => (await call(server, "GET", "/v1/me/tasks")).body.tasks.length > 0);
  return { crashed, dead, asked, parent, stateful: orders[0] ?? "", client, close: () => client.close() };
}

const HOUR_MS = 3_600_000;
const PAST = 900;

/** An hour that is over: written as the server would have, since nobody can wait for it. */
export async function seedPast(databaseUrl: string): Promise<void> {
  const rows = Array.from({ length: PAST }, (_, n) => {
    const created = Date.now() - HOUR_MS + (n * HOUR_MS) / PAST;
    const wave = 1 + Math.sin(n / 60);
    const delivered = created + 20 + wave * wave * 90 + (n % 31) * 4;
    const ended = created + 400 + wave * 900 + (n % 37) * 40 + (n % 50 === 0 ? 4_000 : 0);
    const failed = n % 23 === 7 || (n > 560 && n < 600 && n % 3 === 0);
    return { id: newId(created), created, delivered, ended, attempt: n % 41 === 3 ? 2 : 1, failed };
  });
  const columns = [
    rows.map(({ id }) => id),
    rows.map(({ created }) => created / 1_000),
    rows.map(({ ended }) => ended / 1_000),
    rows.map(({ attempt }) => attempt),
    rows.map(({ failed }) => failed),
    rows.map(({ delivered }) => delivered / 1_000),
  ];
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const past = `from unnest($1::uuid[], $2::float8[], $3::float8[], $4::int[], $5::bool[], $6::float8[]) as r(id, created, ended, attempt, failed, delivered)`;
  await client.query(
    `with data as (insert into intent_data (id, namespace, from_agent, to_agent, to_agent_as_sent, intent_type, payload, created_at)
        select id, 'demo/shop', 'agent://demo/shop/web', 'demo/shop/orders', 'agent://demo/shop/orders', 'order.v1', '{}',
          to_timestamp(created) ${past}),
      ends as (insert into outcomes (intent_id, namespace, status, code, finished_at)
        select id, 'demo/shop', case when failed then 'FAILED' else 'COMPLETED' end,
          case when failed then 'handler_error' end, to_timestamp(ended) ${past})
    insert into intents (id, namespace, to_agent, intent_type, status, seq, attempt, generation, started, strikes, total_losses,
        retries_used, releases, priority, queue_at, paused, plan_cursor, steps_count, steps_total, steps_done, open_steps,
        refused_attempt, max_delivery_attempts, created_at, updated_at, delivered_at)
      select id, 'demo/shop', 'demo/shop/orders', 'order.v1', case when failed then 'FAILED' else 'COMPLETED' end, 3, attempt, 0, true, 0,
        attempt - 1, 0, 0, 0, to_timestamp(created), false, 0, 0, 0, 0, '{}', 0, 3, to_timestamp(created), to_timestamp(ended), to_timestamp(delivered)
      ${past}`,
    columns,
  );
  await client.end();
}
