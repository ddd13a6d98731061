// The bytes and the bounds of a window of work (WIRE 3 and 4).
import { get } from "node:http";
import { expect, test } from "vitest";
import { claimOne, eventsOf, inStatus, post, send, typesOf, view } from "../delivery/listener.ts";
import { call, startTestServer, until } from "../support/server.ts";
import { startIncrementalAgent } from "./clients/incremental-agent.ts";
import { readLines } from "./clients/line-reader.ts";
import { agent, endLeases, never, server, useServer, working } from "./stage.ts";

useServer();

const pathOf = (address: string, query: string) => `/v1/agents/${address}/intents/stream?${query}`;

/** One window, read to its end. */
async function readWindow(address: string, query: string, url = server.url) {
  const began = performance.now();
  const response = await fetch(`${url}${pathOf(address, query)}`);
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, ms: performance.now() - began };
}

const TIMED_OUT = (next: number) => `event: stream.timeout\ndata: {"ok":true,"next_seq":${next}}\n\n`;

test("a window without work is held to its end, and ends with the number to come back with", async () => {
  const window = await readWindow("idle", "since=7&wait_seconds=1");
  expect(window.status).toBe(200);
  expect(window.ms).toBeGreaterThanOrEqual(1_000);
  expect(window.text).toBe(`:\n${TIMED_OUT(7)}`);
  expect(Object.fromEntries(window.headers)).toMatchObject({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    connection: "close",
  });
});

test("a window ends right after its delivery, which a reader of whole bodies has within 100 ms", async () => {
  const client = agent("prompt");
  const listens = () => until("it listens", () => server.windows.count("local/dev/prompt") === 1);
  const times: number[] = [];
  for (let n = 1; n <= 5; n += 1) {
    await listens();
    const began = Date.now();
    await send(server, "prompt", { payload: { n } });
    const delivery = await until("the delivery", () => client.deliveries[n - 1]);
    times.push(delivery.at - began);
  }
  // A busy machine may be slow once; none of them waited for a poll or for the end of a window.
  expect(times.sort((a, b) => a - b)[2]).toBeLessThan(100);
  expect(client.deliveries.map((one) => one.data.intent.payload.n)).toEqual([1, 2, 3, 4, 5]);
});

test("keep-alive is a comment without a blank line", async () => {
  const other = await startTestServer({ env: { PERDURE_KEEP_ALIVE_MS: "200" } });
  try {
    const { text } = await readWindow("breath", "since=0&wait_seconds=1", other.url);
    expect(text).toMatch(/^(:\n){4,7}event: stream.timeout\n/);
  } finally {
    await other.close();
  }
});

test("a frame is an id, a name and one line of data, with the whole working set", async () => {
  const id = await send(server, "frame", { payload: { text: "two\nlines" }, steps: ["one"] });
  const { text } = await readWindow("frame", "since=3&wait_seconds=30");
  const [comment, idLine, event, data, ...rest] = text.split("\n");
  expect([comment, idLine, event, rest]).toEqual([":", "id: 4", "event: intent.delivered", ["", ""]]);
  expect(JSON.parse(String(data).replace("data: ", ""))).toMatchObject({
    intent_id: id,
    seq: 4,
    status: "DELIVERED",
    event_type: "intent.delivered",
    attempt: 1,
    redelivered: false,
    intent: { intent_id: id, payload: { text: "two\nlines" } },
    next_step: { key: "one", index: 0 },
  });
});

test("a delivery is its own acknowledgement, and an answer without an attempt ends it", async () => {
  const id = await send(server, "implicit");
  const client = agent("implicit", { work: never });
  await until("the delivery", () => client.deliveries[0]);
  expect(await view(server, id)).toMatchObject({ status: "IN_PROGRESS", attempt: 1 });
  expect((await post(server, id, "resolve", { status: "COMPLETED", result: { n: 1 } })).body).toMatchObject({
    status: "COMPLETED",
    result: { n: 1 },
  });
});

