// One stream tells how any number of intents ended: those that end from now on, those that had ended before, and nobody else's.
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ADMIN, type Headers, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { claimOne, type Listener, openStream, post, send, view } from "./listener.ts";

/** Nothing comes by itself: hints and commits alone bring what is told. */
const NO_POLL = {
  PERDURE_POLL_INTERVAL_MS: "600000",
  PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
  PERDURE_LEASE_TTL_MS: "30000",
};
const LARGE = "x".repeat(40_000);

let server: TestServer;
const open: Listener[] = [];
beforeAll(async () => {
  server = await startTestServer({ env: { ...NO_POLL, PERDURE_WATCHES_PER_CLIENT_MAX: "3000" } });
});
afterEach(() => {
  for (const stream of open.splice(0)) stream.cut();
});
afterAll(() => server.close());

interface Watcher extends Listener {
  readonly watcher: string;
  watch(ids: readonly string[], more?: object, headers?: Headers): ReturnType<typeof call>;
  /** What was told of an intent, in order. */
  told(id: string): Listener["frames"][number]["data"][];
}

async function openWatcher(at: { readonly url: string } = server, headers: Headers = {}): Promise<Watcher> {
  const stream = openStream(at, "/v1/outcomes/stream", headers);
  open.push(stream);
  const { watcher } = (await stream.next("stream.open")).data;
  const told = (id: string) =>
    stream.frames
      .filter((frame) => frame.event === "intent.outcome" && frame.data.intent_id === id)
      .map((frame) => frame.data);
  const watch = (ids: readonly string[], more: object = {}, as: Headers = headers) =>
    call(at, "POST", `/v1/outcomes/${watcher}/watch`, { intent_ids: ids, ...more }, as);
  return Object.assign(Object.create(stream) as Listener, { watcher, watch, told });
}

const complete = async (id: string, result: unknown = 1, at: { readonly url: string } = server) => {
  const { status } = await post(at, id, "resolve", { status: "COMPLETED", result });
  expect(status).toBe(200);
};
const toldOnce = (stream: Watcher, id: string) => until(`${id} is told`, () => stream.told(id)[0]);
async function sendThousand(to: string): Promise<string[]> {
  const one = { intent_type: "job.v1", to_agent: to, payload: {} };
  const { body } = await call(server, "POST", "/v1/intents/batch", { intents: Array(1_000).fill(one) });
  return body.intents.map((intent: { intent_id: string }) => intent.intent_id);
}
/** Whatever had been due before is told by the time this is. */
async function settled(stream: Watcher, at: { readonly url: string } = server): Promise<void> {
  const id = await send(at, "marker");
  await stream.watch([id]);
  await complete(id, 1, at);
  await toldOnce(stream, id);
}

test("an intent's end is told once, with what it ended with, and it is watched no more", async () => {
  const stream = await openWatcher();
  const id = await send(server, "one");
  expect((await stream.watch([id], { mark: 7 })).body).toEqual({ ok: true, watching: 1, missing: [] });
  await complete(id, { n: 1, text: " 1.50 " });
  expect(await toldOnce(stream, id)).toEqual({
    intent_id: id,
    status: "COMPLETED",
    result: { n: 1, text: " 1.50 " },
    error: null,
    seq: (await view(server, id)).seq,
    mark: 7,
  });
  await post(server, id, "resolve", { status: "COMPLETED", result: { n: 1, text: " 1.50 " } });
  await settled(stream);
  expect(stream.told(id)).toHaveLength(1);
  expect(server.outcomes.size).toBe(0);
});

test("one that had ended before is told at once; failures and cancels as GET gives them", async () => {
  const stream = await openWatcher();
  const done = await send(server, "before");
  await complete(done, [1]);
  const failed = await send(server, "before");
  await post(server, failed, "resolve", {
    status: "FAILED",
    error: { code: "broken", message: "no luck", details: { n: 1 } },
  });
  const canceled = await send(server, "before");
  await stream.watch([done, failed, canceled]);
  await post(server, canceled, "cancel", { reason: "not needed" });
  for (const id of [done, failed, canceled]) {
    const { status, result, error } = await view(server, id);
    expect(await toldOnce(stream, id)).toMatchObject({ status, result, error, mark: 0 });
  }
});

