// Senders and operators against a real server: one call that never loses work, and the truth about it afterwards.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type IntentEvent, PerdureClient, PerdureError } from "../../sdk/src/index.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";
import { createNetwork } from "./network.ts";

let server: TestServer;
let client: PerdureClient;

beforeAll(async () => {
  server = await startTestServer();
  client = new PerdureClient({ baseUrl: server.url, logger: false });
});
afterAll(async () => {
  await client?.close();
  await server?.close();
});

const hello = { intentType: "hello", toAgent: "greeter", payload: { name: "world" } } as const;
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "no error",
    (error: unknown) => (PerdureError.is(error) ? error.code : `not ours: ${error}`),
  );

describe("sending", () => {
  it("answers the same id for the same key, and refuses another body under it", async () => {
    const once = { ...hello, idempotencyKey: "order-1" };
    const id = await client.sendIntent(once);
    expect(await client.sendIntent(once)).toBe(id);
    expect(await codeOf(client.sendIntent({ ...once, payload: { name: "else" } }))).toBe(
      "idempotency_mismatch",
    );
  });

  it("creates one intent even when the answer is lost", async () => {
    const network = createNetwork(server.url);
    let lost = 0;
    const losing: typeof fetch = async (input, init) => {
      const response = await network.fetch(input, init);
      if (init?.method === "POST" && lost++ === 0) throw new TypeError("the connection was cut");
      return response;
    };
    const unlucky = new PerdureClient({ baseUrl: server.url, fetch: losing, logger: false });
    const id = await unlucky.sendIntent({ ...hello, session: "lost-answer" });
    const found: string[] = [];
    for await (const intent of unlucky.listIntents({ session: "lost-answer" })) found.push(intent.id);
    expect([lost, found]).toEqual([2, [id]]);
  });

  it("sends several in one commit, all or none, and names a list by its keys", async () => {
    const list = ["a", "b", "c"].map((name) => ({
      ...hello,
      payload: { name },
      idempotencyKey: `list-${name}`,
    }));
    const ids = await client.sendIntents(list);
    expect(new Set(ids).size).toBe(3);
    expect((await client.getIntent(ids[1] ?? "")).payload).toEqual({ name: "b" });
    expect(await client.sendIntents(list)).toEqual(ids);
    const bad = { ...hello, session: "all-or-none", maxDeliveryAttempts: 0 };
    expect(await codeOf(client.sendIntents([{ ...hello, session: "all-or-none" }, bad]))).toBe(
      "validation_failed",
    );
    for await (const intent of client.listIntents({ session: "all-or-none" })) expect.unreachable(intent.id);
    expect(await client.sendIntents([])).toEqual([]);
  });

  it("carries every option to the server", async () => {
    const id = await client.sendIntent({
      ...hello,
      steps: [
        "one",
        { key: "two", title: "Two", timeout: "5s", onInterrupt: "ask", retry: { maxRetries: 2 } },
      ],
      session: "s1",
      priority: 3,
      deliverAt: new Date(Date.now() + 3_600_000),
      ttl: "2h",
      attemptTimeout: "1.5s",
      maxDeliveryAttempts: 7,
      retry: { maxRetries: 2, initialDelay: "1s", factor: 3, maxDelay: "1m" },
      onInterrupt: "fail",
      replyTo: "sender",
      metadata: { team: "blue" },
      correlationId: "c1",
    });
    expect(await client.getIntent(id)).toMatchObject({
      id,
      intentType: "hello",
      status: "SUBMITTED",
      toAgent: "greeter",
      payload: { name: "world" },
      paused: false,
      session: "s1",
      attempt: 0,
      maxDeliveryAttempts: 7,
      progress: { done: 0, total: 2 },
      metadata: { team: "blue" },
    });
  });

  it("says what is wrong with an input before or instead of sending it", async () => {
    expect(await codeOf(client.sendIntent({ ...hello, toAgent: "" }))).toBe("validation_failed");
    expect(await codeOf(client.sendIntent({ ...hello, ttl: "soon" as "1s" }))).toBe("validation_failed");
    expect(await codeOf(client.sendIntent({ ...hello, payload: "text" }))).toBe("validation_failed");
  });

  it("gives up with a clear error when nobody answers", async () => {
    const alone = new PerdureClient({ baseUrl: "http://127.0.0.1:9", maxRetries: 1, logger: false });
    const error = await alone.sendIntent(hello).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "unreachable", retryable: true });
    expect((error as Error).message).toContain("http://127.0.0.1:9");
  });
});

