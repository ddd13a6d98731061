// State over HTTP: versions without gaps, one winner per version, all or nothing, under the fence (I1, I4, I9).
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { claimOne, eventsOf, post, send, step, view } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const path = (scope: string, key?: string) =>
  `/v1/state/${encodeURIComponent(scope)}${key === undefined ? "" : `/${encodeURIComponent(key)}`}`;
const put = (scope: string, key: string, value: unknown, more: object = {}) =>
  call(server, "PUT", path(scope, key), { value, ...more });
const get = (scope: string, key: string, query = "") => call(server, "GET", `${path(scope, key)}${query}`);
const commit = (writes: object[], more: object = {}) =>
  call(server, "POST", "/v1/state/commit", { writes, ...more });

describe("an entry", () => {
  test("is written, read, overwritten and removed; its history stays", async () => {
    expect((await put("session:s1", "plan/a", { n: 1 })).body.entry).toMatchObject({ version: 1 });
    expect((await put("session:s1", "plan/a", [2])).body.entry).toMatchObject({ version: 2 });
    const now = await get("session:s1", "plan/a");
    expect(now.body.entry).toMatchObject({ scope: "session:s1", key: "plan/a", version: 2, value: [2] });
    expect(now.headers.get("etag")).toBe('"2"');
    expect((await get("session:s1", "plan/a", "?version=1")).body.entry.value).toEqual({ n: 1 });
    expect((await call(server, "DELETE", path("session:s1", "plan/a"))).body).toMatchObject({
      deleted: true,
      entry: { version: 3 },
    });
    expect(await get("session:s1", "plan/a")).toMatchObject({
      status: 404,
      body: { code: "state_not_found" },
    });
    expect((await call(server, "DELETE", path("session:s1", "plan/a"))).body).toMatchObject({
      deleted: false,
    });
    expect((await put("session:s1", "plan/a", null)).body.entry).toMatchObject({ version: 4 });
    expect((await get("session:s1", "plan/a")).body.entry.value).toBeNull();
    const { body } = await call(server, "GET", `${path("session:s1", "plan/a")}/versions?limit=3`);
    expect(body.versions.map((one: { version: number }) => one.version)).toEqual([4, 3, 2]);
    expect(body.versions[1]).toMatchObject({ deleted: true });
    const rest = await call(
      server,
      "GET",
      `${path("session:s1", "plan/a")}/versions?limit=3&cursor=${body.next_cursor}`,
    );
    expect(rest.body.versions).toHaveLength(1);
  });

  test("keeps JSON as its sender wrote it", async () => {
    const text =
      '{ "big": 123456789012345678901234567890, "e": 1e400, "deep": [[[{"ü": "😀\\u00e9"}]]], "zero": -0 }';
    const answer = await fetch(`${server.url}${path("agent:keeper", "raw")}`, {
      method: "PUT",
      body: `{"value":${text}}`,
      headers: { "content-type": "application/json" },
    });
    expect(answer.status).toBe(200);
    const back = await (await fetch(`${server.url}${path("agent:keeper", "raw")}`)).text();
    expect(back).toContain(text);
  });

  test("is refused with a reason when the scope, the key or the value is no good", async () => {
    expect(await put("nothing", "k", 1)).toMatchObject({ status: 422, body: { code: "invalid_scope" } });
    expect(await put("intent:7", "k", 1)).toMatchObject({ status: 422, body: { code: "invalid_scope" } });
    expect((await put("session:s", "k".repeat(201), 1)).status).toBe(422);
    expect((await call(server, "PUT", path("session:s", "k"), {})).status).toBe(422);
    expect((await put("session:s", "k", 1, { attempt: 1 })).status).toBe(422);
    expect((await put("session:s", "k", "x".repeat(1_100_000))).status).toBe(422);
    const twice = [
      { scope: "session:s", key: "k", value: 1 },
      { scope: "session:s", key: "k", value: 2 },
    ];
    expect(await commit(twice)).toMatchObject({ status: 422, body: { code: "duplicate_key" } });
    expect((await get("session:s", "k")).status).toBe(404);
  });

  test("an agent's scope is one, however its address is written", async () => {
    await put("agent:memory", "k", 1);
    expect((await get("agent:agent://local/dev/memory", "k")).body.entry.value).toBe(1);
  });
});

