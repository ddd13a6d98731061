// Parents and children: a child's end wakes its parent, a parent's end takes its children with it (W3).
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimOne, eventsOf, inStatus, post, send, step, view } from "../delivery/listener.ts";
import { asAdmin } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server.close();
});

const create = (body: Record<string, unknown>) =>
  call(server, "POST", "/v1/intents", { intent_type: "child.v1", to_agent: "child", ...body });
const complete = (id: string, attempt: number, result: unknown) =>
  post(server, id, "resolve", { status: "COMPLETED", attempt, result });

async function parentWith(name: string, children: number, more: Record<string, unknown> = {}) {
  const parent = await send(server, name);
  const { attempt } = await claimOne(server, name);
  const ids: string[] = [];
  for (let n = 0; n < children; n += 1) {
    const body = {
      to_agent: `${name}-child`,
      parent_intent_id: parent,
      parent_attempt: attempt,
      parent_step: `send-${n}`,
      ...more,
    };
    ids.push((await create(body)).body.intent_id);
  }
  return { parent, attempt, ids };
}

test("a parent waits for its children without a lease, and learns how each of them ended", async () => {
  const { parent, attempt, ids } = await parentWith("family", 3);
  const parked = await step(server, parent, "all", { status: "waiting", attempt, wait: { intents: ids } });
  expect(parked.body).toMatchObject({ intent_status: "WAITING", step: { wait: { intents: ids } } });
  expect((await view(server, parent)).lifecycle_waiting_reason).toBe("WAITING_FOR_AGENT");
  for (const n of [0, 1, 2]) {
    expect((await view(server, parent)).status).toBe("WAITING");
    const delivery = await claimOne(server, "family-child", { consumer: `c${n}` });
    if (n === 1)
      await post(server, delivery.intent_id, "resolve", {
        status: "FAILED",
        attempt: 1,
        error: { code: "no", message: "no" },
      });
    else await complete(delivery.intent_id, 1, n);
  }
  const again = await claimOne(server, "family");
  expect(again.steps[0]).toMatchObject({ key: "all", status: "done" });
  expect(again.steps[0].result).toMatchObject([
    { intent_id: ids[0], status: "COMPLETED", result: 0 },
    { intent_id: ids[1], status: "FAILED", error: { code: "no" } },
    { intent_id: ids[2], status: "COMPLETED", result: 2 },
  ]);
});

test("children that ended before the wait are no reason to wait", async () => {
  const { parent, attempt, ids } = await parentWith("eager", 1);
  await claimOne(server, "eager-child");
  await complete(ids[0] as string, 1, "early");
  const answer = await step(server, parent, "all", { status: "waiting", attempt, wait: { intents: ids } });
  expect(answer.body).toMatchObject({
    intent_status: "IN_PROGRESS",
    step: { status: "done", result: [{ result: "early" }] },
  });
});

test("children and waits that race lose no wake-up", async () => {
  for (let round = 0; round < 10; round += 1) {
    const name = `race-${round}`;
    const { parent, attempt, ids } = await parentWith(name, 2);
    const held = [
      await claimOne(server, `${name}-child`, { consumer: "a" }),
      await claimOne(server, `${name}-child`, { consumer: "b" }),
    ];
    await Promise.all([
      step(server, parent, "all", { status: "waiting", attempt, wait: { intents: ids } }),
      ...held.map((one) => complete(one.intent_id, 1, "ok")),
    ]);
    const { steps } = (await call(server, "GET", `/v1/intents/${parent}/steps`)).body;
    if (steps[0].status === "done") continue;
    expect((await claimOne(server, name)).steps[0]).toMatchObject({ status: "done" });
  }
});

test("a child that ends while its parent's wait is on its way into the log wakes it", async () => {
  const name = "between";
  const { parent, attempt, ids } = await parentWith(name, 1);
  const child = await claimOne(server, `${name}-child`);
  const wait = { status: "waiting", attempt, wait: { intents: ids } };
  const { seq } = (await eventsOf(server, parent)).at(-1);
  const parked = await asAdmin(server.databaseUrl, async (admin) => {
    // Whoever writes the parent's next log entry waits for this transaction: the wait has looked at the child by then.
    await admin.query("begin");
    await admin.query(
      `insert into events (intent_id, seq, namespace, type, status, actor, at)
        select intent_id, seq + 1, namespace, type, status, actor, at from events where intent_id = $1 and seq = $2`,
      [parent, seq],
    );
    const parking = step(server, parent, "all", wait);
    await until("the wait to be written", async () => {
      const { rows } = await admin.query("select 1 from pg_locks where not granted");
      return rows.length > 0;
    });
    await complete(child.intent_id, 1, "ok");
    await until("the parent to be told, behind its wait", () => server.engine.commits.waiting > 0);
    await admin.query("rollback");
    return parking;
  });
  expect(parked.body.intent_status).toBe("WAITING");
  expect((await claimOne(server, name)).steps[0]).toMatchObject({
    status: "done",
    result: [{ result: "ok" }],
  });
});

