// A stream through which somebody's work cannot be told is ended: agents that send no heartbeats learn of it nowhere else (D4).
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { claimOne, listen, send, step } from "./listener.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    env: {
      PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
      PERDURE_LEASE_TTL_MS: "30000",
      PERDURE_RECONNECT_GRACE_MS: "20000",
    },
  });
});
afterAll(() => server.close());

const query = async (text: string, values: unknown[] = []) =>
  (await server.store.pool.query(text, values)).rows;

/** What frames are made of is out of reach; claims and leases go on. */
async function withoutData<T>(during: () => Promise<T>): Promise<T> {
  await query("alter table intent_data rename to hidden_data");
  try {
    return await during();
  } finally {
    await query("alter table hidden_data rename to intent_data");
  }
}

test("a stream whose first frames cannot be built is ended, so that its agent connects again", async () => {
  const id = await send(server, "opening");
  const first = await listen(server, "opening", { consumer: "a", incarnation: "i" });
  await first.next("intent.delivered");
  first.cut();
  await until("the close is seen", () => server.streams.get(first.consumerId) === undefined);
  await withoutData(async () => {
    const deaf = await listen(server, "opening", { consumer: "a", incarnation: "i" });
    await until("the stream is ended", () => deaf.ended);
    expect(deaf.frames.map((frame) => frame.event)).toEqual(["stream.open", "stream.end"]);
  });
  const again = await listen(server, "opening", { consumer: "a", incarnation: "i" });
  expect((await again.next("intent.delivered")).data).toMatchObject({ intent_id: id, attempt: 1 });
  again.cut();
});

test("a stream whose claimed work cannot be put into frames is ended, so that its agent connects again", async () => {
  const id = await send(server, "claimed");
  await withoutData(async () => {
    const deaf = await listen(server, "claimed", { consumer: "a", incarnation: "i" });
    await until("the stream is ended", () => deaf.ended);
    expect(await query("select attempt from leases where consumer_id = $1", [deaf.consumerId])).toEqual([
      { attempt: 1 },
    ]);
  });
  const again = await listen(server, "claimed", { consumer: "a", incarnation: "i" });
  expect((await again.next("intent.delivered")).data).toMatchObject({ intent_id: id, attempt: 1 });
  again.cut();
});

test("a delivery shows an intent and its steps as of one moment, however fast they change", async () => {
  const keys = Array.from({ length: 60 }, (_, n) => `s${n}`);
  const id = await send(server, "changing", { steps: keys });
  const { attempt } = await claimOne(server, "changing");
  let working = true;
  const work = (async () => {
    for (const key of keys)
      await step(server, id, key, { status: "done", attempt, result: 1, complete_intent: false });
    working = false;
  })();
  const looked = new Set<number>();
  while (working) {
    const { delivery } = (await call(server, "GET", `/v1/intents/${id}/delivery?attempt=${attempt}`)).body;
    const done = delivery.steps.filter((one: { status: string }) => one.status === "done").length;
    expect(done).toBe(delivery.intent.progress.done);
    looked.add(done);
  }
  await work;
  expect(looked.size).toBeGreaterThan(5);
});
