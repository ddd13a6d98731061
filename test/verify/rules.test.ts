import { afterAll, beforeAll, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, post, send, step } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { perdure } from "../cli/terminal.ts";
let server: TestServer;
beforeAll(async () => { server = await startTestServer(); });
afterAll(() => server.close());
const show = async (what: string) => {
  try { const v = await verifyDatabase(server.databaseUrl); console.log(what, v.count, JSON.stringify(v.violations)); }
  catch (e) { console.log(what, "THREW", String(e)); }
};
test("scratch", async () => {
  const r = await call(server, "PUT", "/v1/state/session:v/k", { value: 1 }, { "idempotency-key": "k1" });
  console.log(r.status); await show("null idem");
  await server.store.pool.query("delete from idempotency_keys where intent_id is null");
  const asked = await send(server, "asked", { steps: ["a", "b"], on_interrupt: "ask" , max_delivery_attempts: 5});
  await claimOne(server, "asked", { consumer: "x1", lease_seconds: 1 });
  console.log((await step(server, asked, "a", { status: "running", attempt: 1 })).status);
  await new Promise((r) => setTimeout(r, 2500));
  await show("asked");
  for (const body of [{ fail: { code: "x", message: "m" } }, { decision: "fail", error: { code: "x", message: "m" } }]) {
    const d = await call(server, "POST", `/v1/intents/${asked}/steps/a/decide`, body); console.log(d.status, JSON.stringify(d.body).slice(0,300)); }
  await show("ask fail");
  const f = await send(server, "forced", {});
  await claimOne(server, "forced", { consumer: "x2", lease_seconds: 60 });
  console.log((await post(server, f, "start", { attempt: 1, steps: ["a", "b"] })).status);
  console.log((await post(server, f, "start", { attempt: 1, steps: ["c", "b"], force: true })).status);
  console.log((await server.store.pool.query("select key,status,position from steps where intent_id=$1", [f])).rows, (await server.store.pool.query("select open_steps from intents where id=$1", [f])).rows);
  await post(server, f, "release", { attempt: 1 });
  console.log((await server.store.pool.query("select key,status,position,interrupted from steps where intent_id=$1", [f])).rows);
  await show("forced");
  const big = await send(server, "big", { steps: ["a", "b"] });
  await claimOne(server, "big", { consumer: "x3", lease_seconds: 60 });
  await call(server, "PUT", `/v1/intents/${big}/steps/a`, '{"status":"done","attempt":1,"result": {"n" : 12345678901234567890, "n":1.0, "u":"\\u00e9" } }');
  console.log((await server.store.pool.query("select (details->'result')::text as a, (select result::text from steps where intent_id=$1 and key='a') as b from events where intent_id=$1 and type='intent.step_done'", [big])).rows);
  await server.store.pool.query("update steps set result = '{\"n\" : 12345678901234567891, \"n\":1.0, \"u\":\"\\u00e9\" }' where intent_id=$1 and key='a'", [big]);
  await show("big");
  const q = await send(server, "queued", {});
  await server.store.pool.query("insert into ready select to_agent, 99, queue_at, intent_id, intent_type from ready where intent_id=$1", [q]);
  await show("two queue entries");
  await server.store.pool.query("delete from consumers where name='x3'"); await show("holder gone");
  for (const url of ["postgres://127.0.0.1:1/x", server.databaseUrl.replace(/\/[^/]*$/, "/postgres")]) console.log(await perdure("", ["verify"], { env: { DATABASE_URL: url } }), await perdure("", ["migrate"], { env: { DATABASE_URL: "postgres://127.0.0.1:1/x" } }));
  await server.store.pool.query("update intents set seq = seq+1 where id=$1", [q]); await show("seq");
  await server.store.pool.query("update intents set paused = true where id=$1", [asked]); await show("paused");
  await server.store.pool.query("update intents set consumer_id = null where id=$1", [big]);
  await server.store.pool.query("delete from leases where intent_id=$1", [big]); await show("unheld");
}, 60000);
