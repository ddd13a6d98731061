// Acting on many intents: AXP's bulk-cancel, our own verb, and the AXP command line's way to list, cancel and read logs.
import { afterAll, beforeAll, expect, test } from "vitest";
import { send, view } from "../delivery/listener.ts";
import { type Headers, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { AxpCli } from "./clients/cli.ts";
import { valid } from "./schemas.ts";

let server: TestServer;
let cli: AxpCli;
beforeAll(async () => {
  server = await startTestServer();
  cli = new AxpCli(server.url);
});
afterAll(() => server.close());

const bulk = async (body: object) => (await call(server, "POST", "/v1/intents/bulk", body)).body;
const bulkCancel = async (body: object) =>
  valid("bulkCancel", (await call(server, "POST", "/v1/intents/bulk-cancel", body)).body);
const many = (address: string, n: number, more: object = {}) =>
  Promise.all(Array.from({ length: n }, () => send(server, address, more as Record<string, unknown>)));

test("bulk-cancel only looks unless it is told otherwise, and spares what is recent", async () => {
  const ids = await many("stale", 3);
  expect(await bulkCancel({})).toMatchObject({ dry_run: true, would_cancel: 0 });
  expect(await bulkCancel({ older_than_hours: 0 })).toMatchObject({ dry_run: true, would_cancel: 3 });
  expect((await view(server, ids[0] as string)).status).toBe("SUBMITTED");
  const told = await bulkCancel({
    older_than_hours: 0,
    dry_run: false,
    reason: "cleaning up",
    status_filter: ["SUBMITTED"],
  });
  expect(told).toMatchObject({ dry_run: false, canceled: 3 });
  expect([...told.intent_ids].sort()).toEqual([...ids].sort());
  expect((await view(server, ids[0] as string)).error).toMatchObject({ message: "cleaning up" });
  expect(await bulkCancel({ older_than_hours: 0, dry_run: false })).toMatchObject({ canceled: 0 });
});

test("our verb takes filters, goes in pages, and does what it says", async () => {
  const ids = await many("pages", 5, { metadata: { wave: "1" } });
  await many("pages", 2, { metadata: { wave: "2" } });
  const filter = { to_agent: "pages", metadata: { wave: "1" } };
  const looked = await bulk({ action: "pause", filter, dry_run: true });
  expect(looked).toMatchObject({ dry_run: true, matched: 5, applied: 0 });
  expect([...looked.intent_ids].sort()).toEqual([...ids].sort());
  const seen: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await bulk({
      action: "pause",
      filter,
      limit: 2,
      ...(cursor === undefined ? {} : { cursor }),
    });
    seen.push(...page.intent_ids);
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  expect([...seen].sort()).toEqual([...ids].sort());
  expect((await view(server, ids[0] as string)).paused).toBe(true);
  const again = await bulk({ action: "pause", filter });
  expect(again).toMatchObject({ matched: 5, applied: 0 });
  expect(again.refused[0]).toMatchObject({ code: "unchanged" });
  expect(await bulk({ action: "unpause", filter })).toMatchObject({ matched: 5, applied: 5 });
  expect(await bulk({ action: "cancel", filter, reason: "enough" })).toMatchObject({ applied: 5 });
  expect(await bulk({ action: "retry", filter })).toMatchObject({ matched: 0 });
  expect(await bulk({ action: "retry", filter: { ...filter, status: "CANCELED" } })).toMatchObject({
    applied: 5,
  });
  expect((await view(server, ids[0] as string)).status).toBe("SUBMITTED");
});

test("a bulk verb that makes no sense is refused", async () => {
  for (const body of [
    {},
    { action: "explode" },
    { action: "cancel", limit: 0 },
    { action: "cancel", limit: 1e9 },
  ])
    expect((await call(server, "POST", "/v1/intents/bulk", body)).status).toBe(422);
  expect((await call(server, "POST", "/v1/intents/bulk-cancel", { limit: -1 })).status).toBe(422);
});

test("only what the caller sees is acted on", async () => {
  const keyed = await startKeyedServer();
  try {
    const boss = await issueKey(keyed, "acme/prod/boss", ["send", "read", "operate"]);
    const stranger = await issueKey(keyed, "other/prod/boss", ["send", "read", "operate"]);
    const as = (who: { headers: Headers }, body: object) =>
      call(
        keyed,
        "POST",
        "/v1/intents/bulk-cancel",
        { older_than_hours: 0, dry_run: false, ...body },
        who.headers,
      );
    await call(keyed, "POST", "/v1/intents", { intent_type: "t", to_agent: "worker" }, boss.headers);
    expect((await as(stranger, {})).body.canceled).toBe(0);
    expect((await as(boss, {})).body.canceled).toBe(1);
    const { entries } = (
      await call(keyed, "GET", "/v1/audit", undefined, {
        "x-api-key": "an-administrators-key-for-tests-only",
      })
    ).body;
    expect(entries.map((entry: { action: string }) => entry.action)).toContain("intent.bulk_cancel");
  } finally {
    await keyed.close();
  }
});

test("the AXP command line lists intents by its inbox, cancels one and reads its log", async () => {
  const id = await send(server, "listed");
  const rows = await cli.listIntents("SUBMITTED");
  expect(rows).toContainEqual({ id, status: "SUBMITTED", owner: "listed" });
  valid("inbox", (await call(server, "GET", "/v1/inbox")).body);
  valid("list", (await call(server, "GET", "/v1/intents?status=SUBMITTED")).body);
  await cli.cancel(id);
  expect((await cli.listIntents("CANCELED")).map((row) => row.id)).toContain(id);
  expect(await cli.log(id)).toEqual([
    "1 intent.created CREATED",
    "2 intent.submitted SUBMITTED",
    "3 intent.canceled CANCELED",
  ]);
});
