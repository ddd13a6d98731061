// What makes a page that people keep open: crashes watched live, a server that comes back, many intents, a lot going on, a slow line.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { launch, open } from "./browser.ts";
import { send } from "./seed.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const MANY = 100_000;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser?.close());

/** An agent in a process of its own, to be killed. */
function startAgent(server: TestServer) {
  return spawn(process.execPath, ["examples/etl/agent.mjs"], {
    cwd: ROOT,
    env: { ...process.env, PERDURE_URL: server.url, ETL_SLOW_MS: "300", NO_COLOR: "1" },
    stdio: "ignore",
  });
}

async function kill(child: ReturnType<typeof startAgent>): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

test("a crash and the redelivery are watched as they happen, without a reload", async () => {
  const server = await startTestServer();
  // Nobody reads from this pipe: the step that writes its file there lasts until its process is killed.
  const folder = mkdtempSync(join(tmpdir(), "perdure-browser-"));
  const output = join(folder, "totals.csv");
  execFileSync("mkfifo", [output]);
  const first = startAgent(server);
  const { page, complaints, close } = await open(browser, `${server.url}/#/intents`);
  const id = await send(server, {
    intent_type: "etl.v1",
    to_agent: "agent://demo/data/etl",
    payload: { input: `${ROOT}examples/etl/data/orders.csv`, output },
    steps: ["extract", "validate", "transform", "load"],
  });
  await page.goto(`${server.url}/#/intents/${id}`);
  await page.evaluate("globalThis.sameDocument = true");
  await page.locator(".steps li", { hasText: "extract" }).getByText("Done").waitFor({ timeout: 30_000 });
  await page.locator(".steps li", { hasText: "load" }).getByText("Running").waitFor({ timeout: 30_000 });
  await kill(first);
  await page.locator(".mark-crash").waitFor({ state: "attached", timeout: 30_000 });
  await page.locator(".tl-bar.kind-interrupted").waitFor();
  rmSync(output);
  const second = startAgent(server);
  await page.locator(".mark-redelivery").waitFor({ state: "attached", timeout: 30_000 });
  await page.locator(".intent-title").getByText("Completed").waitFor({ timeout: 60_000 });
  expect(await page.evaluate("globalThis.sameDocument")).toBe(true);
  expect(complaints).toEqual([]);
  await close();
  await kill(second);
  await server.close();
  rmSync(folder, { recursive: true });
});

test("after a restart of the server the page is current again by itself", async () => {
  const database = await createTestDatabase();
  const before = await startTestServer({ databaseUrl: database.url });
  const { port } = new URL(before.url);
  const first = await send(before, { intent_type: "first.v1", to_agent: "x" });
  const { page, complaints, close } = await open(browser, `${before.url}/`);
  await page.locator(`[data-row="${first}"]`).waitFor();
  await page.getByText("Live").waitFor();
  // Further down than the first page: whoever reads there is not thrown back to the top.
  const batch = Array.from({ length: 250 }, () => ({ intent_type: "many.v1", to_agent: "x" }));
  await call(before, "POST", "/v1/intents/batch", { intents: batch });
  await until("all rows", async () => {
    await page.evaluate("document.querySelector('.grid').scrollTop = 1e9");
    return page.getByText("251 rows loaded").isVisible();
  });
  const place = () => page.evaluate<number>("document.querySelector('.grid').scrollTop");
  const was = await place();
  await before.close();
  await page.getByText("Reconnecting").waitFor();
  // News that no stream has told: another server takes it meanwhile.
  const meanwhile = await startTestServer({ databaseUrl: database.url });
  const missed = await send(meanwhile, { intent_type: "missed.v1", to_agent: "x" });
  await meanwhile.close();
  const again = await startTestServer({ databaseUrl: database.url, port: Number(port) });
  await page.getByText("Live").waitFor({ timeout: 30_000 });
  await page.getByText("252 rows loaded").waitFor();
  expect(await place()).toBeGreaterThanOrEqual(was);
  await page.evaluate("document.querySelector('.grid').scrollTop = 0");
  await page.locator(`[data-row="${missed}"]`).waitFor();
  const told = await send(again, { intent_type: "told.v1", to_agent: "x" });
  await page.locator(`[data-row="${told}"]`).waitFor();
  expect(complaints).toEqual([]);
  await close();
  await again.close();
  await database.drop();
});

