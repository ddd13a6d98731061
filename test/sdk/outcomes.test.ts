// Many waits, one stream: whatever happens to the stream, each wait has the truth, and its own time limit and signal.
import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { PerdureClient } from "../../sdk/src/index.ts";
import { endAll, freePort, startProgram, startServer } from "../faults/processes.ts";
import { startBalancer } from "../support/balancer.ts";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { createTestDatabase } from "../support/postgres.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { codeOf, newAddress, newClient, newProcess, sender, server, useServer, waiting } from "./agents.ts";
import { createNetwork } from "./network.ts";

useServer();

const sendMany = (count: number, to: string, by = sender) =>
  by.sendIntents(Array.from({ length: count }, () => ({ intentType: "t", toAgent: to, payload: {} })));
const complete = (id: string, result: unknown, at: { readonly url: string } = server) =>
  call(at, "POST", `/v1/intents/${id}/resolve`, { status: "COMPLETED", result });
const cancelAll = (to: string) =>
  call(server, "POST", "/v1/intents/bulk", { action: "cancel", filter: { to_agent: to }, limit: 5_000 });
const watched = (count: number, at: TestServer = server) =>
  until(`${count} are watched; ${at.outcomes.size} are`, () => at.outcomes.size === count);
const count = (requests: readonly string[], pattern: RegExp) =>
  requests.filter((one) => pattern.test(one)).length;
const STREAM = /^GET \/v1\/outcomes\/stream$/;
const WATCH = /^POST \/v1\/outcomes\//;
const ASK = /^GET \/v1\/intents\/[^/]+$/;

test("two thousand waits take one stream, and a few calls to say so", async () => {
  const { client, network } = newProcess();
  const to = newAddress();
  const ids = [...(await sendMany(1_000, to)), ...(await sendMany(1_000, to))];
  const waits = ids.map((id) => client.waitFor(id, { timeout: "60s" }));
  // One that is alone asks by itself.
  await watched(1_999);
  await cancelAll(to);
  const outcomes = await Promise.all(waits);
  expect(outcomes.map((outcome) => outcome.id)).toEqual(ids);
  expect(new Set(outcomes.map((outcome) => outcome.status))).toEqual(new Set(["CANCELED"]));
  expect([count(network.requests, STREAM), count(network.requests, ASK)]).toEqual([1, 1]);
  expect(count(network.requests, WATCH)).toBeLessThan(10);
});

test("one that had ended before, one that ends now, a failure and a large result are told as they are", async () => {
  const { client } = newProcess();
  const ids = await sendMany(5, newAddress());
  const [before, now, failed, large, last] = ids as [string, string, string, string, string];
  await complete(before, "before");
  const all = Promise.all([last, before, now, failed, large].map((id) => client.waitFor(id, waiting)));
  await watched(3);
  await complete(now, { n: 1 });
  await complete(large, "x".repeat(100_000));
  const error = { code: "broken", message: "no luck", details: { n: 1 } };
  await call(server, "POST", `/v1/intents/${failed}/resolve`, { status: "FAILED", error });
  await complete(last, null);
  expect(await all).toEqual([
    { id: last, status: "COMPLETED", result: null },
    { id: before, status: "COMPLETED", result: "before" },
    { id: now, status: "COMPLETED", result: { n: 1 } },
    { id: failed, status: "FAILED", error: { ...error, retryable: false } },
    { id: large, status: "COMPLETED", result: "x".repeat(100_000) },
  ]);
});

test("what ends while the stream is broken is told once it is open again", async () => {
  const { client, network } = newProcess();
  const ids = await sendMany(20, newAddress());
  const waits = ids.map((id) => client.waitFor(id, waiting));
  await watched(19);
  network.turnTo("http://127.0.0.1:9");
  network.cut();
  await watched(0);
  for (const id of ids.slice(0, 15)) await complete(id, "meanwhile");
  network.turnTo(server.url);
  await watched(5);
  for (const id of ids.slice(15)) await complete(id, "later");
  const results = (await Promise.all(waits)).map(
    (outcome) => outcome.status === "COMPLETED" && outcome.result,
  );
  expect(results).toEqual(ids.map((_, n) => (n < 15 ? "meanwhile" : "later")));
});

test("a server that is killed and comes back has lost no wait", async () => {
  const database = await createTestDatabase();
  const port = await freePort();
  const at = { url: `http://127.0.0.1:${port}` };
  let process = await startServer(database.url, port);
  const client = new PerdureClient({ baseUrl: at.url, logger: false });
  const network = createNetwork(at.url);
  const patient = new PerdureClient({ baseUrl: at.url, fetch: network.fetch, logger: false });
  try {
    const ids = await sendMany(20, "worker", client);
    const waits = ids.map((id) => patient.waitFor(id, { timeout: "60s" }));
    await until("they are watched", () => count(network.requests, WATCH) > 0);
    for (const id of ids.slice(0, 10)) await complete(id, "first", at);
    process.kill("SIGKILL");
    await process.over;
    process = await startServer(database.url, port);
    for (const id of ids.slice(10)) await complete(id, "second", at);
    const results = (await Promise.all(waits)).map(
      (outcome) => outcome.status === "COMPLETED" && outcome.result,
    );
    expect(results).toEqual(ids.map((_, n) => (n < 10 ? "first" : "second")));
  } finally {
    await Promise.all([client.close(), patient.close()]);
    process.kill("SIGTERM");
    await process.over;
    await endAll();
    await database.drop();
  }
});

