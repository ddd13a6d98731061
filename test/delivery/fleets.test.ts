// Agents that come and go by the hundreds at once are let in, and counted as gone, by a few transactions: each with its own outcome, and
// without waiting for a neighbour.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ConnectInput, connectConsumer } from "../../server/engine/connect.ts";
import { asAdmin } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { listen, send } from "./listener.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { PERDURE_DB_LOCK_TIMEOUT_MS: "1000" } });
});
afterAll(() => server.close());

const FLEET = Array.from({ length: 60 }, (_, n) => `agent-${n}`);

const input = (address: string, name: string, incarnation = name): ConnectInput => ({
  namespace: "default",
  address: `agent://default/${address}`,
  name,
  incarnation,
  mode: "claim",
  explicitAck: false,
  capacity: 1,
  intentTypes: name.endsWith("7") ? ["some.v1", 'a "quoted", {one}'] : null,
  leaseTtlMs: 60_000,
});

const connectFleet = (address: string, incarnation?: string) =>
  Promise.all(FLEET.map((name) => connectConsumer(server.engine, input(address, name, incarnation))));

async function rowsAt(address: string) {
  const { rows } = await server.store.pool.query(
    "select xmin::text as written_by, * from consumers where address like $1 order by id",
    [`%/${address}`],
  );
  return rows;
}
const transactionsOf = (rows: readonly { written_by: string }[]) =>
  new Set(rows.map((row) => row.written_by)).size;

test("a fleet that connects at once is written by a few transactions, each as it asked", async () => {
  const connections = await connectFleet("crowd");
  const rows = await rowsAt("crowd");
  expect(transactionsOf(rows)).toBeLessThan(5);
  expect(rows.map((row) => row.id).sort()).toEqual(connections.map((one) => one.consumerId).sort());
  for (const [n, { consumerId, streamNo, held, leaseUntil }] of connections.entries()) {
    const row = rows.find((one) => one.id === consumerId);
    expect([row.name, streamNo, held, leaseUntil]).toEqual([FLEET[n], 1, [], row.lease_until]);
    expect(row.intent_types).toEqual(input("crowd", row.name).intentTypes);
  }
  expect((await connectFleet("crowd")).map((one) => one.streamNo)).toEqual(FLEET.map(() => 2));
  expect(transactionsOf(await rowsAt("crowd"))).toBeLessThan(5);
});

test("who is refused among those that connect together keeps nobody else out", async () => {
  await connectFleet("mixed");
  const outcomes = await Promise.allSettled(
    FLEET.map((name, n) =>
      connectConsumer(server.engine, input("mixed", name, n % 2 === 0 ? name : "another process")),
    ),
  );
  outcomes.forEach((outcome, n) => {
    if (n % 2 === 0) expect(outcome).toMatchObject({ status: "fulfilled", value: { streamNo: 2 } });
    else expect(outcome).toMatchObject({ status: "rejected", reason: { code: "consumer_in_use" } });
  });
});

test("who connects twice at once has two streams, one after the other", async () => {
  const twice = await Promise.all([1, 2].map(() => connectConsumer(server.engine, input("twice", "same"))));
  expect(twice.map((one) => one.streamNo)).toEqual([1, 2]);
  expect(twice[0]?.consumerId).toBe(twice[1]?.consumerId);
});

test("a row that somebody holds keeps only its own consumer waiting", async () => {
  const [first] = await connectFleet("beside");
  await asAdmin(server.databaseUrl, async (admin) => {
    await admin.query("begin");
    await admin.query("select 1 from consumers where id = $1 for update", [first?.consumerId]);
    const outcomes = await Promise.allSettled(
      FLEET.map((name) => connectConsumer(server.engine, input("beside", name))),
    );
    await admin.query("rollback");
    expect(outcomes[0]).toMatchObject({ status: "rejected", reason: { code: "unavailable" } });
    expect(outcomes.slice(1).every((outcome) => outcome.status === "fulfilled")).toBe(true);
  });
  expect((await connectConsumer(server.engine, input("beside", "agent-0"))).streamNo).toBe(2);
});

test("what each held when its lease ended is lost once, however many come back at once", async () => {
  const names = FLEET.slice(0, 20);
  const first = await Promise.all(names.map((consumer) => listen(server, "lost", { consumer })));
  const ids = await Promise.all(names.map(() => send(server, "lost")));
  await Promise.all(first.map((listener) => listener.next("intent.delivered")));
  for (const listener of first) listener.cut();
  await until("all are known to be gone", async () =>
    (await rowsAt("lost")).every((row) => row.closed_stream_no === row.stream_no),
  );
  const again = await Promise.all(
    names.map((consumer) => listen(server, "lost", { consumer, incarnation: "the next" })),
  );
  const deliveries = await Promise.all(again.map((listener) => listener.next("intent.delivered")));
  expect(deliveries.map((frame) => frame.data.intent_id).sort()).toEqual([...ids].sort());
  expect(deliveries.map((frame) => frame.data.attempt)).toEqual(ids.map(() => 2));
  for (const id of ids) {
    const { body } = await call(server, "GET", `/v1/intents/${id}`);
    expect(body.intent).toMatchObject({ attempt: 2, lost_deliveries: 1 });
  }
  for (const listener of again) listener.cut();
});

test("a fleet that goes at once is marked as gone together, and each has its work when it is back", async () => {
  const names = FLEET.slice(0, 30);
  const listenAll = () =>
    Promise.all(names.map((consumer) => listen(server, "gone", { consumer, incarnation: consumer })));
  const first = await listenAll();
  await Promise.all(names.map(() => send(server, "gone")));
  const before = await Promise.all(first.map((listener) => listener.next("intent.delivered")));
  for (const listener of first) listener.cut();
  await until("all are known to be gone", async () =>
    (await rowsAt("gone")).every((row) => row.closed_stream_no === row.stream_no),
  );
  expect(transactionsOf(await rowsAt("gone"))).toBeLessThan(names.length / 2);
  const again = await listenAll();
  const after = await Promise.all(again.map((listener) => listener.next("intent.delivered")));
  const work = (frames: typeof after) =>
    frames.map(({ data }) => [data.intent_id, data.attempt] as [string, number]);
  expect(work(after)).toEqual(work(before));
  for (const listener of again) listener.cut();
});
