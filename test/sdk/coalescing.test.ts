// Writes that share requests: how many requests that takes, and that each write keeps its own answer, time limit, signal and retries.
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterEach, describe, expect, test } from "vitest";
import { Http, type HttpRequest } from "../../sdk/src/http.ts";
import { PerdureClient, PerdureError } from "../../sdk/src/index.ts";
import { call, startTestServer, until } from "../support/server.ts";
import {
  eventsOf,
  gate,
  newAddress,
  newClient,
  quiet,
  sender,
  server,
  useServer,
  waiting,
} from "./agents.ts";

useServer();

interface Line {
  fetch: typeof fetch;
  /** Requests made so far: `METHOD /path`, ids left out, and `×N` for a batch of N. */
  requests: string[];
}

type Tamper = (request: string, pass: () => Promise<Response>) => Promise<Response>;

/** The way to the server, counted; `tamper` may do something else than pass the request on. */
function line(tamper: Tamper = (_, pass) => pass()): Line {
  const requests: string[] = [];
  return {
    requests,
    fetch: (input, init) => {
      const path = new URL(String(input)).pathname.replace(/[0-9a-f-]{36}/, "ID");
      const ops = path === "/v1/batch" ? ` ×${JSON.parse(String(init?.body)).ops.length}` : "";
      const request = `${init?.method ?? "GET"} ${path}${ops}`;
      requests.push(request);
      return tamper(request, () => fetch(input, init));
    },
  };
}

const https: Http[] = [];
afterEach(() => {
  for (const http of https.splice(0)) http.close();
});
function httpOver({ fetch }: Line, maxRetries = 3): Http {
  const http = new Http({ baseUrl: server.url, apiKey: undefined, maxRetries, fetch });
  https.push(http);
  return http;
}

const intent = (address: string, more: object = {}) => ({
  intentType: "job",
  toAgent: address,
  payload: {},
  ...more,
});
const create = (address: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  method: "POST",
  path: "/v1/intents",
  body: { intent_type: "job", to_agent: address, payload: {} },
  idempotencyKey: randomUUID(),
  batch: { op: "create" },
  ...more,
});
const countAt = async (address: string) => {
  let count = 0;
  for await (const _ of sender.listIntents({ toAgent: address })) count += 1;
  return count;
};
const isBatch = (request: string) => request.startsWith("POST /v1/batch");
const never = () => new Promise<never>(() => undefined);
const all = <T>(count: number, make: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, n) => make(n)));

describe("writes that come together", () => {
  test("share requests of at most 1,000, and each has its own answer", async () => {
    const way = line();
    const client = newClient(way.fetch);
    const address = newAddress();
    const ids = await all(1_200, (n) => client.sendIntent(intent(address, { payload: { n } })));
    expect(new Set(ids).size).toBe(1_200);
    expect(way.requests).toEqual(["POST /v1/batch ×1000", "POST /v1/batch ×200"]);
    for (const n of [0, 999, 1_199])
      expect((await sender.getIntent(ids[n] as string)).payload).toEqual({ n });
  });

  test("one that comes alone goes at once, by its ordinary route; so does all that is large", async () => {
    const way = line();
    const client = newClient(way.fetch);
    const address = newAddress();
    await client.sendIntent(intent(address));
    await client.sendIntent(intent(address));
    expect(way.requests).toEqual(["POST /v1/intents", "POST /v1/intents"]);
    const large = { text: "x".repeat(70_000) };
    await all(4, (n) => client.sendIntent(intent(address, n === 0 ? { payload: large } : {})));
    expect(way.requests.slice(2)).toEqual(["POST /v1/intents", "POST /v1/batch ×3"]);
  });

  test("what comes while two are on their way goes with the next", async () => {
    const { open, opened } = gate();
    const way = line(async (request, pass) => {
      if (!isBatch(request)) await opened;
      return await pass();
    });
    const http = httpOver(way);
    const address = newAddress();
    const first = http.send(create(address));
    await until("the first request", () => way.requests.length === 1);
    const second = http.send(create(address));
    await until("the second request", () => way.requests.length === 2);
    const others = all(5, () => http.send(create(address)));
    open();
    await Promise.all([first, second, others]);
    expect(way.requests).toEqual(["POST /v1/intents", "POST /v1/intents", "POST /v1/batch ×5"]);
  });

  test("steps of many intents share requests, and each intent's log is as if it had been alone", async () => {
    const way = line();
    const address = newAddress();
    const steps = { a: () => 1, b: () => 2, c: () => 3, d: () => ({ done: true }) };
    const agent = newClient(way.fetch).listen(address, steps, { ...quiet, capacity: 40 });
    await agent.ready;
    const [alone = ""] = await sender.sendIntents([intent(address)]);
    await sender.waitFor(alone, waiting);
    way.requests.length = 0;
    const ids = await sender.sendIntents(Array.from({ length: 40 }, () => intent(address)));
    for (const id of ids)
      await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: { done: true } });
    await agent.stop();
    const writes = way.requests.filter((request) => request.includes("/intents/ID/") || isBatch(request));
    expect(writes.length).toBeLessThan(100); // of 200 writes; a busy machine makes smaller batches
    expect(writes.filter(isBatch).length).toBeGreaterThan(4);
    const expected = await eventsOf(alone);
    for (const id of ids.slice(0, 10)) expect(await eventsOf(id)).toEqual(expected);
  });

  test("go one by one where the client was told so", async () => {
    const way = line();
    const client = new PerdureClient({
      baseUrl: server.url,
      fetch: way.fetch,
      logger: false,
      coalesce: false,
    });
    await all(3, () => client.sendIntent(intent(newAddress())));
    await client.close();
    expect(way.requests).toEqual(Array(3).fill("POST /v1/intents"));
  });
});

