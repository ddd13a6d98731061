// The mesh: agents that say that they are well, and operators that kill and resume them; and our own view of agents.
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, inStatus, listen, post, send, step, typesOf, view } from "../delivery/listener.ts";
import { type Headers, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { AxpClient } from "./clients/rest.ts";
import { valid } from "./schemas.ts";

let server: TestServer;
let axp: AxpClient;
beforeAll(async () => {
  server = await startTestServer();
  axp = new AxpClient(server.url);
});
afterAll(async () => {
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
  await server.close();
});

// biome-ignore lint/suspicious/noExplicitAny: an answer
const agentOf = (answer: any, name: string) =>
  answer.agents.find((agent: { address: string }) => agent.address.endsWith(`/${name}`));

/** Whether anything is there to be claimed at once. */
const claims = async (address: string) =>
  (await call(server, "POST", `/v1/agents/${address}/claim`, { consumer: "c", wait_seconds: 0 })).body
    .deliveries.length;

test("a heartbeat shows its agent as healthy, with what it tells of its work", async () => {
  const call = { ownerAgent: "agent://local/dev/beating" };
  const answer = valid("heartbeat", await axp.heartbeat(undefined, call));
  expect(answer).toMatchObject({ health_status: "healthy", address: "agent://local/dev/beating" });
  const metrics = {
    intents_total: 3,
    intents_succeeded: 2,
    intents_failed: 1,
    avg_latency_ms: 12.5,
    cost_usd: 0.25,
  };
  await axp.heartbeat(metrics, call);
  await axp.heartbeat(metrics, call);
  const listed = valid("meshAgents", await axp.listAgents("?window=week"));
  const agent = agentOf(listed, "beating");
  expect(agent).toMatchObject({ health_status: "healthy", intents_period: 6, cost_period: 0.5 });
  expect(listed.summary.healthy).toBeGreaterThan(0);
  const { metrics: told } = valid("meshAgent", await axp.getAgent(agent.address_id));
  expect(told).toMatchObject({ intents_total: 6, intents_succeeded: 4, intents_failed: 2, cost_usd: 0.5 });
  const only = await axp.listAgents("?health=unreachable");
  expect(agentOf(only, "beating")).toBeUndefined();
});

test("whoever listens is healthy without a word", async () => {
  const listener = await listen(server, "listening");
  expect(agentOf(await axp.listAgents(), "listening")).toMatchObject({
    health_status: "healthy",
    metadata: { listeners: 1 },
  });
  listener.cut();
});

test("to a killed agent nothing is delivered, neither old nor new, by stream or by claim, until it is resumed", async () => {
  const listener = await listen(server, "victim", { capacity: 5 });
  const first = await send(server, "victim");
  await listener.next("intent.delivered");
  const { address_id } = agentOf(await axp.listAgents(), "victim");
  const killed = valid("meshVerb", await axp.kill(address_id));
  expect(killed.health_status).toBe("killed");
  expect(valid("heartbeat", await axp.heartbeat(undefined, { ownerAgent: "victim" })).health_status).toBe(
    "killed",
  );
  const later = await send(server, "victim");
  expect(await claims("victim")).toBe(0);
  // A whole round of claims later it still has only what it had.
  await send(server, "bystander");
  await claimOne(server, "bystander");
  expect(listener.deliveries().map((frame) => frame.data.intent_id)).toEqual([first]);
  expect((await view(server, later)).status).toBe("SUBMITTED");
  const { summary } = (await call(server, "GET", `/v1/intents/${later}/explain`)).body;
  expect(summary).toMatch(/waits until agent:\/\/local\/dev\/victim is unpaused/);
  expect(valid("meshVerb", await axp.revive(address_id)).health_status).toBe("healthy");
  expect((await listener.next("intent.delivered", 2)).data.intent_id).toBe(later);
  listener.cut();
});

test("what a killed agent holds is paused with it: it is told, begins nothing more, and hands back", async () => {
  const listener = await listen(server, "holder", { ack: "explicit" });
  const id = await send(server, "holder", { steps: ["a", "b"] });
  await listener.next("intent.delivered");
  await post(server, id, "start", { attempt: 1 });
  expect(await axp.kill("agent://local/dev/holder")).toMatchObject({ ok: true, changed: 1 });
  await listener.next("intent.paused");
  expect(await view(server, id)).toMatchObject({ paused: true, paused_by: ["agent"] });
  // Its current step is recorded, and the next one is not begun.
  await step(server, id, "a", { status: "done", attempt: 1, result: 1, begin_next: true });
  expect(await typesOf(server, id)).toContain("released");
  expect((await post(server, id, "start", { attempt: 1 })).status).toBe(409);
  await axp.revive("agent://local/dev/holder");
  const again = await listener.next("intent.delivered", 2);
  expect(again.data).toMatchObject({
    intent_id: id,
    attempt: 2,
    lost_deliveries: 0,
    next_step: { key: "b" },
  });
  expect((await view(server, id)).paused).toBe(false);
  listener.cut();
});

test("an intent that its operator paused stays paused when its agent is resumed", async () => {
  const id = await send(server, "both");
  await claimOne(server, "both", { lease_seconds: 60 });
  await post(server, id, "pause");
  await call(server, "POST", "/v1/agents/both/pause", { reason: "too many" });
  expect((await view(server, id)).paused_by).toEqual(["intent", "agent"]);
  await call(server, "POST", "/v1/agents/both/unpause");
  expect(await view(server, id)).toMatchObject({ paused: true, paused_by: ["intent"] });
  await post(server, id, "unpause");
});

test("what begins while its agent is killed waits with it: retries, wakes, delays", async () => {
  const failed = await send(server, "asleep");
  await post(server, failed, "resolve", { status: "FAILED" });
  const sleeping = await send(server, "asleep");
  const delayed = await send(server, "asleep", { deliver_at: new Date(Date.now() + 150).toISOString() });
  const { intent_id, attempt } = await claimOne(server, "asleep");
  expect(intent_id).toBe(sleeping);
  await step(server, sleeping, "nap", { status: "waiting", attempt, wait: { seconds: 0.05 } });
  await axp.kill("agent://local/dev/asleep");
  await post(server, failed, "retry");
  await inStatus(server, sleeping, "IN_PROGRESS");
  expect(await claims("asleep")).toBe(0);
  await axp.revive("agent://local/dev/asleep");
  const got: string[] = [];
  for (let i = 0; i < 3; i += 1)
    got.push((await claimOne(server, "asleep", { consumer: `c${i}` })).intent_id);
  expect(got.sort()).toEqual([failed, sleeping, delayed].sort());
});

test("kills and resumes are events of the mesh, once each, with who and why", async () => {
  const path = "/v1/mesh/agents/agent%3A%2F%2Flocal%2Fdev%2Ftold";
  await call(server, "POST", `${path}/kill`, { reason: "it sends too much mail" });
  await call(server, "POST", `${path}/kill`);
  await call(server, "POST", `${path}/resume`);
  await call(server, "POST", `${path}/resume`);
  const { events } = valid("meshEvents", await axp.meshEvents("?limit=100"));
  const told = events.filter((event: { address: string }) => event.address.endsWith("/told"));
  expect(told).toMatchObject([
    { event_type: "agent.resumed" },
    { event_type: "agent.killed", details: { reason: "it sends too much mail" } },
  ]);
  const kills = await axp.meshEvents("?event_type=agent.killed");
  expect(kills.events.every((event: { event_type: string }) => event.event_type === "agent.killed")).toBe(
    true,
  );
  const { body } = await call(server, "GET", "/v1/audit?limit=100");
  expect(body.entries.map((entry: { action: string }) => entry.action)).toContain("agent.pause");
});

test("an agent is named by its id, its whole address or its short one, encoded or not", async () => {
  for (const named of [
    "named",
    "agent://local/dev/named",
    "agent%3A%2F%2Flocal%2Fdev%2Fnamed",
    "local/dev/named",
  ]) {
    const { agent } = valid("meshAgent", await axp.getAgent(named));
    expect(agent.address).toBe("agent://local/dev/named");
    expect(valid("meshAgent", await axp.getAgent(agent.address_id)).agent.address_id).toBe(agent.address_id);
  }
  const { agent } = (await call(server, "GET", "/v1/agents/local/dev/named")).body;
  expect(agent).toMatchObject({ address: "agent://local/dev/named", paused: false, listeners: 0, queued: 0 });
  expect((await call(server, "POST", "/v1/mesh/agents/local/dev/named/dance")).status).toBe(404);
});

test("agents are listed in pages, by address", async () => {
  const seen: string[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const path: string = `/v1/agents?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`;
    const { body } = await call(server, "GET", path);
    seen.push(...body.agents.map((agent: { address: string }) => agent.address));
    cursor = body.next_cursor;
  }
  expect(seen.length).toBeGreaterThan(4);
  expect(seen).toEqual([...new Set(seen)].sort());
});

test("an agent that was paused is as well paused after a restart, and for another server", async () => {
  const databaseUrl = server.databaseUrl;
  await axp.kill("agent://local/dev/kept");
  const second = await startTestServer({ databaseUrl });
  try {
    const id = await send(second, "kept");
    const taken = await call(second, "POST", "/v1/agents/kept/claim", { consumer: "c", wait_seconds: 0.2 });
    expect(taken.body.deliveries).toEqual([]);
    await axp.revive("agent://local/dev/kept");
    expect((await claimOne(second, "kept")).intent_id).toBe(id);
  } finally {
    await second.close();
  }
});

test("agents of others are neither seen nor stopped", async () => {
  const keyed = await startKeyedServer();
  try {
    const boss = await issueKey(keyed, "acme/prod/boss", ["read", "operate"]);
    const worker = await issueKey(keyed, "acme/prod/worker", ["act", "read"]);
    const stranger = await issueKey(keyed, "other/prod/boss", ["act", "read", "operate", "admin"]);
    const as = (who: { headers: Headers }, method: string, path: string) =>
      call(keyed, method, path, method === "POST" ? {} : undefined, who.headers);
    await as(worker, "POST", "/v1/mesh/heartbeat");
    const listed = async (who: { headers: Headers }, path: string) =>
      (await as(who, "GET", path)).body.agents;
    for (const path of ["/v1/mesh/agents", "/v1/agents"]) {
      expect(await listed(boss, path)).toHaveLength(1);
      expect(await listed(worker, path)).toHaveLength(1);
      expect(await listed(stranger, path)).toEqual([]);
    }
    const target = "/v1/mesh/agents/agent%3A%2F%2Facme%2Fprod%2Fworker";
    expect((await as(stranger, "GET", target)).status).toBe(403);
    expect((await as(stranger, "POST", `${target}/kill`)).status).toBe(403);
    expect((await as(worker, "POST", `${target}/kill`)).status).toBe(403);
    expect((await as(boss, "POST", `${target}/kill`)).status).toBe(200);
    expect((await as(stranger, "GET", "/v1/mesh/events")).body.events).toEqual([]);
    expect((await as(boss, "GET", "/v1/mesh/events")).body.events).toHaveLength(1);
  } finally {
    await keyed.close();
  }
});