test("behind a balancer with two servers every wait is told, whichever server has the stream, also when one goes away", async () => {
  const other = await startTestServer({ databaseUrl: server.databaseUrl });
  const balancer = await startBalancer([server.url, other.url]);
  const network = createNetwork(balancer.url);
  const client = newClient(network.fetch);
  try {
    const ids = await sendMany(60, newAddress());
    const rounds: Promise<unknown>[] = [];
    for (let round = 0; round < 3; round += 1) {
      const some = ids.slice(round * 20, round * 20 + 20);
      rounds.push(...some.map((id) => client.waitFor(id, { timeout: "25s" })));
      await until("a call for them", () => count(network.requests, WATCH) > round);
      await Promise.all(some.slice(0, 10).map((id, n) => complete(id, 1, n % 2 === 0 ? server : other)));
    }
    balancer.route([server.url]);
    await other.close();
    const left = ids.filter((_, n) => n % 20 >= 10);
    await Promise.all(left.map((id) => complete(id, 1)));
    const outcomes = await Promise.all(rounds);
    expect(outcomes).toEqual(ids.map((id) => ({ id, status: "COMPLETED", result: 1 })));
  } finally {
    await client.close();
    await balancer.close();
  }
});

test("a call that reached another server than the stream goes another way, and the stream serves it", async () => {
  const other = await startTestServer({ databaseUrl: server.databaseUrl });
  const network = createNetwork(server.url);
  let astray = 2;
  const client = newClient(async (input, init) => {
    const url = new URL(String(input));
    if (init?.method !== "POST" || !url.pathname.startsWith("/v1/outcomes/") || astray-- <= 0)
      return network.fetch(input, init);
    return fetch(`${other.url}${url.pathname}`, init);
  });
  try {
    const ids = await sendMany(5, newAddress());
    const waits = ids.map((id) => client.waitFor(id, waiting));
    await watched(4);
    for (const id of ids) await complete(id, 1);
    expect(await Promise.all(waits)).toHaveLength(5);
    expect(count(network.requests, ASK)).toBe(1);
  } finally {
    await other.close();
  }
});

test("an unknown id is not_found, and so is another tenant's; the other waits go on", async () => {
  const keyed = await startKeyedServer();
  const client = async (address: string) => {
    const { text } = await issueKey(keyed, address, ["send", "read"]);
    return new PerdureClient({ baseUrl: keyed.url, apiKey: text, logger: false });
  };
  const [mine, theirs] = [await client("acme/prod/one"), await client("other/prod/one")];
  try {
    const [own, more] = (await sendMany(2, "worker", mine)) as [string, string];
    const [foreign] = (await sendMany(1, "worker", theirs)) as [string];
    const waits = [own, more].map((id) => mine.waitFor(id, waiting));
    const refused = [randomUUID(), foreign, "no-id"].map((id) => codeOf(mine.waitFor(id, waiting)));
    expect(await Promise.all(refused)).toEqual(["not_found", "not_found", "validation_failed"]);
    await Promise.all([own, more].map((id) => mine.cancel(id)));
    expect((await Promise.all(waits)).map((outcome) => outcome.status)).toEqual(["CANCELED", "CANCELED"]);
  } finally {
    await Promise.all([mine.close(), theirs.close()]);
    await keyed.close();
  }
});

test("a wait that begins after a retry is not answered with the end from before it, however late that is told", async () => {
  const { client, network } = newProcess();
  const [id, other] = (await sendMany(2, newAddress())) as [string, string];
  const keepsOpen = client.waitFor(other, waiting);
  const first = codeOf(client.waitFor(id, waiting));
  await watched(1);
  // The stream's frames are held back from here on.
  network.freeze();
  await call(server, "POST", `/v1/intents/${id}/resolve`, { status: "FAILED", error: "first" });
  await watched(0);
  await sender.retry(id);
  const second = client.waitFor(id, waiting);
  network.thaw();
  await until("the second wait is watched", () => server.outcomes.size === 1);
  await complete(id, "second");
  expect(await second).toEqual({ id, status: "COMPLETED", result: "second" });
  expect(await first).toBe("no error");
  await complete(other, 1);
  await keepsOpen;
});