test("a holder that does say its attempt may use every verb of an agent", async () => {
  const id = await send(server, "modern", { steps: ["a", "b"] });
  const { text } = await readWindow("modern", "since=0&wait_seconds=30");
  expect(text).toContain(id);
  expect((await post(server, id, "start", { attempt: 1 })).body.next_step.key).toBe("a");
  for (const key of ["a", "b"])
    expect(
      (await call(server, "PUT", `/v1/intents/${id}/steps/${key}`, { status: "done", attempt: 1 })).status,
    ).toBe(200);
  expect((await view(server, id)).status).toBe("COMPLETED");
});

test("of several intents each response has one, and the next comes only when it is asked for", async () => {
  const ids = [await send(server, "batch"), await send(server, "batch"), await send(server, "batch")];
  const first = await readWindow("batch", "since=0&wait_seconds=30");
  expect(first.text.match(/^event: .*/gm)).toEqual(["event: intent.delivered"]);
  expect(first.text).toContain(ids[0]);
  expect((await view(server, ids[1] as string)).status).toBe("SUBMITTED");
  const client = agent("batch", { since: 1, work: working(server.url) });
  await until(
    "the others are done",
    async () => (await view(server, ids[2] as string)).status === "COMPLETED",
  );
  expect(client.deliveries.map((one) => [one.intentId, one.seq])).toEqual([
    [ids[1], 2],
    [ids[2], 3],
  ]);
});

test("a number beyond the address's own moves it on, and a redelivery has a new one", async () => {
  const id = await send(server, "cursor");
  const first = await readWindow("cursor", "since=41&wait_seconds=30");
  expect(first.text).toContain("id: 42\n");
  const second = await readWindow("cursor", "since=0&wait_seconds=30");
  expect(second.text).toContain("id: 43\n");
  expect(second.text).toContain('"status":"IN_PROGRESS","attempt":2');
  expect((await view(server, id)).attempt).toBe(2);
});

test("a filter on the frame's status passes new work or work that was lost before", async () => {
  await send(server, "filtered");
  expect((await readWindow("filtered", "since=0&wait_seconds=1&status=IN_PROGRESS,WAITING")).text).toBe(
    `:\n${TIMED_OUT(0)}`,
  );
  expect((await readWindow("filtered", "since=0&wait_seconds=30&status=DELIVERED")).text).toContain(
    '"seq":1',
  );
  // A newcomer that takes only what is new takes nothing over.
  expect((await readWindow("filtered", "since=0&wait_seconds=1&status=DELIVERED")).text).toBe(
    `:\n${TIMED_OUT(0)}`,
  );
  await endLeases();
  expect((await readWindow("filtered", "since=0&wait_seconds=1&status=DELIVERED")).text).toBe(
    `:\n${TIMED_OUT(0)}`,
  );
  expect((await readWindow("filtered", "since=0&wait_seconds=30&status=IN_PROGRESS")).text).toContain(
    '"attempt":2',
  );
});

test("only the types it asks for come through a window, new or taken over", async () => {
  await send(server, "typed", { intent_type: "b.v1" });
  expect((await readWindow("typed", "since=0&wait_seconds=1&intent_types=a.v1")).text).toBe(
    `:\n${TIMED_OUT(0)}`,
  );
  expect((await readWindow("typed", "since=0&wait_seconds=30&intent_types=b.v1")).text).toContain("b.v1");
  expect((await readWindow("typed", "since=0&wait_seconds=1&intent_types=a.v1")).text).toBe(
    `:\n${TIMED_OUT(0)}`,
  );
});

test("what has ended is never sent, nor what is paused, waiting, overdue or not due yet", async () => {
  const canceled = await send(server, "over");
  await post(server, canceled, "cancel");
  const paused = await send(server, "over");
  await post(server, paused, "pause");
  await send(server, "over", { deliver_at: new Date(Date.now() + 60_000).toISOString() });
  expect((await readWindow("over", "since=0&wait_seconds=1")).text).toBe(`:\n${TIMED_OUT(0)}`);
  const held = await send(server, "over-held");
  await readWindow("over-held", "since=0&wait_seconds=30");
  await post(server, held, "pause");
  expect((await readWindow("over-held", "since=0&wait_seconds=1")).text).toBe(`:\n${TIMED_OUT(0)}`);
  await post(server, held, "unpause");
  await post(server, held, "resolve", { status: "COMPLETED" });
  expect((await readWindow("over-held", "since=0&wait_seconds=1")).text).toBe(`:\n${TIMED_OUT(0)}`);
});