test("results too large to carry are left to be fetched", async () => {
  const { parent, attempt, ids } = await parentWith("large", 2);
  for (const consumer of ["a", "b"]) {
    const { intent_id } = await claimOne(server, "large-child", { consumer });
    await complete(intent_id, 1, "x".repeat(700_000));
  }
  const answer = await step(server, parent, "all", { status: "waiting", attempt, wait: { intents: ids } });
  expect(answer.body.step.result).toEqual(
    ids.map((intent_id) => ({ intent_id, status: "COMPLETED", result_omitted: true })),
  );
});

test("what one wait carries does not depend on who waits beside it", async () => {
  const parents = await Promise.all(["beside-1", "beside-2", "beside-3"].map((name) => parentWith(name, 1)));
  for (const name of ["beside-1", "beside-2", "beside-3"]) {
    const { intent_id } = await claimOne(server, `${name}-child`);
    await complete(intent_id, 1, "x".repeat(500_000));
  }
  const answers = await Promise.all(
    parents.map(({ parent, attempt, ids }) =>
      step(server, parent, "all", { status: "waiting", attempt, wait: { intents: ids } }),
    ),
  );
  for (const { body } of answers) expect(body.step.result[0].result).toHaveLength(500_000);
});

test("a child may work in another namespace than its parent", async () => {
  const { parent, attempt } = await parentWith("abroad", 0);
  const body = { to_agent: "agent://other/place/child", parent_intent_id: parent, parent_attempt: attempt };
  const child = (await create(body)).body.intent_id;
  await claimOne(server, encodeURIComponent("agent://other/place/child"));
  await complete(child, 1, "far");
  const answer = await step(server, parent, "w", { status: "waiting", attempt, wait: { intents: [child] } });
  expect(answer.body.step.result).toMatchObject([{ result: "far" }]);
});

test("only children can be waited for", async () => {
  const { parent, attempt } = await parentWith("strict", 0);
  const stranger = await send(server, "stranger");
  for (const id of [stranger, "00000000-0000-7000-8000-000000000000"]) {
    const answer = await step(server, parent, "all", { status: "waiting", attempt, wait: { intents: [id] } });
    expect(answer.body.code).toBe("not_a_child");
  }
});

test("a canceled parent takes its children with it, and theirs, but for detached ones", async () => {
  const { parent, ids } = await parentWith("cascade", 2);
  const grandchild = (await create({ to_agent: "deep", parent_intent_id: ids[0] })).body.intent_id;
  const detached = (await create({ to_agent: "free", parent_intent_id: parent, detached: true })).body
    .intent_id;
  await post(server, parent, "cancel");
  for (const id of [...ids, grandchild]) {
    expect((await inStatus(server, id, "CANCELED")).error.message).toBe("its parent has ended");
  }
  expect((await view(server, detached)).status).toBe("SUBMITTED");
});

test("a parent that fails or completes leaves its children alone", async () => {
  const { parent, attempt, ids } = await parentWith("leaves", 1);
  await complete(parent, attempt, 1);
  expect((await view(server, ids[0] as string)).status).toBe("SUBMITTED");
});

test("nobody is born to a parent that is unknown, ended, or held by another", async () => {
  const { parent, attempt } = await parentWith("orphans", 0);
  expect((await create({ parent_intent_id: "00000000-0000-7000-8000-000000000000" })).body.code).toBe(
    "parent_not_found",
  );
  expect((await create({ parent_intent_id: parent, parent_attempt: attempt + 1 })).body.code).toBe(
    "stale_attempt",
  );
  expect((await create({ parent_attempt: 1 })).body.errors[0].pointer).toBe("/parent_intent_id");
  await complete(parent, attempt, 1);
  expect((await create({ parent_intent_id: parent })).body.code).toBe("parent_terminal");
});

test("a child sent again with its key after its parent was redelivered is the same child", async () => {
  const { parent, attempt } = await parentWith("repeat", 0);
  const key = { "idempotency-key": "pdr-child-1" };
  const body = { intent_type: "child.v1", to_agent: "c", parent_intent_id: parent };
  const first = await call(server, "POST", "/v1/intents", { ...body, parent_attempt: attempt }, key);
  await post(server, parent, "release", { attempt });
  const again = await claimOne(server, "repeat");
  const second = await call(server, "POST", "/v1/intents", { ...body, parent_attempt: again.attempt }, key);
  expect(second.body.intent_id).toBe(first.body.intent_id);
});

test("children are listed by their parent", async () => {
  const { parent, ids } = await parentWith("listed", 2);
  const { intents } = (await call(server, "GET", `/v1/intents?parent_intent_id=${parent}`)).body;
  expect(intents.map((one: { intent_id: string }) => one.intent_id).sort()).toEqual([...ids].sort());
});

test("a child born after its parent was reopened is not taken along by the end before", async () => {
  await server.sweepers.outbox.stop(); // from here on by hand
  const { parent, ids } = await parentWith("reopened", 1);
  await post(server, parent, "cancel");
  await post(server, parent, "retry");
  const { attempt } = await claimOne(server, "reopened");
  const born = await create({ parent_intent_id: parent, parent_attempt: attempt, parent_step: "again" });
  await until("all is worked off", async () => (await server.sweepers.outbox.tick()) === 0);
  expect((await view(server, ids[0] as string)).status).toBe("CANCELED");
  expect((await view(server, born.body.intent_id)).status).toBe("SUBMITTED");
});
