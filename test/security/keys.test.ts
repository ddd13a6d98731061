// API keys: what they open, for how long, what replaces them, and who knows of it.
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listen } from "../delivery/listener.ts";
import { ADMIN, type Headers, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startKeyedServer();
});
afterAll(() => server.close());

const list = (headers: Headers, on: TestServer = server) =>
  call(on, "GET", "/v1/intents", undefined, headers);
const rotate = (id: string, body: object = {}) => call(server, "POST", `/v1/keys/${id}/rotate`, body, ADMIN);
const revoke = (id: string) => call(server, "DELETE", `/v1/keys/${id}`, undefined, ADMIN);
const audit = async () => (await call(server, "GET", "/v1/audit?limit=500", undefined, ADMIN)).body.entries;

describe("a key", () => {
  test("opens the server as x-api-key and as Bearer, and its text is stored nowhere", async () => {
    const key = await issueKey(server, "acme/prod/web", ["read"]);
    expect((await list(key.headers)).status).toBe(200);
    expect((await list({ authorization: `Bearer ${key.text}` })).status).toBe(200);
    const { rows } = await server.store.pool.query(
      "select k::text as row, digest from api_keys k where id = $1",
      [key.id],
    );
    expect(rows[0].digest.equals(createHash("sha256").update(key.text).digest())).toBe(true);
    expect(rows[0].row).not.toContain(key.text.slice(4));
    const seen = JSON.stringify([await call(server, "GET", "/v1/keys", undefined, ADMIN), await audit()]);
    expect(seen).toContain(key.id);
    expect(seen).not.toContain(key.text.slice(4));
  });

  test("that was mistyped is told apart from one that is not known", async () => {
    const { text } = await issueKey(server, "acme/prod/web", ["read"]);
    const typo = await list({ "x-api-key": `${text.slice(0, -1)}${text.endsWith("a") ? "b" : "a"}` });
    expect(typo.status).toBe(401);
    expect(typo.body.detail).toContain("mistyped");
    const unknown = await list({ "x-api-key": "somebody-elses" });
    expect(unknown.status).toBe(401);
    expect(unknown.body.detail).toContain("not known");
  });

  test("ends when its time is over", async () => {
    const key = await issueKey(server, "acme/prod/brief", ["read"], { expires_in_seconds: 1 });
    expect((await list(key.headers)).status).toBe(200);
    await until("its end", async () => (await list(key.headers)).status === 401);
  });

  test("that is revoked works no more, on another replica too within seconds", async () => {
    const other = await startKeyedServer({ databaseUrl: server.databaseUrl });
    try {
      const key = await issueKey(server, "acme/prod/leaked", ["read"]);
      expect((await list(key.headers, other)).status).toBe(200);
      expect((await revoke(key.id)).body.key.live).toBe(false);
      expect((await list(key.headers)).status).toBe(401);
      await until("its end there", async () => (await list(key.headers, other)).status === 401, 6_000);
      expect((await revoke(key.id)).status).toBe(200);
    } finally {
      await other.close();
    }
  });

  test("takes its open streams and held answers with it when it is revoked, on every replica", async () => {
    const other = await startKeyedServer({ databaseUrl: server.databaseUrl });
    try {
      const key = await issueKey(server, "acme/prod/agent", ["act", "send", "read"]);
      const here = await listen(server, "acme/prod/agent", { consumer: "one" }, key.headers);
      const there = await listen(other, "acme/prod/agent", { consumer: "two" }, key.headers);
      const body = { intent_type: "t", to_agent: "acme/prod/nobody" };
      const { intent_id } = (await call(server, "POST", "/v1/intents", body, key.headers)).body;
      const waited = call(other, "GET", `/v1/intents/${intent_id}?wait=50`, undefined, key.headers);
      await revoke(key.id);
      expect((await here.next("stream.end")).data.reason).toBe("key_ended");
      expect((await there.next("stream.end")).data.reason).toBe("key_ended");
      await waited;
    } finally {
      await other.close();
    }
  });

  test("says when it was used last", async () => {
    const key = await issueKey(server, "acme/prod/used", ["read"]);
    await list(key.headers);
    const noted = () => server.keys.noteUse();
    await noted();
    const shown = async () =>
      (await call(server, "GET", "/v1/keys", undefined, ADMIN)).body.keys.find(
        (one: { id: string }) => one.id === key.id,
      ).last_used_at;
    const first = await shown();
    expect(first).not.toBeNull();
    await list(key.headers);
    await noted();
    expect(await shown()).toBe(first);
  });

  test("is asked for in the database once for many requests", async () => {
    const key = await issueKey(server, "acme/prod/busy", ["read"]);
    await server.store.pool.query("select 1");
    const asked: string[] = [];
    const query = server.store.pool.query.bind(server.store.pool);
    server.store.pool.query = ((...args: unknown[]) => {
      const [first] = args as [{ name?: string }];
      if (typeof first === "object" && first.name !== undefined) asked.push(first.name);
      return (query as (...all: unknown[]) => unknown)(...args);
    }) as typeof server.store.pool.query;
    try {
      await Promise.all(Array.from({ length: 20 }, () => list(key.headers)));
      expect(asked.filter((name) => name === "key_by_digest")).toHaveLength(1);
    } finally {
      server.store.pool.query = query;
    }
  });
});