describe("waitFor", () => {
  it("throws wait_timeout, leaves the intent alone, and answers later", async () => {
    const id = await client.sendIntent({ ...hello, toAgent: "slow-greeter" });
    expect(await codeOf(client.waitFor(id, { timeout: 0 }))).toBe("wait_timeout");
    expect(await codeOf(client.waitFor(id, { timeout: "50ms" }))).toBe("wait_timeout");
    const agent = client.listen("slow-greeter", () => "hi", { handleSignals: false });
    await expect(client.waitFor(id, { timeout: "10s" })).resolves.toEqual({
      id,
      status: "COMPLETED",
      result: "hi",
    });
    await expect(client.waitFor(id, { timeout: 0 })).resolves.toMatchObject({ result: "hi" });
    await agent.stop();
  });

  it("stops with the signal's reason", async () => {
    const id = await client.sendIntent({ ...hello, toAgent: "nobody" });
    const controller = new AbortController();
    const waited = client.waitFor(id, { signal: controller.signal });
    controller.abort(new Error("changed my mind"));
    await expect(waited).rejects.toThrow("changed my mind");
  });

  it("survives a server that goes away and comes back", async () => {
    const other = await startTestServer({ databaseUrl: server.databaseUrl });
    const network = createNetwork(other.url);
    const patient = new PerdureClient({ baseUrl: other.url, fetch: network.fetch, logger: false });
    try {
      const id = await patient.sendIntent({ ...hello, toAgent: "later" });
      const waited = patient.waitFor(id, { timeout: "15s" });
      await until("the wait to be under way", () => network.requests.some((line) => line.startsWith("GET")));
      network.turnTo("http://127.0.0.1:9");
      network.cut();
      await client.cancel(id, { reason: "meanwhile" });
      const tries = network.requests.length;
      await until("a try that found nobody", () => network.requests.length > tries);
      network.turnTo(server.url);
      await expect(waited).resolves.toMatchObject({ status: "CANCELED", error: { code: "canceled" } });
    } finally {
      await patient.close();
      await other.close();
    }
  });

  it("throws not_found for an unknown id", async () => {
    expect(await codeOf(client.waitFor("01890000-0000-7000-8000-000000000000"))).toBe("not_found");
  });
});

describe("observe", () => {
  it("yields every event once and in order over broken connections, and ends after the terminal one", async () => {
    const network = createNetwork(server.url);
    const watcher = new PerdureClient({ baseUrl: server.url, fetch: network.fetch, logger: false });
    const id = await client.sendIntent({ ...hello, toAgent: "watched" });
    const events: IntentEvent[] = [];
    const watching = (async () => {
      for await (const event of watcher.observe(id)) {
        events.push(event);
        network.cut();
      }
    })();
    await until("the first events", () => events.length >= 2);
    const agent = client.listen("watched", (ctx) => ctx.step("a", () => ctx.step("b", () => 1)), {
      handleSignals: false,
    });
    await watching;
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1));
    expect(events.at(-1)?.type).toBe("intent.completed");
    const rest: number[] = [];
    for await (const event of watcher.observe(id, { since: events.length - 2 })) rest.push(event.seq);
    expect(rest).toEqual([events.length - 1, events.length]);
    for await (const event of watcher.observe(id, { since: events.length })) expect.unreachable(event.type);
    await agent.stop();
    await watcher.close();
  });

  it("yields large results whole, though frames leave them out", async () => {
    const big = "x".repeat(100_000);
    const agent = client.listen("large", (ctx) => ctx.step("a", () => big), { handleSignals: false });
    const id = await client.sendIntent({ ...hello, toAgent: "large" });
    const details: unknown[] = [];
    for await (const event of client.observe(id)) details.push(event.details.result);
    expect(details.filter((result) => result === big)).toHaveLength(2);
    await agent.stop();
  });

  it("ends quietly when its signal aborts, and throws for an unknown id", async () => {
    const id = await client.sendIntent({ ...hello, toAgent: "nobody" });
    const controller = new AbortController();
    for await (const _ of client.observe(id, { signal: controller.signal })) controller.abort();
    const unknown = client.observe("01890000-0000-7000-8000-000000000000");
    expect(await codeOf(Promise.resolve(unknown[Symbol.asyncIterator]().next()))).toBe("not_found");
  });
});

describe("operators", () => {
  it("cancel, retry, pause, unpause and explain", async () => {
    const id = await client.sendIntent({ ...hello, toAgent: "operated", steps: ["one"] });
    expect(await client.pause(id)).toMatchObject({ id, paused: true });
    expect(await client.unpause(id)).toMatchObject({ paused: false });
    expect(await client.cancel(id, { reason: "wrong one" })).toMatchObject({ status: "CANCELED" });
    expect((await client.getIntent(id)).error).toMatchObject({ message: "wrong one" });
    expect((await client.explain(id)).summary).toContain("CANCELED");
    expect(await client.retry(id)).toMatchObject({ status: "SUBMITTED" });
    expect(await codeOf(client.retry(id))).toBe("not_retryable");
    expect(await codeOf(client.resolveStep(id, "one", "retry"))).toBe("step_not_in_doubt");
  });

  it("list by filters, page after page", async () => {
    const inputs = Array.from({ length: 130 }, (_, n) => ({
      ...hello,
      toAgent: "listed",
      payload: { n },
      metadata: { half: n < 65 ? "first" : "second" },
    }));
    const ids = await client.sendIntents(inputs);
    const all: string[] = [];
    for await (const intent of client.listIntents({ toAgent: "listed", status: ["SUBMITTED"] }))
      all.push(intent.id);
    expect(all.sort()).toEqual([...ids].sort());
    let first = 0;
    for await (const intent of client.listIntents({ toAgent: "listed", metadata: { half: "first" } })) {
      expect(intent.payload.n).toBeLessThan(65);
      first++;
    }
    expect(first).toBe(65);
    for await (const intent of client.listIntents({ since: new Date(Date.now() + 60_000) })) {
      expect.unreachable(intent.id);
    }
  });
});

describe("close", () => {
  it("ends waits and observations that are under way", async () => {
    const closing = new PerdureClient({ baseUrl: server.url, logger: false });
    const id = await closing.sendIntent({ ...hello, toAgent: "nobody" });
    const waited = codeOf(closing.waitFor(id));
    await closing.close();
    expect(await waited).toBe("client_closed");
  });
});