test("a thousand that end together are told together, by their commit alone", async () => {
  const stream = await openWatcher();
  const ids = await sendThousand("many");
  expect((await stream.watch(ids)).body).toEqual({ ok: true, watching: 1_000, missing: [] });
  await call(server, "POST", "/v1/intents/bulk", {
    action: "cancel",
    filter: { to_agent: "many" },
    limit: 1_000,
  });
  await until("all are told", () => ids.every((id) => stream.told(id).length === 1));
});

test("what does not exist is missing, and what is no id is refused", async () => {
  const stream = await openWatcher();
  const id = await send(server, "real");
  const unknown = randomUUID();
  expect((await stream.watch([id, unknown, id.toUpperCase()])).body).toEqual({
    ok: true,
    watching: 1,
    missing: [unknown],
  });
  const bad = await stream.watch([id, "nonsense"]);
  expect([bad.status, bad.body.code, bad.body.errors[0].pointer]).toEqual([
    422,
    "validation_failed",
    "/intent_ids/1",
  ]);
  expect((await stream.watch(Array.from({ length: 1_001 }, () => id))).status).toBe(422);
  expect((await stream.watch([id], { mark: -1 })).status).toBe(422);
});

test("a result too large for a frame is to be fetched", async () => {
  const stream = await openWatcher();
  const [now, before] = [await send(server, "large"), await send(server, "large")];
  await complete(before, LARGE);
  await stream.watch([now, before], { mark: 3 });
  await complete(now, LARGE);
  for (const id of [now, before])
    expect(await toldOnce(stream, id)).toEqual({ intent_id: id, mark: 3, fetch: true });
});

test("an intent that is retried is told of again once it is watched again, and only of its new end", async () => {
  const stream = await openWatcher();
  const id = await send(server, "again");
  await stream.watch([id], { mark: 1 });
  await post(server, id, "resolve", { status: "FAILED", error: "first" });
  expect(await toldOnce(stream, id)).toMatchObject({ status: "FAILED", mark: 1 });
  await post(server, id, "retry");
  await stream.watch([id], { mark: 2 });
  await settled(stream);
  expect(stream.told(id)).toHaveLength(1);
  await complete(id, "second");
  await until("its second end is told", () => stream.told(id)[1]);
  expect(stream.told(id)[1]).toMatchObject({ status: "COMPLETED", result: "second", mark: 2 });
});

test("one that is watched anew has the newest mark; one that is forgotten is not told", async () => {
  const stream = await openWatcher();
  const [kept, dropped] = [await send(server, "marks"), await send(server, "marks")];
  await stream.watch([kept, dropped], { mark: 1 });
  expect((await stream.watch([kept], { mark: 2, forget: [dropped] })).body).toMatchObject({ watching: 1 });
  await complete(dropped);
  await complete(kept);
  expect(await toldOnce(stream, kept)).toMatchObject({ mark: 2 });
  await settled(stream);
  expect(stream.told(dropped)).toEqual([]);
});

test("two streams that watch one intent are both told", async () => {
  const streams = [await openWatcher(), await openWatcher(), await openWatcher()];
  const id = await send(server, "shared");
  for (const stream of streams) await stream.watch([id]);
  streams[1]?.cut();
  await until("the cut one is gone", async () => (await streams[1]?.watch([id]))?.status === 404);
  await complete(id);
  for (const stream of [streams[0], streams[2]]) await toldOnce(stream as Watcher, id);
  expect(server.outcomes.size).toBe(0);
});