test("one wait's time limit and signal end it alone, and the server forgets what nobody waits for", async () => {
  const { client } = newProcess();
  const ids = await sendMany(4, newAddress());
  const [kept, timed, aborted, same] = ids as [string, string, string, string];
  const controller = new AbortController();
  const waits = [kept, same].map((id) => client.waitFor(id, waiting));
  const late = codeOf(client.waitFor(timed, { timeout: "50ms" }));
  const left = client.waitFor(aborted, { signal: controller.signal });
  const alsoSame = codeOf(client.waitFor(same, { timeout: "50ms" }));
  await until("all are watched", () => server.outcomes.size >= 2);
  controller.abort(new Error("changed my mind"));
  await expect(left).rejects.toThrow("changed my mind");
  expect(await Promise.all([late, alsoSame])).toEqual(["wait_timeout", "wait_timeout"]);
  const [next] = (await sendMany(1, newAddress())) as [string];
  waits.push(client.waitFor(next, waiting));
  await watched(2);
  for (const id of [kept, same, next]) await complete(id, 1);
  expect((await Promise.all(waits)).map((outcome) => outcome.id)).toEqual([kept, same, next]);
});

test("a server without such streams is asked for each intent, and never again for a stream", async () => {
  const network = createNetwork(server.url);
  const client = newClient(async (input, init) => {
    if (!new URL(String(input)).pathname.startsWith("/v1/outcomes")) return network.fetch(input, init);
    network.requests.push(`refused ${new URL(String(input)).pathname}`);
    return new Response(JSON.stringify({ code: "not_found", detail: "there is no such route" }), {
      status: 404,
    });
  });
  for (let round = 0; round < 2; round += 1) {
    const ids = await sendMany(3, newAddress());
    const waits = ids.map((id) => client.waitFor(id, waiting));
    for (const id of ids) await complete(id, round);
    expect((await Promise.all(waits)).map((outcome) => outcome.id)).toEqual(ids);
  }
  expect(count(network.requests, /^refused/)).toBe(1);
});

test("where streams cannot be read, each wait asks by itself", async () => {
  const network = createNetwork(server.url);
  const client = newClient(async (input, init) => {
    const response = await network.fetch(input, init);
    if (!new URL(String(input)).pathname.startsWith("/v1/outcomes/stream")) return response;
    await response.body?.cancel();
    return new Response(null, { status: 200, headers: { "content-type": "text/event-stream" } });
  });
  const ids = await sendMany(3, newAddress());
  const waits = ids.map((id) => client.waitFor(id, waiting));
  for (const id of ids) await complete(id, 1);
  expect((await Promise.all(waits)).map((outcome) => outcome.id)).toEqual(ids);
  expect(count(network.requests, WATCH)).toBe(0);
});

test("a stream that is rotated is opened again, without a word to those who wait", async () => {
  const rotating = await startTestServer({
    databaseUrl: server.databaseUrl,
    env: { PERDURE_STREAM_MAX_AGE_MS: "1000" },
  });
  const network = createNetwork(rotating.url);
  const client = newClient(network.fetch);
  try {
    const ids = await sendMany(3, newAddress());
    const waits = ids.map((id) => client.waitFor(id, waiting));
    await until("a second stream", () => count(network.requests, STREAM) >= 2);
    for (const id of ids) await complete(id, 1);
    expect((await Promise.all(waits)).map((outcome) => outcome.id)).toEqual(ids);
  } finally {
    await client.close();
    await rotating.close();
  }
});

test("the stream is left once nobody waits, and the next wait that is not alone opens another", async () => {
  const { client, network } = newProcess();
  for (let round = 1; round <= 2; round += 1) {
    const ids = await sendMany(3, newAddress());
    const waits = ids.map((id) => client.waitFor(id, waiting));
    await watched(2);
    for (const id of ids) await complete(id, 1);
    await Promise.all(waits);
    await until("it is left", async () => {
      const metrics = await (await fetch(`${server.url}/metrics`)).text();
      return /^perdure_streams_open\{kind="outcomes"\} 0$/m.test(metrics);
    });
    expect(count(network.requests, STREAM)).toBe(round);
  }
});

test("a process whose waits are over ends, though it never closed its client", async () => {
  const ids = await sendMany(3, newAddress());
  const program = `import { PerdureClient } from ${JSON.stringify(new URL("../../sdk/dist/index.js", import.meta.url).href)};
    const client = new PerdureClient({ baseUrl: ${JSON.stringify(server.url)}, logger: false });
    const waits = ${JSON.stringify(ids)}.map((id) => client.waitFor(id));
    console.log("waiting");
    await Promise.all(waits);
    console.log("told");`;
  const process = startProgram(["--input-type=module", "-e", program], {});
  await process.says("waiting");
  await watched(2);
  for (const id of ids) await complete(id, 1);
  await process.says("told");
  expect(await process.over).toBe(0);
});

test("closing the client ends every wait", async () => {
  const { client } = newProcess();
  const ids = await sendMany(3, newAddress());
  const waits = ids.map((id) => codeOf(client.waitFor(id)));
  await watched(2);
  await client.close();
  expect(await Promise.all(waits)).toEqual(["client_closed", "client_closed", "client_closed"]);
  await watched(0);
});
