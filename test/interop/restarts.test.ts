// Agents that acknowledge nothing die, come back, stand idle, and share an address: who gets what again, and how often (X1 to X3).
import { expect, test } from "vitest";
import { renewWindowedLeases } from "../../server/engine/windows.ts";
import { claimOne, eventsOf, inStatus, post, send, step, typesOf, view } from "../delivery/listener.ts";
import { startSteerableServer } from "../model/steerable.ts";
import { call, until } from "../support/server.ts";
import { startObserver } from "./clients/observers.ts";
import { startWholeBodyAgent } from "./clients/whole-body-agent.ts";
import type { WindowAgent } from "./clients/windows.ts";
import { agent, endLeases, HOLD_OFF_MS, judgeAll, never, server, useServer, working } from "./stage.ts";

useServer();

const lossesOf = async (id: string) =>
  (await eventsOf(server, id)).filter((event) => event.event_type === "intent.lost");

const listening = (address: string, count = 1) =>
  until(`${count} listen at ${address}`, () => server.windows.count(`local/dev/${address}`) === count);

const first = (client: WindowAgent, n = 1) =>
  until(`delivery ${n}`, () => client.deliveries[n - 1]).then((one) => one.data);

test("an agent that is killed in its work and started again has it again after the hold-off, and not more often than it may", async () => {
  const id = await send(server, "loop", { payload: { n: 1 } });
  const observers = (["typescript", "python", "polling"] as const).map((kind) =>
    startObserver({ url: server.url, intentId: id, kind }),
  );
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    const began = performance.now();
    const client = agent("loop", { work: never });
    expect(await first(client)).toMatchObject({
      intent_id: id,
      attempt,
      status: attempt === 1 ? "DELIVERED" : "IN_PROGRESS",
      lost_deliveries: attempt - 1,
    });
    if (attempt > 1) expect(performance.now() - began).toBeGreaterThan(HOLD_OFF_MS - 50);
    expect(await view(server, id)).toMatchObject({ status: "IN_PROGRESS", attempt });
    client.kill();
  }
  // The last strike is the lease's, never a newcomer's.
  const fourth = agent("loop", { waitSeconds: 1 });
  await until("its window is over", () => fourth.timeouts.length === 1);
  expect(await view(server, id)).toMatchObject({ status: "IN_PROGRESS", attempt: 3, lost_deliveries: 2 });
  await endLeases();
  expect(await view(server, id)).toMatchObject({
    status: "FAILED",
    lost_deliveries: 3,
    error: { code: "delivery_attempts_exhausted" },
  });
  const log = await eventsOf(server, id);
  for (const observer of observers) {
    expect((await observer.done).type).toBe("intent.failed");
    expect(observer.seen).toEqual(log.map(({ seq, event_type: type }) => ({ seq, type })));
  }
  expect(fourth.deliveries).toEqual([]);
});

test("an agent that is started again finishes what it had", async () => {
  const id = await send(server, "again");
  const client = agent("again", { work: never });
  await first(client);
  client.kill();
  const next = agent("again", { work: working(server.url, ({ data }) => ({ attempt: data.attempt })) });
  expect(await inStatus(server, id, "COMPLETED")).toMatchObject({ result: { attempt: 2 } });
  await listening("again");
  expect(next.deliveries).toHaveLength(1);
});

test("of two agents at one address each new intent goes to exactly one, and neither takes the other's", async () => {
  const clients = [0, 1].map(() => agent("pair", { work: working(server.url, () => null) }));
  await listening("pair", 2);
  const ids: string[] = [];
  for (let n = 0; n < 10; n += 1) ids.push(await send(server, "pair", { payload: { n } }));
  for (const id of ids) await inStatus(server, id, "COMPLETED");
  const told = clients.flatMap((client) => client.deliveries.map((one) => one.intentId));
  expect(told.sort()).toEqual([...ids].sort());
  for (const id of ids) expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
});

test("agents that are busy at one address do not play each other's work to its end", async () => {
  const ids = [await send(server, "busy"), await send(server, "busy")];
  const done: (() => void)[] = [];
  const work = working(server.url, () => new Promise<object>((resolve) => done.push(() => resolve({}))));
  const clients = [0, 1].map(() => agent("busy", { work, waitSeconds: 1 }));
  await until("both are at work", () => done.length === 2);
  // An idle third comes and goes in its windows, from the beginning a newcomer: it has one of the two, once.
  const third = agent("busy", { waitSeconds: 1, work: () => Promise.resolve() });
  await until("it has one", () => third.deliveries.length === 1);
  await until("and windows after it", () => third.timeouts.length === 2);
  for (const finish of done) finish();
  for (const id of ids) await inStatus(server, id, "COMPLETED");
  expect(third.deliveries).toHaveLength(1);
  expect((await Promise.all(ids.map(lossesOf))).flat()).toHaveLength(1);
  expect(clients.map((client) => client.deliveries.length)).toEqual([1, 1]);
});