test("a batch may carry what is to be watched", async () => {
  const stream = await openWatcher();
  const id = await send(server, "batched");
  const ops = [
    { op: "watch", watcher: stream.watcher, body: { intent_ids: [id], mark: 5 } },
    { op: "resolve", intent_id: id, body: { status: "COMPLETED", result: 1 } },
  ];
  const { results } = (await call(server, "POST", "/v1/batch", { ops })).body;
  expect(results[0]).toEqual({ status: 200, body: { ok: true, watching: expect.any(Number), missing: [] } });
  expect(await toldOnce(stream, id)).toMatchObject({ status: "COMPLETED", mark: 5 });
});

test("a stream that is not open here is unknown, and the connection is not kept", async () => {
  const stream = await openWatcher();
  const answer = await call(server, "POST", `/v1/outcomes/${randomUUID()}/watch`, {
    intent_ids: [randomUUID()],
  });
  expect([answer.status, answer.body.code, answer.headers.get("connection")]).toEqual([
    404,
    "watcher_unknown",
    "close",
  ]);
  stream.cut();
  await until("it is gone", async () => (await stream.watch([randomUUID()])).body.code === "watcher_unknown");
});

test("a client watches no more than it may, and what it watched stays watched", async () => {
  const [one, other] = [await openWatcher(), await openWatcher()];
  const ids: string[] = [];
  for (let n = 0; n < 4; n += 1) {
    ids.push(...(await sendThousand("bound")));
  }
  for (let n = 0; n < 2_000; n += 1_000) await one.watch(ids.slice(n, n + 1_000));
  expect((await other.watch(ids.slice(2_000, 3_000))).status).toBe(200);
  const refused = await one.watch([ids[0] as string, ids[3_500] as string]);
  expect([refused.status, refused.body.code]).toEqual([429, "too_many_watches"]);
  expect(refused.body.detail).toContain("PERDURE_WATCHES_PER_CLIENT_MAX");
  expect((await one.watch(ids.slice(0, 1_000))).body).toMatchObject({ watching: 2_000 });
  await complete(ids[0] as string);
  await toldOnce(one, ids[0] as string);
  expect((await one.watch([ids[3_500] as string])).status).toBe(200);
});

/** Large ones that have ended are asked for again and again, until nobody takes more of it. Answers the last mark. */
async function fill(slow: Watcher, at: TestServer, ids: readonly string[]): Promise<number> {
  slow.stopReading();
  let mark = 0;
  const quick = await openWatcher(at);
  await until(
    "the sockets in between are full",
    async () => {
      mark += 1;
      await slow.watch(ids, { mark });
      for (let looks = 0; looks < 3 && at.outcomes.size > 0; looks += 1) await settled(quick, at);
      return at.outcomes.size > 0;
    },
    60_000,
  );
  return mark;
}

async function endLargeOnes(to: string): Promise<string[]> {
  const ids = (await sendThousand(to)).slice(0, 40);
  for (const id of ids) await complete(id, "y".repeat(31_000));
  return ids;
}

test("a reader that lags behind holds nothing up, and is told of everything once it reads", async () => {
  const ids = await endLargeOnes("lagging");
  const slow = await openWatcher();
  const mark = await fill(slow, server, ids);
  slow.readOn();
  const last = (id: string) => slow.told(id).at(-1)?.mark === mark;
  await until("all are told", () => ids.every(last));
  expect(server.outcomes.size).toBe(0);
});

test("a reader that takes nothing for too long is dropped", async () => {
  const ids = await endLargeOnes("stalled");
  const strict = await startTestServer({
    databaseUrl: server.databaseUrl,
    env: { PERDURE_STALL_TIMEOUT_MS: "4000", PERDURE_KEEP_ALIVE_MS: "1000" },
  });
  try {
    const stream = await openWatcher(strict);
    await fill(stream, strict, ids);
    await until("it is dropped", () => strict.outcomes.size === 0);
    expect((await stream.watch(ids)).body.code).toBe("watcher_unknown");
  } finally {
    await strict.close();
  }
});