describe("rotation", () => {
  test("lets the old key live on beside the new one, and never more than two", async () => {
    const first = await issueKey(server, "acme/prod/rotated", ["read"], { expires_in_seconds: 1_000 });
    const second = (await rotate(first.id)).body;
    expect(second.key).toMatchObject({ scopes: ["read"], address: "agent://acme/prod/rotated", live: true });
    expect((await list(first.headers)).status).toBe(200);
    expect((await list({ "x-api-key": second.api_key })).status).toBe(200);
    // The answer was lost: whoever asks again ends the key that nobody got.
    const third = (await rotate(first.id)).body;
    const { rows } = await server.store.pool.query(
      "select id from api_keys where family = $1 and revoked_at is null and expires_at > now() order by id",
      [first.id],
    );
    expect(rows.map((row) => row.id)).toEqual([first.id, third.key.id]);
    expect(Date.parse(third.key.expires_at) - Date.parse(third.key.created_at)).toBe(1_000_000);
  });

  test("without grace ends the old key", async () => {
    const first = await issueKey(server, "acme/prod/at-once", ["read"]);
    const answer = await rotate(first.id, { grace_seconds: 0 });
    expect(answer.body.old_key.live).toBe(false);
    await until("its end", async () => (await list(first.headers)).status === 401, 6_000);
    expect((await rotate(first.id)).body.code).toBe("key_ended");
  });
});

describe("an administrator of one namespace", () => {
  let tenant: Headers;
  beforeAll(async () => {
    tenant = (await issueKey(server, "acme/prod/boss", ["admin"])).headers;
  });

  test("makes keys within it, and none that reach further", async () => {
    const inside = await issueKey(server, "acme/prod/x", ["act"], { patterns: ["acme/prod/*"] }, tenant);
    expect((await list(inside.headers)).status).toBe(403);
    const make = (address: string, patterns: string[]) =>
      call(server, "POST", "/v1/keys", { name: "n", address, scopes: ["read"], patterns }, tenant);
    expect((await make("beta/prod/x", [])).status).toBe(403);
    expect((await make("acme/prod/x", ["*"])).status).toBe(403);
    expect((await make("acme/prod/x", ["acme/*"])).status).toBe(403);
    expect((await make("acme/prod/x", ["acme"])).status).toBe(422);
  });

  test("finds no key of another namespace, nor one that reaches further than its own", async () => {
    const foreign = await issueKey(server, "beta/prod/x", ["read"]);
    const mighty = await issueKey(server, "acme/prod/root", ["admin"], { patterns: ["*"] });
    for (const { id } of [foreign, mighty]) {
      expect((await call(server, "POST", `/v1/keys/${id}/rotate`, {}, tenant)).body.code).toBe(
        "key_not_found",
      );
      expect((await call(server, "DELETE", `/v1/keys/${id}`, undefined, tenant)).body.code).toBe(
        "key_not_found",
      );
    }
    const { keys } = (await call(server, "GET", "/v1/keys", undefined, tenant)).body;
    expect(new Set(keys.map((key: { namespace: string }) => key.namespace))).toEqual(new Set(["acme/prod"]));
    expect(keys.map((key: { id: string }) => key.id)).not.toContain(mighty.id);
    const { entries } = (await call(server, "GET", "/v1/audit", undefined, tenant)).body;
    expect(JSON.stringify(entries)).not.toContain(foreign.id);
  });
});