describe("a write among others", () => {
  test("fails with the error it has alone, and costs the others nothing", async () => {
    const address = newAddress();
    const key = randomUUID();
    const id = randomUUID();
    const bad = [
      create(address, { body: { to_agent: address } }),
      create(address, { idempotencyKey: key, body: { intent_type: "other", to_agent: address } }),
      {
        method: "PUT",
        path: `/v1/intents/${id}/steps/a`,
        body: { status: "done", attempt: 1 },
      } as HttpRequest,
    ];
    await httpOver(line()).send(create(address, { idempotencyKey: key }));
    const errorOf = (work: Promise<unknown>) =>
      work.then(
        () => undefined,
        (error: unknown) => error,
      );
    const facts = (error: unknown) => {
      if (!PerdureError.is(error)) throw error;
      const { name, code, message, status, retryable, details, retryAfterMs, requestId } = error;
      const anyId = message.replace(/[0-9a-f-]{36}/, "ID");
      return {
        name,
        code,
        message: anyId,
        status,
        retryable,
        details,
        retryAfterMs,
        asked: requestId?.length,
      };
    };
    const alone = await Promise.all(
      bad.map(async ({ batch: _, ...request }) => facts(await errorOf(httpOver(line()).send(request)))),
    );
    const step = { op: "step", intent_id: id, key: "a" } as const;
    const way = line();
    const http = httpOver(way);
    const [one, two, fine] = await Promise.all([
      errorOf(http.send(bad[0] as HttpRequest)),
      errorOf(http.send(bad[1] as HttpRequest)),
      http.send(create(address)),
    ]);
    const [three] = await all(2, () => errorOf(http.send({ ...(bad[2] as HttpRequest), batch: step })));
    expect(way.requests).toEqual(["POST /v1/batch ×3", "POST /v1/batch ×2"]);
    expect([facts(one), facts(two), facts(three)]).toEqual(alone);
    expect(alone.map(({ code }) => code)).toEqual(["validation_failed", "idempotency_mismatch", "not_found"]);
    expect(fine).toMatchObject({ ok: true });
  });

  test("is sent again after a lost answer, with all that shared it, and is done once", async () => {
    let lost = 0;
    const way = line(async (request, pass) => {
      const response = await pass();
      if (!isBatch(request) || ++lost > 2) return response;
      await response.text();
      throw new TypeError("the connection was lost");
    });
    const address = newAddress();
    const client = newClient(way.fetch);
    const ids = await all(20, () => client.sendIntent(intent(address)));
    expect(lost).toBeGreaterThan(2);
    expect(new Set(ids).size).toBe(20);
    expect(await countAt(address)).toBe(20);
  });

  test("of an agent is recorded once, whatever answers are lost", async () => {
    let answers = 0;
    const way = line(async (request, pass) => {
      const response = await pass();
      if (!isBatch(request) || ++answers % 2 === 0) return response;
      await response.text();
      throw new TypeError("the connection was lost");
    });
    const address = newAddress();
    const ran: string[] = [];
    const note = (ctx: { id: string }, step: { key: string }) => ran.push(`${ctx.id} ${step.key}`);
    const steps = { a: note, b: note };
    const agent = newClient(way.fetch).listen(address, steps, { ...quiet, capacity: 20 });
    await agent.ready;
    const ids = await sender.sendIntents(Array.from({ length: 20 }, () => intent(address)));
    for (const id of ids) expect(await sender.waitFor(id, waiting)).toMatchObject({ status: "COMPLETED" });
    await agent.stop();
    expect(answers).toBeGreaterThan(1);
    expect(new Set(ran).size).toBe(40);
    expect(ran).toHaveLength(40);
    for (const id of ids) expect((await eventsOf(id)).filter((type) => type === "step_done")).toHaveLength(2);
  });

  test("that something on the way repeats is done once, and its agent loses nothing of its plan", async () => {
    const twice = /start|batch/;
    const way = line(async (request, pass) => {
      if (twice.test(request)) await (await pass()).text();
      return await pass();
    });
    const address = newAddress();
    const ran: string[] = [];
    const note = (ctx: { id: string }, step: { key: string }) => ran.push(`${ctx.id} ${step.key}`);
    const agent = newClient(way.fetch).listen(address, { a: note, b: note }, { ...quiet, capacity: 3 });
    await agent.ready;
    const ids = await sender.sendIntents(Array.from({ length: 3 }, () => intent(address)));
    for (const id of ids) expect(await sender.waitFor(id, waiting)).toMatchObject({ status: "COMPLETED" });
    await agent.stop();
    expect([...ran].sort()).toEqual(ids.flatMap((id) => [`${id} a`, `${id} b`]).sort());
  });

  test("that nothing tells apart from a repetition is sent once, and fails with the request it shared", async () => {
    const way = line(() => Promise.reject(new TypeError("the connection was lost")));
    const http = httpOver(way);
    const courtesy = () => create(newAddress(), { retry: "never" });
    const codes = await all(2, () => http.send(courtesy()).catch((error: PerdureError) => error.code));
    expect(codes).toEqual(["unreachable", "unreachable"]);
    expect(way.requests).toEqual(["POST /v1/batch ×2"]);
  });

  test("is aborted and late by itself; what it shared the request with goes on", async () => {
    const { open, opened } = gate();
    const way = line(async (_, pass) => {
      await opened;
      return await pass();
    });
    const http = httpOver(way);
    const address = newAddress();
    const controller = new AbortController();
    const aborted = http.send(create(address, { signal: controller.signal }));
    const late = http.send(create(address, { timeoutMs: 20, retry: "never" }));
    const fine = http.send(create(address));
    await until("the request", () => way.requests.length === 1);
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    await expect(late).rejects.toMatchObject({ code: "request_timeout", retryable: true });
    open();
    await expect(fine).resolves.toMatchObject({ ok: true });
    const gone = http.send(create(address, { signal: controller.signal }));
    await expect(gone).rejects.toThrow("enough");
    expect(way.requests).toEqual(["POST /v1/batch ×3"]);
  });

  test("waits for no stuck ones before it", async () => {
    let count = 0;
    const way = line((_, pass) => (++count <= 2 ? never() : pass()));
    const http = httpOver(way);
    const stuck: Promise<unknown>[] = [];
    for (const nth of [1, 2]) {
      stuck.push(http.send(create(newAddress())).catch((error: PerdureError) => error.code));
      await until("its request", () => count === nth);
    }
    await expect(http.send(create(newAddress()))).resolves.toMatchObject({ ok: true });
    http.close();
    await expect(Promise.all(stuck)).resolves.toEqual(["client_closed", "client_closed"]);
  });

  test("that the server cannot decide with the others is asked for by itself", async () => {
    const impatient = await startTestServer({
      env: { PERDURE_BATCH_PATIENCE_MS: "100", PERDURE_DB_LOCK_TIMEOUT_MS: "100" },
    });
    const holder = new Client({ connectionString: impatient.databaseUrl });
    await holder.connect();
    try {
      const way = line();
      const http = new Http({
        baseUrl: impatient.url,
        apiKey: undefined,
        maxRetries: 0,
        fetch: way.fetch,
      });
      https.push(http);
      const [held, free] = await all(2, () => http.send(create("one")));
      await call(impatient, "POST", "/v1/agents/one/claim", { consumer: "c", incarnation: "1", max: 2 });
      await holder.query("begin");
      await holder.query("select 1 from intents where id = $1 for update", [held.intent_id]);
      const start = ({ intent_id }: { intent_id: string }): HttpRequest => ({
        method: "POST",
        path: `/v1/intents/${intent_id}/start`,
        body: { attempt: 1 },
        fenced: true,
        retry: "forever",
        batch: { op: "start", intent_id },
      });
      const starting = http.send(start(held));
      await expect(http.send(start(free))).resolves.toMatchObject({ status: "IN_PROGRESS" });
      await until("the start by itself", () => way.requests.at(-1) === "POST /v1/intents/ID/start");
      await holder.query("rollback");
      await expect(starting).resolves.toMatchObject({ status: "IN_PROGRESS" });
    } finally {
      await holder.end();
      await impatient.close();
    }
  });
});

