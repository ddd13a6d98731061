// An upgrade finds work in flight: what an older server left goes on with the new one.
import { readFileSync } from "node:fs";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate, readMigrations } from "../../server/store/migrate.ts";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, inStatus, post, send, step, view } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { call, startTestServer } from "../support/server.ts";

/** Takes the newest migrations back: the database is as an older version left it, with the same rows. */
const UNDONE = [
  "0004_waiting",
  "0005_keys",
  "0006_windowed",
  "0007_axp",
  "0008_churn",
  "0009_live",
  "0010_checks",
];
const UNDO = `
  alter table events drop constraint events_check,
    add constraint events_type_check check (type <> ''), add constraint events_seq_check check (seq >= 1);
  alter table intents drop constraint intents_check,
    add constraint intents_check check (strikes <= max_delivery_attempts),
    add constraint intents_check1 check ((status = 'WAITING') = (waiting_reason is not null)),
    add constraint intents_check2 check (consumer_id is null or status in ('DELIVERED', 'ACKNOWLEDGED', 'IN_PROGRESS')),
    add constraint intents_max_delivery_attempts_check check (max_delivery_attempts >= 1),
    add constraint intents_on_interrupt_check check (on_interrupt in ('retry', 'fail', 'ask')),
    add constraint intents_plan_by_check check (plan_by in ('sender', 'agent')),
    add constraint intents_status_check check (status <> ''),
    add constraint intents_waiting_reason_check check (waiting_reason <> '');
  alter table steps drop constraint steps_check, add constraint steps_status_check check (status <> ''),
    add constraint steps_on_interrupt_check check (on_interrupt in ('retry', 'fail', 'ask'));
  alter table outcomes drop constraint outcomes_check, add constraint outcomes_status_check check (status <> '');
  drop function perdure_is_event, perdure_is_intent, perdure_is_step, perdure_is_end;
  drop table live;
  drop index intents_paused, leases_consumer, intent_data_newest;
  alter table leases drop column no;
  create index leases_consumer on leases (consumer_id);
  drop table delivery_cursors, owed_cursors;
  alter table intents drop column windowed;
  alter table consumers drop column account, drop constraint consumers_mode_check,
    add constraint consumers_mode_check check (mode in ('stream', 'claim'));
  drop table agents, agent_days;
  alter table intents drop column patches, drop column conducted;
  drop index intent_data_reply_to;
  alter table intent_data drop column reply_to_address, drop column scenario;
  drop table api_keys, audit_log;
  alter table intents drop column sent_by;
  drop table signals, outbox, human_tasks, checkpoints, sessions;
  alter table intents drop column wake_at, drop column paused_by, drop column parent_id, drop column has_children,
    drop column keep_versions, drop column retain_ms;
  alter table intent_data drop column parent_step, drop column session_namespace;
  create index intent_data_session on intent_data (namespace, session, created_at desc, id desc) where session is not null;
  alter table steps drop column wait;
  drop index outcomes_expiring, outcomes_age;
  alter table outcomes drop column expires_at;
  delete from perdure_migrations where name in ('0004_waiting', '0005_keys', '0006_windowed', '0007_axp', '0008_churn', '0009_live', '0010_checks')`;

let database: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  database = await createTestDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await database.drop();
});

test("intents that were held, queued, paused, in doubt or ended before an upgrade go on after it", async () => {
  const before = await startTestServer({ databaseUrl: database.url });
  const held = await send(before, "held", { steps: ["a", "b"] });
  const { attempt } = await claimOne(before, "held", { lease_seconds: 60 });
  await post(before, held, "start", { attempt });
  await step(before, held, "a", { status: "done", attempt, result: 1, begin_next: true });
  const queued = await send(before, "queued", { session: "old" });
  const paused = await send(before, "paused");
  await post(before, paused, "pause");
  const asked = await send(before, "asked", { on_interrupt: "ask" });
  await claimOne(before, "asked");
  await step(before, asked, "charge", { status: "running", attempt: 1 });
  await post(before, asked, "release", { attempt: 1 });
  const ended = await send(before, "ended");
  await post(before, ended, "cancel");
  await before.close();

  await client.query(UNDO);
  expect(await migrate(database.url)).toEqual(UNDONE);
  const after = await startTestServer({ databaseUrl: database.url });
  try {
    expect((await verifyDatabase(database.url)).violations).toEqual([]);
    // The holder never noticed.
    const recorded = await step(after, held, "b", { status: "done", attempt, result: 2 });
    expect(recorded.body.intent_status).toBe("COMPLETED");
    expect((await claimOne(after, "queued")).intent_id).toBe(queued);
    expect((await call(after, "GET", "/v1/sessions/old")).body.session).toMatchObject({
      intents: { total: 1 },
    });
    expect(await view(after, paused)).toMatchObject({ paused: true, paused_by: ["intent"] });
    await post(after, paused, "unpause");
    expect((await claimOne(after, "paused")).intent_id).toBe(paused);
    await call(after, "POST", `/v1/intents/${asked}/steps/charge/decide`, { retry: true });
    expect((await claimOne(after, "asked")).attempt).toBe(2);
    await post(after, ended, "retry");
    await inStatus(after, ended, "SUBMITTED");
    await post(after, held, "restore", { to: 1 });
    expect((await claimOne(after, "held")).next_step.key).toBe("a");
  } finally {
    await after.close();
  }
});

test("the newest migrations are those that the upgrade is tried with", () => {
  const names = readMigrations().map((migration) => migration.name);
  expect(names.slice(-UNDONE.length)).toEqual(UNDONE);
  for (const name of UNDONE) {
    expect(UNDO).toContain(name);
    // What it makes is what the test takes back.
    const made = readFileSync(new URL(`../../migrations/${name}.sql`, import.meta.url), "utf8");
    for (const [, table = ""] of made.matchAll(/^create table (\w+)/gm)) expect(UNDO).toContain(table);
    for (const [, called = ""] of made.matchAll(/^create function (\w+)/gm)) expect(UNDO).toContain(called);
    for (const [, column = ""] of made.matchAll(/add column (\w+)/g))
      expect(UNDO).toContain(`drop column ${column}`);
  }
});