describe("compare-and-set", () => {
  test("takes the version it expects and no other, by field, header or If-None-Match", async () => {
    expect((await put("session:cas", "k", 1, { if_version: 1 })).body.code).toBe("version_conflict");
    expect((await put("session:cas", "k", 1, { if_version: 0 })).status).toBe(200);
    const conflict = await put("session:cas", "k", 2, { if_version: 0 });
    expect(conflict).toMatchObject({ status: 409, body: { code: "version_conflict" } });
    expect(conflict.body.error.details).toMatchObject({ expected: 0, version: 1 });
    const headers = (name: string, value: string) =>
      call(server, "PUT", path("session:cas", "k"), { value: 3 }, { [name]: value });
    expect((await headers("if-none-match", "*")).status).toBe(409);
    expect((await headers("if-match", '"9"')).status).toBe(409);
    expect((await headers("if-match", '"1"')).status).toBe(200);
    expect((await headers("if-match", "yesterday")).status).toBe(422);
  });

  test("of fifty writers of one version exactly one wins, version by version", async () => {
    await put("session:race", "k", 0);
    for (let version = 1; version <= 4; version += 1) {
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, n) => put("session:race", "k", n, { if_version: version })),
      );
      expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
      expect(answers.filter((answer) => answer.status === 409)).toHaveLength(49);
    }
    const { body } = await call(server, "GET", `${path("session:race", "k")}/versions`);
    expect(body.versions.map((one: { version: number }) => one.version)).toEqual([5, 4, 3, 2, 1]);
  });

  test("two servers on one database have one winner, too", async () => {
    const other = await startTestServer({ databaseUrl: server.databaseUrl });
    try {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          call(n % 2 === 0 ? server : other, "PUT", path("session:replicas", "k"), {
            value: n,
            if_version: 0,
          }),
        ),
      );
      expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
    } finally {
      await other.close();
    }
  });
});

test("a lost answer is asked for again with the same key: the write counts once", async () => {
  const key = { "idempotency-key": "once" };
  const write = (value: number, headers = key) =>
    call(server, "PUT", path("session:once", "k"), { value, if_version: 0 }, headers);
  expect((await write(1)).body.entry).toMatchObject({ version: 1 });
  const again = await write(1);
  expect(again).toMatchObject({ status: 200, body: { entry: { version: 1 } } });
  expect(again.headers.get("idempotent-replayed")).toBe("true");
  expect((await write(2)).body.code).toBe("idempotency_mismatch");
  expect((await write(1, { "idempotency-key": "other" })).body.code).toBe("version_conflict");
});

describe("a commit of several", () => {
  test("is all or nothing, over scopes", async () => {
    const good = { scope: "session:b", key: "x", value: 1 };
    const bad = { scope: "agent:b", key: "y", value: 1, if_version: 7 };
    expect((await commit([good, bad])).status).toBe(409);
    expect((await get("session:b", "x")).status).toBe(404);
    const answer = await commit([
      good,
      { ...bad, if_version: 0 },
      { scope: "session:b", key: "z", delete: true },
    ]);
    expect(answer.body.entries).toHaveLength(2);
    expect((await get("agent:b", "y")).body.entry.value).toBe(1);
  });

  test("is one entry of the intent's log, and needs its open attempt", async () => {
    const id = await send(server, "stateful", { steps: ["a", "b"] });
    await claimOne(server, "stateful");
    const mine = { scope: `intent:${id}`, key: "notes", value: ["x"] };
    const shared = { scope: "session:notes", key: "last", value: id };
    expect((await commit([mine, shared], { intent_id: id, attempt: 1 })).status).toBe(200);
    expect(await commit([shared], { intent_id: id, attempt: 0 })).toMatchObject({
      status: 409,
      body: { code: "stale_attempt" },
    });
    const changed = (await eventsOf(server, id)).filter(
      (event) => event.event_type === "intent.state_changed",
    );
    expect(changed).toHaveLength(1);
    expect(changed[0].details.writes).toEqual([
      { scope: `intent:${id}`, key: "notes", version: 1, value: ["x"] },
      { scope: "session:notes", key: "last", version: 1, value: id },
    ]);
    expect((await get("session:notes", "last")).body.entry).toMatchObject({
      intent_id: id,
      seq: changed[0].seq,
    });
    const other = await send(server, "stateful");
    expect(
      (await commit([{ ...mine, scope: `intent:${other}` }], { intent_id: id, attempt: 1 })).body.code,
    ).toBe("invalid_scope");
  });
});

