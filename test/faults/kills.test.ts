// Agents and servers killed with real signals: what was done stays done, what was in doubt runs again with its key.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { eventsOf, inStatus, send, typesOf, view } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { call, until } from "../support/server.ts";
import {
  endAll,
  freePort,
  type Hold,
  type Ledger,
  openLedger,
  type Process,
  startAgent,
  startServer,
} from "./processes.ts";

let database: TestDatabase;
let port: number;
let server: Process;
let at: { url: string };
let ledger: Ledger;
beforeAll(async () => {
  database = await createTestDatabase();
  port = await freePort();
  at = { url: `http://127.0.0.1:${port}` };
  server = await startServer(database.url, port);
});
beforeEach(() => {
  ledger = openLedger();
});
afterEach(async () => {
  await endAll(server);
  ledger.remove();
});
afterAll(async () => {
  await endAll();
  await database.drop({ openConnections: "close" });
});

const sum = (n: number) => (n * (n + 1)) / 2;

async function expectCompleted(id: string, steps: number) {
  const intent = await until("completed", async () => {
    const now = await view(at, id);
    return now.status === "COMPLETED" && now;
  });
  expect(intent.result).toEqual({ sum: sum(steps) });
  const events = await eventsOf(at, id);
  expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
  const done = events.filter((event) => event.event_type === "intent.step_done");
  expect(done.map((event) => event.details.key)).toEqual(
    Array.from({ length: steps }, (_, n) => `s${n + 1}`),
  );
  return { intent, events };
}

/** Each step ran once, but those in doubt, which ran at most twice, always with one key. */
function expectLedger(steps: number, inDoubt: readonly string[], most = 2): void {
  const counts = ledger.counts();
  for (let n = 1; n <= steps; n += 1) {
    const count = counts.get(`s${n}`) ?? 0;
    if (inDoubt.includes(`s${n}`)) {
      expect(count, `runs of s${n}`).toBeGreaterThanOrEqual(1);
      expect(count, `runs of s${n}`).toBeLessThanOrEqual(most);
    } else expect(count, `runs of s${n}`).toBe(1);
  }
  const keys = new Map<string, Set<string>>();
  for (const { step, key } of ledger.lines()) keys.set(step, (keys.get(step) ?? new Set()).add(key));
  for (const [step, used] of keys) expect(used.size, `keys of ${step}`).toBe(1);
}

const PLACES: { place: string; hold: Hold; inDoubt: string[] }[] = [
  { place: "before it begins", hold: { when: "before", step: "begin" }, inDoubt: [] },
  { place: "during a step", hold: { when: "during", step: "s2" }, inDoubt: ["s2"] },
  { place: "after a step is done", hold: { when: "after", step: "s2" }, inDoubt: [] },
  { place: "before it completes", hold: { when: "before", step: "complete" }, inDoubt: [] },
];

for (const { place, hold, inDoubt } of PLACES) {
  test(`an agent killed ${place} is replaced by the next`, async () => {
    const address = `kill-${place.replaceAll(" ", "-")}`;
    const id = await send(at, address, { payload: { steps: 3 } });
    const first = startAgent(at.url, address, ledger, hold);
    await first.says("holding");
    first.kill("SIGKILL");
    await first.over;
    startAgent(at.url, address, ledger);
    const { intent, events } = await expectCompleted(id, 3);
    expect(intent).toMatchObject({ attempt: 2 });
    expect(events.filter((event) => event.event_type === "intent.lost")).toHaveLength(1);
    expectLedger(3, inDoubt);
  });
}

test("an agent killed in step 47 of 50: 1 to 46 ran once, 47 at most twice with one key, 48 to 50 once", async () => {
  const id = await send(at, "headline", { payload: { steps: 50 } });
  const first = startAgent(at.url, "headline", ledger, { when: "during", step: "s47" });
  await first.says("holding during s47");
  first.kill("SIGKILL");
  await first.over;
  startAgent(at.url, "headline", ledger);
  await expectCompleted(id, 50);
  expectLedger(50, ["s47"]);
  expect(ledger.counts().get("s47")).toBe(2);
});

test("an agent killed five times at random places repeats only the steps it was killed in", async () => {
  const seed = Number(process.env.FAULT_SEED ?? Date.now() % 1_000_000);
  console.info(`FAULT_SEED=${seed}`);
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const steps = 50;
  const id = await send(at, "random-kills", { payload: { steps } });
  const places = Array.from({ length: 5 }, () => 1 + Math.floor(random() * steps)).sort((a, b) => a - b);
  const distinct = [...new Set(places)];
  for (const n of distinct) {
    const doomed = startAgent(at.url, "random-kills", ledger, {
      when: random() < 0.5 ? "during" : "after",
      step: `s${n}`,
    });
    await doomed.says("holding");
    doomed.kill("SIGKILL");
    await doomed.over;
  }
  startAgent(at.url, "random-kills", ledger);
  await expectCompleted(id, steps);
  expectLedger(
    steps,
    distinct.map((n) => `s${n}`),
  );
});