describe("a client that shares requests", () => {
  test("asks a server from before there were batches once, and goes on without", async () => {
    const way = line((request, pass) => {
      if (!isBatch(request)) return pass();
      return Promise.resolve(new Response('{"code":"not_found"}', { status: 404 }));
    });
    const client = newClient(way.fetch);
    const address = newAddress();
    await all(3, () => client.sendIntent(intent(address)));
    await all(3, () => client.sendIntent(intent(address)));
    expect(way.requests).toEqual(["POST /v1/batch ×3", ...Array(6).fill("POST /v1/intents")]);
    expect(await countAt(address)).toBe(6);
  });

  test("sends less at once where the server refuses the batch as such", async () => {
    const strict = await startTestServer({ env: { PERDURE_BATCH_MAX: "3" } });
    try {
      const way = line();
      const client = new PerdureClient({ baseUrl: strict.url, fetch: way.fetch, logger: false });
      const ids = await all(10, () => client.sendIntent(intent("one")));
      expect(new Set(ids).size).toBe(10);
      // One that is wrong in a way that spoils the whole text.
      const sent = await Promise.allSettled(
        ["a", "b\u0000", "c"].map((text) => client.sendIntent(intent("one", { payload: { text } }))),
      );
      expect(sent.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      await client.close();
    } finally {
      await strict.close();
    }
  });

  test("keeps an agent's signs of life and its work apart from a pile of intents to be sent", async () => {
    const way = line((request, pass) => (/intents$|batch/.test(request) ? never() : pass()));
    const http = httpOver(way);
    const pile: Promise<unknown>[] = [];
    for (const nth of [1, 2]) {
      pile.push(http.send(create(newAddress())).catch(() => undefined));
      await until("its request", () => way.requests.length === nth);
    }
    pile.push(all(3, () => http.send(create(newAddress()))).catch(() => undefined));
    const [consumer, id] = [randomUUID(), randomUUID()];
    const beat = http.send({
      method: "POST",
      path: `/v1/consumers/${consumer}/heartbeat`,
      body: { incarnation: "1", holding: [], capacity: 1 },
      retry: "never",
      batch: { op: "consumer_heartbeat", consumer_id: consumer },
    });
    const step = http.send({
      method: "PUT",
      path: `/v1/intents/${id}/steps/a`,
      body: { status: "running", attempt: 1 },
      fenced: true,
      batch: { op: "step", intent_id: id, key: "a" },
    });
    await expect(beat).rejects.toMatchObject({ code: "consumer_lost" });
    await expect(step).rejects.toMatchObject({ code: "not_found" });
    const own = ["POST /v1/consumers/ID/heartbeat", "PUT /v1/intents/ID/steps/a"];
    expect(way.requests).toEqual(expect.arrayContaining(own));
    http.close();
    await Promise.all(pile);
  });

  test("ends what waits and what is on its way when it closes", async () => {
    const way = line(never);
    const http = httpOver(way);
    const codeOf = (work: Promise<unknown>) => work.catch((error: PerdureError) => error.code);
    const flying = all(2, () => codeOf(http.send(create(newAddress()))));
    await until("the request", () => way.requests.length === 1);
    const queued = all(2, () => codeOf(http.send(create(newAddress()))));
    http.close();
    expect([...(await flying), ...(await queued)]).toEqual(Array(4).fill("client_closed"));
    expect(await codeOf(http.send(create(newAddress())))).toBe("client_closed");
  });
});