test("of four idle agents one has the one intent, and the rest leave it alone; its holder started again has it again", async () => {
  const clients = Array.from({ length: 4 }, () => agent("idle-four", { work: never, waitSeconds: 1 }));
  await listening("idle-four", 4);
  const id = await send(server, "idle-four");
  const told = () => clients.flatMap((client) => client.deliveries);
  await until("one has it", () => told().length === 1);
  // Each comes back with the number it always had, some of them three times.
  const idle = clients.filter((client) => client.deliveries.length === 0);
  await until("windows without work", () => idle.every((client) => client.timeouts.length >= 3));
  expect(told()).toHaveLength(1);
  expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });

  clients.find((client) => client.deliveries.length === 1)?.kill();
  const began = performance.now();
  clients.push(agent("idle-four", { work: never, waitSeconds: 1 }));
  // Whoever it is: one that comes between two windows of another, with the same number, changes places with it.
  await until("one has it again", () => told().length === 2);
  expect(performance.now() - began).toBeLessThan(HOLD_OFF_MS + 15_000);
  const still = clients.filter((client) => client.death === undefined && client.deliveries.length === 0);
  const windows = still.map((client) => client.timeouts.length);
  await until("two more windows each", () =>
    still.every((client, n) => client.timeouts.length >= (windows[n] ?? 0) + 2),
  );
  expect(told()).toHaveLength(2);
  expect(await view(server, id)).toMatchObject({ attempt: 2, lost_deliveries: 1 });
  // Nobody asks more often than windows end.
  for (const client of still) expect(client.requests).toBeLessThanOrEqual(client.timeouts.length + 1);
});

test("a fleet that starts together takes what its predecessors had once, and never the last strike", async () => {
  const ids = [
    await send(server, "fleet"),
    await send(server, "fleet"),
    await send(server, "fleet", { max_delivery_attempts: 1 }),
  ];
  const old = ids.map(() => agent("fleet", { work: never }));
  await until("all have one", () => old.every((client) => client.deliveries.length === 1));
  for (const client of old) client.kill();
  const fleet = Array.from({ length: 5 }, () => agent("fleet", { work: never, waitSeconds: 1 }));
  const told = () => fleet.flatMap((client) => client.deliveries);
  await until("two have work", () => told().length === 2);
  await until("the others wait", () => fleet.filter((client) => client.timeouts.length >= 2).length === 3);
  expect(told()).toHaveLength(2);
  expect((await Promise.all(ids.map((id) => view(server, id)))).map((one) => one.attempt)).toEqual([2, 2, 1]);
});

test("a newcomer whose windows are shorter than the hold-off has waited it out all the same", async () => {
  // With the default hold-off of 2 s, and windows of 1 s.
  const patient = await startSteerableServer();
  try {
    const id = await send(patient, "short");
    const one = startWholeBodyAgent({ url: patient.url, address: "short", work: never });
    await until("the delivery", () => one.deliveries[0]);
    one.kill();
    await patient.moveClock(patient.now() + 1_000);
    const two = startWholeBodyAgent({ url: patient.url, address: "short", work: never, waitSeconds: 1 });
    await until("an empty window", () => two.timeouts.length === 1);
    expect(two.deliveries).toEqual([]);
    await patient.moveClock(patient.now() + 2_000);
    await until("the next one has it", () => two.deliveries[0]);
    expect((await view(patient, id)).attempt).toBe(2);
    two.kill();
  } finally {
    await patient.close();
  }
});

test("what is new comes before what is taken over, and the right to that outlasts it", async () => {
  const old = await send(server, "order");
  const before = agent("order", { work: never });
  await first(before);
  before.kill();
  const fresh = await send(server, "order");
  const client = agent("order", { work: working(server.url) });
  expect(await first(client)).toMatchObject({ intent_id: fresh, attempt: 1 });
  expect(await first(client, 2)).toMatchObject({ intent_id: old, attempt: 2 });
});

test("a client that asks for its next window while it works keeps what it works on", async () => {
  const client = agent("buffer", { buffers: true, work: never, waitSeconds: 1 });
  const ids = [await send(server, "buffer"), await send(server, "buffer")];
  await first(client, 2);
  await until("windows without work", () => client.timeouts.length >= 2);
  for (const id of ids) expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
});

test("other keys at the same address take nothing over", async () => {
  const id = await send(server, "keys");
  const one = agent("keys", { key: "key-of-one", work: never });
  await first(one);
  const other = agent("keys", { key: "key-of-another", waitSeconds: 1 });
  await until("a window without work", () => other.timeouts.length === 2);
  expect((await view(server, id)).attempt).toBe(1);
  one.kill();
  expect(await first(agent("keys", { key: "key-of-one", work: never }))).toMatchObject({ attempt: 2 });
});

test("a late answer of an agent whose work was taken over still counts, whoever says it first", async () => {
  const id = await send(server, "late");
  const slow = agent("late", { work: never });
  await first(slow);
  const taker = agent("late", { work: never });
  await first(taker);
  const late = await post(server, id, "resolve", { status: "COMPLETED", result: { by: "slow" } });
  expect(late.body).toMatchObject({ status: "COMPLETED" });
  const second = await post(server, id, "resolve", { status: "COMPLETED", result: { by: "taker" } });
  expect(second.status).toBe(409);
});

