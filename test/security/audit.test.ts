// The audit log has what operators do, by whatever door, and whether or not they stay to hear the answer.
import { once } from "node:events";
import type { Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeRequest, open } from "../hostile/wire.ts";
import { ADMIN, type Headers, type Issued, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
let operator: Issued;
let worker: Issued;
beforeAll(async () => {
  server = await startKeyedServer();
  operator = await issueKey(server, "acme/prod/ops", ["operate", "send", "read"]);
  worker = await issueKey(server, "acme/prod/worker", ["act", "operate", "send", "read"]);
});
afterAll(() => server.close());

async function create(more: object = {}): Promise<string> {
  const body = { intent_type: "t", to_agent: "worker", ...more };
  return (await call(server, "POST", "/v1/intents", body, operator.headers)).body.intent_id;
}

async function claim(): Promise<{ intent_id: string; attempt: number }> {
  const { body } = await call(
    server,
    "POST",
    "/v1/agents/worker/claim",
    { lease_seconds: 600 },
    worker.headers,
  );
  return body.deliveries[0];
}

interface Entry {
  readonly action: string;
  readonly actor: string;
  readonly target: string;
  readonly source: string;
}

/** What the log has of this, the oldest first. */
async function entriesOf(target: string): Promise<Entry[]> {
  const { entries } = (await call(server, "GET", "/v1/audit?limit=500", undefined, ADMIN)).body;
  return entries.filter((entry: Entry) => entry.target === target).reverse();
}

const logged = async (target: string): Promise<string[]> =>
  (await entriesOf(target)).map(({ action, actor }) => `${action} by ${actor}`);

const OPS = "agent://acme/prod/ops";

test("an operator that hangs up before it is answered is in the log all the same, with where it came from", async () => {
  const id = await create();
  const accepted = once(server.app.server, "connection") as Promise<[Socket]>;
  const socket = open(server);
  const [peer] = await accepted;
  const row = await server.store.pool.connect();
  try {
    // Somebody has the row, so that nothing is done before the operator has gone.
    await row.query("begin");
    await row.query("select 1 from intents where id = $1 for update", [id]);
    const asked = once(server.app.server, "request");
    const headers = [["content-type", "application/json"] as const, ["x-api-key", operator.text] as const];
    const path = `/v1/intents/${id}/cancel`;
    socket.write(encodeRequest({ method: "POST", path, headers, body: Buffer.from("{}") }));
    await asked;
    await until("it waits for the row", async () => {
      const { rows } = await server.store.pool.query("select 1 from pg_locks where not granted limit 1");
      return rows.length > 0;
    });
    const gone = new Promise((resolve) => peer.once("close", resolve));
    socket.resetAndDestroy();
    await gone;
  } finally {
    await row.query("rollback");
    row.release();
  }
  const [entry] = await until("its entry", async () => {
    const found = await entriesOf(id);
    return found.length > 0 && found;
  });
  expect(entry).toMatchObject({ action: "intent.cancel", actor: OPS, source: "127.0.0.1" });
});

const post = (path: string, body: object, { headers }: { headers: Headers }) =>
  call(server, "POST", path, body, headers);

test("what an operator does in an agent's stead is in the log, and what the agent does is not", async () => {
  const held = await create({ steps: ["one", "two"] });
  expect((await claim()).intent_id).toBe(held);
  const step = (key: string, who: Issued) =>
    call(server, "PUT", `/v1/intents/${held}/steps/${key}`, { status: "done", attempt: 1 }, who.headers);
  expect((await post(`/v1/intents/${held}/start`, { attempt: 1 }, worker)).status).toBe(200);
  expect((await step("one", worker)).status).toBe(200);
  expect(await logged(held)).toEqual([]);
  expect((await step("two", operator)).status).toBe(200);
  expect(await logged(held)).toEqual([`step.record by ${OPS}`]);
});

test("an end, a decision, a checkpoint and a state that an operator sets are in the log", async () => {
  const task = { title: "May it?", task_type: "approval", allowed_outcomes: ["yes", "no"] };
  const asked = await create({ human_task: task });
  expect(
    (await post(`/v1/intents/${asked}/resume`, { task_result: { outcome: "yes" } }, operator)).status,
  ).toBe(200);
  expect(await logged(asked)).toEqual([`task.decide by ${OPS}`]);
  const id = await create();
  const put = (path: string, body: object) => call(server, "PUT", path, body, operator.headers);
  expect((await put(`/v1/intents/${id}/checkpoints/c`, {})).status).toBe(200);
  expect((await put(`/v1/state/intent:${id}/k`, { value: 1 })).status).toBe(200);
  expect((await post(`/v1/intents/${id}/resolve`, { status: "CANCELED" }, operator)).status).toBe(200);
  expect(await logged(id)).toEqual([`checkpoint.name by ${OPS}`, `intent.resolve by ${OPS}`]);
  expect(await logged(`intent:${id}`)).toEqual([`state.write by ${OPS}`]);
});

test("nobody passes for the server by an address of one word", async () => {
  const wide = await issueKey(server, "acme/prod/wide", ["operate", "send", "read"], {
    patterns: ["acme/prod/*"],
  });
  const as = { headers: { ...wide.headers, "x-owner-agent": "server" } };
  const id = await create();
  expect((await post(`/v1/intents/${id}/cancel`, {}, as)).status).toBe(200);
  expect(await logged(id)).toEqual(["intent.cancel by agent://acme/prod/server"]);
  const { events } = (await call(server, "GET", `/v1/intents/${id}/events`, undefined, wide.headers)).body;
  expect(events.at(-1).actor).toBe("agent://acme/prod/server");
});

test("without keys the log has operators too, and agents that carry their attempt are not in it", async () => {
  const open = await startTestServer();
  try {
    const body = { intent_type: "t", to_agent: "a", steps: ["one"] };
    const { intent_id } = (await call(open, "POST", "/v1/intents", body)).body;
    await call(open, "POST", "/v1/agents/a/claim", { lease_seconds: 600 });
    await call(open, "PUT", `/v1/intents/${intent_id}/steps/one`, { status: "done", attempt: 1 });
    expect((await call(open, "GET", "/v1/audit")).body.entries).toEqual([]);
  } finally {
    await open.close();
  }
});