test("a stopping server ends the stream with a word of why", async () => {
  const going = await startTestServer({ databaseUrl: server.databaseUrl });
  const stream = await openWatcher(going);
  await going.close();
  expect((await stream.next("stream.end")).data).toEqual({ reason: "shutdown" });
  await until("it has ended", () => stream.ended);
});

test("streams of outcomes count as streams of their client", async () => {
  const strict = await startTestServer({
    databaseUrl: server.databaseUrl,
    env: { PERDURE_STREAMS_PER_CLIENT_MAX: "1" },
  });
  try {
    await openWatcher(strict);
    const refused = openStream(strict, "/v1/outcomes/stream");
    expect((await until("it is refused", () => refused.refusal)).body.code).toBe("too_many_streams");
  } finally {
    await strict.close();
  }
});

describe("with another replica", () => {
  let far: TestServer;
  const startFar = async (env: Record<string, string>) => {
    far = await startTestServer({ env: { ...NO_POLL, ...env }, databaseUrl: server.databaseUrl });
    await Promise.all([server.sweepers.pulse.tick(), far.sweepers.pulse.tick()]);
  };
  const listening = async (replicas: number) => {
    const { rows } = await server.store.pool.query(
      `select 1 from pg_stat_activity where datname = current_database() and application_name = 'perdure-listen'
        and state = 'idle' and query like 'listen %'`,
    );
    return rows.length === replicas;
  };
  afterEach(() => far.close());

  test("an end that it commits is told through its hint alone", async () => {
    await startFar({});
    await until("both listen", () => listening(2));
    const stream = await openWatcher();
    const id = await send(far, "far");
    await stream.watch([id]);
    const { attempt } = await claimOne(far, "far");
    await post(far, id, "start", { attempt });
    await complete(id, "from afar", far);
    expect(await toldOnce(stream, id)).toMatchObject({ status: "COMPLETED", result: "from afar" });
  });

  test("an end whose hint was lost is found by the next look", async () => {
    await startFar({ PERDURE_NOTIFY: "off" });
    const stream = await openWatcher();
    const ids = [await send(far, "lost"), await send(far, "lost")];
    await stream.watch(ids);
    await complete(ids[0] as string, 1, far);
    expect(await server.sweepers.outcomes.tick()).toBe(1);
    await toldOnce(stream, ids[0] as string);
    expect(stream.told(ids[1] as string)).toEqual([]);
  });
});

describe("with keys", () => {
  let keyed: TestServer;
  let mine: Headers;
  let theirs: Headers;
  beforeAll(async () => {
    keyed = await startKeyedServer();
    const scopes = ["send", "read"];
    mine = (await issueKey(keyed, "acme/prod/one", scopes)).headers;
    theirs = (await issueKey(keyed, "other/prod/one", scopes)).headers;
  });
  afterAll(() => keyed.close());
  const sendAs = async (headers: Headers, to: string) =>
    (await call(keyed, "POST", "/v1/intents", { intent_type: "t", to_agent: to, payload: {} }, headers)).body
      .intent_id;

  test("another tenant's intents are not there, ended or not", async () => {
    const stream = await openWatcher(keyed, mine);
    const [own, foreign] = [await sendAs(mine, "worker"), await sendAs(theirs, "worker")];
    const answer = await stream.watch([own, foreign]);
    expect(answer.body).toEqual({ ok: true, watching: 1, missing: [foreign] });
  });

  test("nobody else adds to a stream, nor learns that it is there", async () => {
    const stream = await openWatcher(keyed, mine);
    const foreign = await sendAs(theirs, "worker");
    const answer = await stream.watch([foreign], {}, theirs);
    expect([answer.status, answer.body.code]).toEqual([404, "watcher_unknown"]);
  });

  test("a stream ends with its key", async () => {
    const key = await issueKey(keyed, "acme/prod/two", ["send", "read"]);
    const stream = await openWatcher(keyed, key.headers);
    await call(keyed, "DELETE", `/v1/keys/${key.id}`, undefined, ADMIN);
    expect((await stream.next("stream.end")).data).toEqual({ reason: "key_ended" });
  });
});