test("an administrator with patterns lists the keys that it may change, in other namespaces too", async () => {
  const group = await issueKey(server, "acme/prod/group", ["admin"], {
    patterns: ["delta/*", "acme/prod/one"],
  });
  const within = await issueKey(server, "delta/prod/x", ["read"], { patterns: ["delta/prod/*"] });
  const beyond = await issueKey(server, "delta/prod/y", ["read"], { patterns: ["delta/*", "beta/*"] });
  const { keys } = (await call(server, "GET", "/v1/keys?limit=500", undefined, group.headers)).body;
  const ids = keys.map((key: { id: string }) => key.id);
  expect(ids).toEqual(expect.arrayContaining([group.id, within.id]));
  expect(ids).not.toContain(beyond.id);
});

test("what operators and administrators do is in the audit log with who, what and from where", async () => {
  const key = await issueKey(server, "acme/prod/ops", ["operate", "send"]);
  const body = { intent_type: "t", to_agent: "acme/prod/audited" };
  const { intent_id } = (await call(server, "POST", "/v1/intents", body, key.headers)).body;
  const idempotent = { ...key.headers, "idempotency-key": "once" };
  await call(server, "POST", `/v1/intents/${intent_id}/pause`, {}, idempotent);
  await call(server, "POST", `/v1/intents/${intent_id}/pause`, {}, idempotent);
  await call(server, "POST", `/v1/intents/${intent_id}/retry`, {}, key.headers);
  await revoke(key.id);
  const mine = (await audit()).filter((entry: { target: string; key_id: string }) =>
    [entry.target, entry.key_id].some((id) => id === key.id || id === intent_id),
  );
  expect(mine.map((entry: { action: string }) => entry.action)).toEqual([
    "key.revoke",
    "intent.pause",
    "key.create",
  ]);
  expect(mine[1]).toMatchObject({
    actor: "agent://acme/prod/ops",
    key_id: key.id,
    target: intent_id,
    source: "127.0.0.1",
  });
});

test("the log of keys is paged", async () => {
  const first = (await call(server, "GET", "/v1/keys?limit=2", undefined, ADMIN)).body;
  const second = (await call(server, "GET", `/v1/keys?limit=2&cursor=${first.next_cursor}`, undefined, ADMIN))
    .body;
  const ids = [...first.keys, ...second.keys].map((key: { id: string }) => key.id);
  expect(new Set(ids).size).toBe(4);
  const page = (await call(server, "GET", "/v1/audit?limit=1", undefined, ADMIN)).body;
  const rest = (await call(server, "GET", `/v1/audit?limit=1&cursor=${page.next_cursor}`, undefined, ADMIN))
    .body;
  expect(rest.entries[0].at <= page.entries[0].at).toBe(true);
});

test("without PERDURE_ADMIN_KEY, keys in the database are wanted all the same", async () => {
  const other = await startTestServer({ databaseUrl: server.databaseUrl, keysRequired: true });
  try {
    const key = await issueKey(server, "acme/prod/only", ["read"]);
    expect((await list({}, other)).status).toBe(401);
    expect((await list(ADMIN, other)).status).toBe(401);
    expect((await list(key.headers, other)).status).toBe(200);
  } finally {
    await other.close();
  }
});