test("a write with the attempt of a delivery that was taken over is refused", async () => {
  const id = await send(server, "stale", { steps: ["a"] });
  await first(agent("stale", { work: never }));
  await first(agent("stale", { work: never }));
  const stale = await step(server, id, "a", { status: "done", attempt: 1 });
  expect(stale).toMatchObject({ status: 409, body: { code: "stale_attempt" } });
});

test("a takeover asks first where an interrupted step says so", async () => {
  const id = await send(server, "doubt", { on_interrupt: "ask" });
  await first(agent("doubt", { work: never }));
  await step(server, id, "charge", { status: "running", attempt: 1 });
  const next = agent("doubt", { waitSeconds: 1 });
  await inStatus(server, id, "WAITING");
  await until("nothing for it", () => next.timeouts.length === 1);
  expect(next.deliveries).toEqual([]);
});

test("the lease is each delivery's own, ends after its time, and is renewed by signs of life of its key", async () => {
  const mine = { account: "agent://local/dev/developer", address: "local/dev/lease" };
  const steered = await startSteerableServer();
  const pass = async (seconds: number) => {
    const { pulse, leases } = steered.sweepers;
    for (let left = seconds; left > 0; left -= 4) {
      await steered.moveClock(steered.now() + Math.min(left, 4) * 1_000);
      // Twice: one that was under way as the clock moved says nothing of the time since.
      for (const worker of [pulse, pulse, leases, leases]) await worker.tick();
    }
  };
  const client = startWholeBodyAgent({ url: steered.url, address: "lease", buffers: true, work: never });
  try {
    const [one, two] = [await send(steered, "lease"), await send(steered, "lease")];
    await until("both", () => client.deliveries.length === 2);
    await pass(290);
    expect(await renewWindowedLeases(steered.engine, { ...mine, account: "another key" })).toBe(0);
    expect(await renewWindowedLeases(steered.engine, { ...mine, address: "local/dev/other" })).toBe(0);
    expect(await renewWindowedLeases(steered.engine, { ...mine, address: null })).toBe(2);
    await pass(200);
    // A write with its attempt is a sign of life of that one.
    await post(steered, two, "heartbeat", { attempt: 1 });
    expect(await typesOf(steered, one)).not.toContain("lost");
    await pass(110);
    const events = await eventsOf(steered, one);
    expect(events.find((event) => event.event_type === "intent.lost")).toMatchObject({
      details: { reason: "lease_expired", lost_deliveries: 1 },
    });
    // Any listener has it then, also one that was there all the time.
    expect((await until("it is back", () => client.deliveries[2])).data).toMatchObject({
      intent_id: one,
      attempt: 2,
    });
    expect(await view(steered, two)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
    await judgeAll(steered, [client]);
  } finally {
    client.kill();
    await steered.close();
  }
});

test("a step that is allowed longer than the lease has its time", async () => {
  const id = await send(server, "long-step");
  await first(agent("long-step", { work: never }));
  await step(server, id, "compute", { status: "running", attempt: 1, timeout_seconds: 3_600 });
  await endLeases();
  expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0, status: "IN_PROGRESS" });
  const { rows } = await server.store.pool.query(
    `select c.lease_until = i.step_deadline as fits from intents i join consumers c on c.id = i.consumer_id where i.id = $1`,
    [id],
  );
  expect(rows).toEqual([{ fits: true }]);
});

test("deliveries that are over leave no consumers behind", async () => {
  const id = await send(server, "tidy");
  const client = agent("tidy", { work: working(server.url) });
  await inStatus(server, id, "COMPLETED");
  await listening("tidy");
  await server.sweepers.leases.tick();
  await server.sweepers.leases.tick();
  const { rows } = await server.store.pool.query("select 1 from consumers where address = 'local/dev/tidy'");
  expect(rows).toEqual([]);
  expect(client.deliveries).toHaveLength(1);
});

test("explain names who has it, and until when", async () => {
  const id = await send(server, "explained");
  await first(agent("explained", { work: never }));
  const { body } = await call(server, "GET", `/v1/intents/${id}/explain`);
  expect(body.holder).toMatchObject({ attempt: 1, consumer: expect.stringMatching(/^window-/) });
  expect(Date.parse(body.holder.lease_until)).toBeGreaterThan(Date.now() + 500_000);
});

test("a claim takes nothing that a window holds before its lease is over", async () => {
  const id = await send(server, "claimed");
  await first(agent("claimed", { work: never }));
  const empty = await call(server, "POST", "/v1/agents/claimed/claim", { wait_seconds: 0 });
  expect(empty.body.deliveries).toEqual([]);
  await endLeases();
  expect(await claimOne(server, "claimed")).toMatchObject({ intent_id: id, attempt: 2 });
});