test("a server killed while a step runs: the agent reconnects and nothing runs again", async () => {
  const id = await send(at, "server-kill", { payload: { steps: 3 } });
  const agent = startAgent(at.url, "server-kill", ledger, { when: "during", step: "s2" });
  await agent.says("holding during s2");
  server.kill("SIGKILL");
  await server.over;
  server = await startServer(database.url, port);
  writeFileSync(join(ledger.directory, "go-on"), "");
  const { intent } = await expectCompleted(id, 3);
  expect(intent).toMatchObject({ attempt: 1, lost_deliveries: 0 });
  expectLedger(3, []);
});

test("a server killed under an idle stream: the agent comes back by itself and gets the next intent", async () => {
  const agent = startAgent(at.url, "mid-stream", ledger);
  await agent.says("ready");
  server.kill("SIGKILL");
  await server.over;
  server = await startServer(database.url, port);
  const id = await send(at, "mid-stream", { payload: { steps: 2 } });
  const { intent } = await expectCompleted(id, 2);
  expect(intent.attempt).toBe(1);
});

test.each(["SIGTERM", "SIGHUP"] as const)(
  "a server stopped with %s costs its agents nothing",
  async (signal) => {
    const id = await send(at, "server-stop", { payload: { steps: 3 } });
    const agent = startAgent(at.url, "server-stop", ledger, { when: "during", step: "s2" });
    await agent.says("holding during s2");
    server.kill(signal);
    expect(await server.over).toBe(0);
    server = await startServer(database.url, port);
    writeFileSync(join(ledger.directory, "go-on"), "");
    const { intent } = await expectCompleted(id, 3);
    expect(intent).toMatchObject({ attempt: 1, lost_deliveries: 0 });
    expectLedger(3, []);
  },
);

test("server and agent killed together: the next agent goes on where they died", async () => {
  const id = await send(at, "both-kill", { payload: { steps: 4 } });
  const agent = startAgent(at.url, "both-kill", ledger, { when: "during", step: "s3" });
  await agent.says("holding during s3");
  server.kill("SIGKILL");
  agent.kill("SIGKILL");
  await Promise.all([server.over, agent.over]);
  server = await startServer(database.url, port);
  startAgent(at.url, "both-kill", ledger);
  const { intent } = await expectCompleted(id, 4);
  expect(intent.attempt).toBe(2);
  expectLedger(4, ["s3"]);
});

test("an agent stopped with SIGTERM hands back behind its step; the hand-back is no loss", async () => {
  const id = await send(at, "graceful", { payload: { steps: 3 }, max_delivery_attempts: 1 });
  const agent = startAgent(at.url, "graceful", ledger, { when: "during", step: "s2" });
  await agent.says("holding during s2");
  agent.kill("SIGTERM");
  writeFileSync(join(ledger.directory, "go-on"), "");
  await agent.over;
  const types = await typesOf(at, id);
  expect(types).toContain("released");
  expect(types).not.toContain("lost");
  startAgent(at.url, "graceful", ledger);
  await expectCompleted(id, 3);
  expectLedger(3, []);
});

test("a zombie that wakes after another finished can write nothing", async () => {
  const id = await send(at, "zombie", { payload: { steps: 3 } });
  const zombie = startAgent(at.url, "zombie", ledger, { when: "during", step: "s2" });
  await zombie.says("holding during s2");
  zombie.kill("SIGSTOP");
  await until("its lease ends", async () => (await typesOf(at, id)).includes("lost"));
  const other = startAgent(at.url, "zombie", ledger);
  const finished = await expectCompleted(id, 3);
  writeFileSync(join(ledger.directory, "go-on"), "");
  zombie.kill("SIGCONT");
  const late = [
    await call(at, "PUT", `/v1/intents/${id}/steps/s9`, { status: "running", attempt: 1 }),
    await call(at, "PUT", `/v1/intents/${id}/steps/s9`, { status: "done", attempt: 1, result: 99 }),
    await call(at, "PUT", `/v1/intents/${id}/steps/s9`, { status: "failed", attempt: 1, error: "late" }),
    await call(at, "POST", `/v1/intents/${id}/progress`, { attempt: 1, message: "late" }),
    await call(at, "POST", `/v1/intents/${id}/release`, { attempt: 1 }),
    await call(at, "POST", `/v1/intents/${id}/resolve`, { status: "COMPLETED", attempt: 1, result: 99 }),
  ];
  for (const answer of late) expect([answer.status, answer.body.code]).toEqual([409, "stale_attempt"]);
  // Awake again, it stays usable: it learns of the loss and takes new work.
  other.kill("SIGKILL");
  await other.over;
  const next = await send(at, "zombie", { payload: { steps: 1 } });
  await inStatus(at, next, "COMPLETED");
  const after = await inStatus(at, id, "COMPLETED");
  expect(after.result).toEqual(finished.intent.result);
  expect((await eventsOf(at, id)).filter((event) => event.event_type === "intent.step_done")).toHaveLength(3);
  expect(ledger.counts().get("s2")).toBe(2);
});