test("a delivery larger than a frame says so in one, and is fetched", async () => {
  const id = await send(server, "large", { payload: { text: "x".repeat(100_000) } });
  const read = await readLines(`${server.url}${pathOf("large", "since=0&wait_seconds=30")}`, 0);
  const [event] = read.events;
  expect(JSON.parse(event?.data ?? "")).toEqual({
    intent_id: id,
    seq: 1,
    event_type: "intent.delivered",
    status: "DELIVERED",
    attempt: 1,
    fetch: true,
  });
  const fetched = await call(server, "GET", `/v1/intents/${id}/delivery`);
  expect(fetched.body.delivery.intent.payload.text).toHaveLength(100_000);
});

test("what came over the wire differently is refused, and changes nothing", async () => {
  const id = await send(server, "wrong");
  for (const query of [
    "since=-1&wait_seconds=30",
    "since=x&wait_seconds=30",
    "since=1e300&wait_seconds=30",
    "since=0&wait_seconds=0",
    "since=0&wait_seconds=61",
    "since=0&wait_seconds=soon",
    "since=0&wait_seconds=30&status=",
    "since=0&wait_seconds=30&status=LATER",
  ])
    expect([query, (await readWindow("wrong", query)).status]).toEqual([query, 422]);
  expect((await readWindow("a/b/c/d", "since=0&wait_seconds=30")).status).toBe(404);
  expect(await typesOf(server, id)).toEqual(["created", "submitted"]);
  const { rows } = await server.store.pool.query(
    "select 1 from owed_cursors where address = 'local/dev/wrong'",
  );
  expect(rows).toEqual([]);
});

test("whoever sends is told that a window listens", async () => {
  const client = agent("counted");
  const created = await until("a listener", async () => {
    const { body } = await call(server, "POST", "/v1/intents", {
      intent_type: "a.v1",
      to_agent: "counted",
      deliver_at: "2099-01-01T00:00:00Z",
    });
    return body.listeners === 1 && body;
  });
  expect(created.listeners).toBe(1);
  client.kill();
  await until("nobody listens", () => server.windows.count("local/dev/counted") === 0);
});

test("a client that reads as bytes come sees the delivery, too", async () => {
  const client = agent("reader", { work: working(server.url) }, startIncrementalAgent);
  const id = await send(server, "reader");
  await inStatus(server, id, "COMPLETED");
  expect(client.deliveries).toHaveLength(1);
});

test("work that a client who has gone could not be told of goes to the next at once, and nothing counts as lost", async () => {
  const { store } = server;
  const holder = await store.pool.connect();
  // Its claim waits for the address's cursor, and meanwhile it is gone.
  await holder.query("begin");
  await holder.query("insert into delivery_cursors values ('local/dev/gone', 0)");
  const id = await send(server, "gone");
  const asking = get(`${server.url}${pathOf("gone", "since=0&wait_seconds=20")}`);
  asking.on("error", () => undefined);
  await until("its claim waits", async () => {
    const { rows } = await store.pool.query(
      "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like 'insert into delivery_cursors%'",
    );
    return rows.length > 0;
  });
  asking.destroy();
  await until("it is gone", () => server.windows.count("local/dev/gone") === 0);
  await holder.query("rollback");
  holder.release();
  await until("it is handed back", async () => (await typesOf(server, id)).includes("released"));
  expect((await claimOne(server, "gone")).intent_id).toBe(id);
  expect(await view(server, id)).toMatchObject({ attempt: 2, lost_deliveries: 0 });
  expect((await eventsOf(server, id)).find((event) => event.event_type === "intent.released")).toMatchObject({
    details: { reason: "listener_gone" },
  });
});