/** Rows as the server would have written them, in one go. */
async function fill(databaseUrl: string, count: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(
    `insert into intent_data (id, namespace, from_agent, to_agent, to_agent_as_sent, intent_type, payload, created_at)
      select gen_random_uuid(), 'local/dev', 'agent://local/dev/developer', 'local/dev/many', 'many', 'many.v' || n % 7,
        json_build_object('n', n), now() - make_interval(secs => n) from generate_series(1, $1::int) n`,
    [count],
  );
  await client.query(
    `insert into intents (id, namespace, to_agent, intent_type, status, seq, attempt, generation, started, strikes, total_losses,
        retries_used, releases, priority, queue_at, paused, plan_cursor, steps_count, steps_total, steps_done, open_steps,
        refused_attempt, max_delivery_attempts, created_at, updated_at)
      select id, namespace, to_agent, intent_type, 'CANCELED', 3, 0, 0, false, 0, 0, 0, 0, 0, created_at, false, 0, 0, 0, 0, '{}', 0, 3,
        created_at, created_at from intent_data where to_agent = 'local/dev/many'`,
  );
  await client.query("analyze");
  await client.end();
}

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly pid: number;
  readonly tid: number;
  readonly dur?: number;
  /** Of the processor's time: what others on the machine do is not in it. */
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/** The longest task of a page's main thread, in milliseconds, from a trace. */
function longestTask(trace: Buffer): number {
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: readonly TraceEvent[] };
  const mains = new Set(
    traceEvents
      .filter(({ name, args }) => name === "thread_name" && args?.name === "CrRendererMain")
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasks = traceEvents.filter(
    ({ name, ph, pid, tid }) => ph === "X" && name.endsWith("RunTask") && mains.has(`${pid} ${tid}`),
  );
  expect(tasks.length).toBeGreaterThan(100);
  return Math.max(...tasks.map(({ tdur, dur }) => (tdur ?? dur ?? 0) / 1_000));
}

test("a hundred thousand intents are scrolled through, few of them in the document", async () => {
  const server = await startTestServer();
  await fill(server.databaseUrl, MANY);
  const { page, complaints, close } = await open(browser, `${server.url}/`);
  await page.locator(".counts").getByText("100,000").first().waitFor({ timeout: 30_000 });
  await page.locator(".grid-body .row").first().waitFor();
  await page.getByText("Live").waitFor();
  const inDocument = () => page.locator(".grid-body .row").count();
  for (let turn = 0; turn < 20; turn += 1) {
    const loaded = await page.evaluate("document.querySelector('.grid-body').clientHeight");
    await page.evaluate("document.querySelector('.grid').scrollTop = 1e9");
    await until("the next page", () =>
      page.evaluate(`document.querySelector('.grid-body').clientHeight > ${String(loaded)}`),
    );
  }
  expect(await inDocument()).toBeLessThan(80);
  await page.getByText(/2,\d00 rows loaded/).waitFor();
  await page.getByLabel("Order").selectOption("oldest");
  await page.locator(".grid-body .row").getByText("1 d").first().waitFor();
  await page.getByLabel("Order").selectOption("recently_changed");
  await page.getByText(/more intents than the [\d,]+ that were sorted/).waitFor({ timeout: 30_000 });
  await page.locator("#search").fill("many.v3");
  await until("only those", async () =>
    (await page.locator(".c-type").allInnerTexts()).every((text) => text.trim() === "many.v3"),
  );
  expect(complaints).toEqual([]);
  await close();
  await server.close();
}, 300_000);

test("two hundred events a second keep no task busy for over 100 ms", async () => {
  const server = await startTestServer();
  for (let n = 0; n < 5; n += 1)
    await call(server, "POST", "/v1/intents/batch", {
      intents: Array.from({ length: 200 }, () => ({ intent_type: "busy.v1", to_agent: "x" })),
    });
  const { page, complaints, close } = await open(browser, `${server.url}/`);
  await page.locator(".grid-body .row").first().waitFor();
  await page.getByText("Live").waitFor();
  await browser.startTracing(page, { categories: ["toplevel"] });
  const seen = "document.querySelector('.counts button .num').textContent";
  const began = performance.now();
  let events = 0;
  while (performance.now() - began < 10_000) {
    // Two events each.
    const intents = Array.from({ length: 25 }, () => ({ intent_type: "busy.v1", to_agent: "x" }));
    await call(server, "POST", "/v1/intents/batch", { intents });
    events += 50;
    const ahead = events / 200 - (performance.now() - began) / 1000;
    if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead * 1000));
  }
  expect(events).toBeGreaterThan(1_500);
  const total = (1_000 + events / 2).toLocaleString("en-US");
  await until("the page has seen it all", async () => (await page.evaluate(seen)) === total, 20_000);
  const longest = longestTask(await browser.stopTracing());
  console.log(`longest task ${longest.toFixed(1)} ms at ${Math.round(events / 10)} events a second`);
  expect(longest).toBeLessThan(100);
  expect(complaints).toEqual([]);
  await close();
  await server.close();
});

test("on a line with 200 ms delay an intent is there within three round trips", async () => {
  const server = await startTestServer();
  const id = await send(server, { intent_type: "far.v1", to_agent: "x" });
  const { page, context, complaints, close } = await open(browser, `${server.url}/#/intents`);
  await page.locator(".grid-body .row").first().waitFor();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  await devtools.send("Network.emulateNetworkConditions", {
    offline: false,
    latency: 200,
    downloadThroughput: -1,
    uploadThroughput: -1,
  });
  const began = performance.now();
  await page.locator(`[data-row="${id}"]`).click();
  await page.getByRole("heading", { name: "far.v1" }).waitFor();
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(complaints).toEqual([]);
  await close();
  await server.close();
});
