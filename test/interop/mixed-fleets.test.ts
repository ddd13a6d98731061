// Agents of AXME's SDKs and of ours at one address, and each other's initiators.
import { afterAll, beforeAll, expect, test } from "vitest";
import { PerdureClient } from "../../sdk/src/index.ts";
import { inStatus, listen, send, step, typesOf, view } from "../delivery/listener.ts";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { call, until } from "../support/server.ts";
import { startObserver } from "./clients/observers.ts";
import { agent, endLeases, never, server, useServer, WINDOW_TIMES, working } from "./stage.ts";

useServer();

const QUIET = { handleSignals: false, drainTimeout: "2s" } as const;

let client: PerdureClient;
beforeAll(() => {
  client = new PerdureClient({ baseUrl: server.url, logger: false });
});
afterAll(() => client.close());

test("an agent of either kind takes each intent once, and both get some", async () => {
  const here: string[] = [];
  const live = client.listen(
    "mixed",
    async (ctx) => {
      here.push(ctx.id);
      return { by: "live" };
    },
    QUIET,
  );
  await live.ready;
  const windowed = agent("mixed", { work: working(server.url, () => ({ by: "window" })) });
  await until("both listen", () => server.windows.count("local/dev/mixed") === 1);
  const ids = await Promise.all(Array.from({ length: 12 }, () => send(server, "mixed")));
  for (const id of ids) await inStatus(server, id, "COMPLETED");
  const there = windowed.deliveries.map((one) => one.intentId);
  expect([...here, ...there].sort()).toEqual([...ids].sort());
  expect(here.length).toBeGreaterThan(0);
  expect(there.length).toBeGreaterThan(0);
  for (const id of ids) expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
  await live.stop();
});

test("a live agent has what a window holds only when that lease is over", async () => {
  const windowed = agent("patience", { work: never });
  const id = await send(server, "patience");
  await until("it is at work", () => windowed.deliveries.length === 1);
  const live = await listen(server, "patience", { consumer: "live", incarnation: "1" });
  windowed.kill();
  await server.sweepers.leases.tick();
  expect(live.deliveries()).toEqual([]);
  await endLeases();
  expect((await live.next("intent.delivered")).data).toMatchObject({
    intent_id: id,
    attempt: 2,
    lost_deliveries: 1,
  });
  live.cut();
});

test("no window takes what a live agent holds, and what that loses is everybody's again", async () => {
  const live = await listen(server, "live", { consumer: "live", incarnation: "1" });
  const id = await send(server, "live");
  await live.next("intent.delivered");
  const newcomer = agent("live", { waitSeconds: 1 });
  await until("windows without work", () => newcomer.timeouts.length === 2);
  expect(await view(server, id)).toMatchObject({ attempt: 1, lost_deliveries: 0 });
  expect(newcomer.deliveries).toEqual([]);
  expect((await step(server, id, "a", { status: "done", attempt: 1 })).status).toBe(200);
  live.cut();
  const delivery = await until("the grace is over", () => newcomer.deliveries[0]);
  expect(delivery).toMatchObject({ intentId: id, status: "IN_PROGRESS", data: { attempt: 2 } });
});

test("an agent's own key ends without an attempt what came through its window, and not what a live agent holds", async () => {
  const keyed = await startKeyedServer({ env: WINDOW_TIMES });
  try {
    const { text, headers } = await issueKey(keyed, "local/dev/own", ["act", "send", "read"]);
    const create = async () =>
      (await call(keyed, "POST", "/v1/intents", { intent_type: "a.v1", to_agent: "own" }, headers)).body
        .intent_id;
    const resolve = (id: string) =>
      call(keyed, "POST", `/v1/intents/${id}/resolve`, { status: "COMPLETED", result: 1 }, headers);
    const windowed = agent("own", { url: keyed.url, key: text, work: never });
    const first = await create();
    await until("it is at work", () => windowed.deliveries.length === 1);
    expect(await resolve(first)).toMatchObject({ status: 200, body: { status: "COMPLETED" } });
    windowed.kill();
    const live = await listen(keyed, "own", { consumer: "live", incarnation: "1" }, headers);
    const second = await create();
    await live.next("intent.delivered");
    expect(await resolve(second)).toMatchObject({ status: 409, body: { code: "attempt_required" } });
    live.cut();
  } finally {
    await keyed.close();
  }
});

test("an initiator that polls and an agent of ours finish a plan together", async () => {
  const created = await call(server, "POST", "/v1/intents", {
    intent_type: "plan.v1",
    to_agent: "agent://local/dev/planned",
    payload: { n: 2 },
    steps: ["one", "two"],
    correlation_id: "corr-1",
  });
  const observer = startObserver({ url: server.url, intentId: created.body.intent_id, kind: "polling" });
  const live = client.listen("planned", { one: async () => 1, two: async () => 2 }, QUIET);
  expect((await observer.done).type).toBe("intent.completed");
  expect(await typesOf(server, created.body.intent_id)).toContain("step_done");
  await live.stop();
});

test("an initiator of ours waits for an agent that asks for windows", async () => {
  const windowed = agent("awaited", { work: working(server.url, ({ data }) => data.intent.payload) });
  const id = await client.sendIntent({
    intentType: "echo.v1",
    toAgent: "awaited",
    payload: { text: "hello" },
  });
  const outcome = await client.waitFor(id, { timeout: "40s" });
  expect(outcome).toMatchObject({ status: "COMPLETED", result: { text: "hello" } });
  expect(windowed.death).toBeUndefined();
});