describe("state beside a step", () => {
  test("is written with its result, or not at all", async () => {
    const id = await send(server, "beside", { steps: ["a", "b"] });
    await claimOne(server, "beside");
    const state = [
      { key: "cursor", value: 10 },
      { scope: "session:beside", key: "seen", value: true },
    ];
    const conflict = await step(server, id, "a", {
      status: "done",
      attempt: 1,
      result: 1,
      state: [{ ...state[0], if_version: 4 }],
    });
    expect(conflict).toMatchObject({ status: 409, body: { code: "version_conflict" } });
    expect((await view(server, id)).progress.done).toBe(0);
    expect((await step(server, id, "a", { status: "done", attempt: 1, result: 1, state })).status).toBe(200);
    // The answer got lost: said again, it writes nothing again.
    expect((await step(server, id, "a", { status: "done", attempt: 1, result: 1, state })).status).toBe(200);
    expect((await get(`intent:${id}`, "cursor")).body.entry).toMatchObject({ version: 1, value: 10 });
    expect((await get("session:beside", "seen")).body.entry.version).toBe(1);
    const stale = await step(server, id, "b", {
      status: "done",
      attempt: 0,
      result: 1,
      state: [{ key: "cursor", value: 0 }],
    });
    expect(stale.status).toBe(409);
    expect((await get(`intent:${id}`, "cursor")).body.entry.value).toBe(10);
  });

  test("can be read as it was at any seq of the log", async () => {
    const id = await send(server, "history");
    await claimOne(server, "history");
    for (const n of [1, 2, 3]) await put(`intent:${id}`, "n", n, { attempt: 1 });
    await call(server, "DELETE", path(`intent:${id}`, "n"), { attempt: 1 });
    await put(`intent:${id}`, "other", "o", { attempt: 1 });
    const seqs = (await eventsOf(server, id))
      .filter((event) => event.event_type === "intent.state_changed")
      .map((event) => event.seq);
    expect((await get(`intent:${id}`, "n", `?seq=${seqs[0] - 1}`)).status).toBe(404);
    for (const [index, n] of [1, 2, 3].entries())
      expect((await get(`intent:${id}`, "n", `?seq=${seqs[index]}`)).body.entry.value).toBe(n);
    expect((await get(`intent:${id}`, "n", `?seq=${seqs[3]}`)).status).toBe(404);
    const at = async (seq: number) =>
      (await call(server, "GET", `${path(`intent:${id}`)}?seq=${seq}`)).body.entries.map(
        (one: { key: string; value: unknown }) => [one.key, one.value],
      );
    expect(await at(seqs[1])).toEqual([["n", 2]]);
    expect(await at(seqs[4])).toEqual([["other", "o"]]);
  });

  test("after the end it is an operator's to change, and the log says who did", async () => {
    const id = await send(server, "ended");
    await post(server, id, "cancel");
    expect((await put(`intent:${id}`, "note", "looked at it")).status).toBe(200);
    expect((await put(`intent:${id}`, "note", "late", { attempt: 1 })).body.code).toBe("stale_attempt");
    expect((await eventsOf(server, id)).at(-1)).toMatchObject({ event_type: "intent.state_changed" });
  });
});

test("a list is by key, filtered by prefix, in pages, either way round, with or without values", async () => {
  for (const key of ["b/2", "a", "b/1", "b/3", "c"]) await put("session:list", key, key);
  await call(server, "DELETE", path("session:list", "c"));
  const list = async (query: string) => (await call(server, "GET", `${path("session:list")}?${query}`)).body;
  const keys = (body: { entries: { key: string }[] }) => body.entries.map((entry) => entry.key);
  expect(keys(await list(""))).toEqual(["a", "b/1", "b/2", "b/3"]);
  const first = await list("prefix=b/&limit=2");
  expect(keys(first)).toEqual(["b/1", "b/2"]);
  expect(keys(await list(`prefix=b/&limit=2&cursor=${first.next_cursor}`))).toEqual(["b/3"]);
  expect(keys(await list("order=desc&limit=1"))).toEqual(["b/3"]);
  expect((await list("values=false")).entries[0]).not.toHaveProperty("value");
  const scopes = (await call(server, "GET", "/v1/state?kind=session&limit=500")).body.scopes;
  expect(scopes).toEqual(
    expect.arrayContaining([expect.objectContaining({ scope: "session:list", keys: 4 })]),
  );
});
