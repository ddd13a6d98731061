// What is asked about many intents at once: counts, how the last while went, who listens, and looking for a text.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN, type Headers, type Issued, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, type TestServer, until } from "../support/server.ts";

let server: TestServer;
let acme: Issued;
let beta: Issued;
let reader: Issued;
beforeAll(async () => {
  server = await startKeyedServer({
    env: { PERDURE_SEARCH_MAX_INTENTS: "100", PERDURE_COUNT_MAX_INTENTS: "120" },
  });
  acme = await issueKey(server, "acme/prod/boss", ["send", "read", "operate", "act"], {
    patterns: ["acme/prod/*"],
  });
  beta = await issueKey(server, "beta/prod/boss", ["send", "read", "operate"]);
  reader = await issueKey(server, "acme/prod/reader", ["read"]);
});
afterAll(() => server.close());

const get = async (path: string, { headers }: { headers: Headers } = acme) => {
  const answer = await call(server, "GET", path, undefined, headers);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body;
};

async function send(body: object, { headers }: { headers: Headers } = acme): Promise<string> {
  const answer = await call(
    server,
    "POST",
    "/v1/intents",
    { intent_type: "t", to_agent: "x", ...body },
    headers,
  );
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body.intent_id;
}

const end = (id: string, body: object) =>
  call(server, "POST", `/v1/intents/${id}/resolve`, body, acme.headers);

test("counts are by status, of what is asked for and seen", async () => {
  const done = await send({ intent_type: "counted", metadata: { team: "blue" } });
  const failed = await send({ intent_type: "counted", session: "s" });
  await send({ intent_type: "counted" });
  await send({ intent_type: "counted" }, beta);
  await end(done, { status: "COMPLETED", result: 1 });
  await end(failed, { status: "FAILED", error: { code: "broken", message: "it is" } });
  expect(await get("/v1/intents/counts?intent_type=counted")).toMatchObject({
    counts: { COMPLETED: 1, FAILED: 1, SUBMITTED: 1 },
    total: 3,
    paused: 0,
    capped: false,
  });
  expect((await get("/v1/intents/counts?intent_type=counted&metadata.team=blue")).counts).toEqual({
    COMPLETED: 1,
  });
  expect((await get("/v1/intents/counts?intent_type=counted&session=s")).counts).toEqual({ FAILED: 1 });
  expect((await get("/v1/intents/counts?intent_type=counted&code=broken")).total).toBe(1);
  expect((await get("/v1/intents/counts?intent_type=counted", beta)).total).toBe(1);
  expect((await get("/v1/intents/counts?intent_type=counted", reader)).total).toBe(0);
});

test("the overview tells of the last while: what was created, what ended and how, what waits", async () => {
  const before = await get("/v1/overview?window_seconds=60&buckets=1");
  const id = await send({ to_agent: "overlooked" });
  const done = await send({ to_agent: "overlooked" });
  const failed = await send({ to_agent: "overlooked" });
  await send({ to_agent: "overlooked" }, beta);
  await end(done, { status: "COMPLETED", result: 1 });
  await end(failed, { status: "FAILED", error: { code: "overlooked_code", message: "no" } });
  const after = await get("/v1/overview?window_seconds=60&buckets=1");
  const sum = (body: typeof after, name: string) =>
    body.buckets.reduce((total: number, bucket: Record<string, number>) => total + (bucket[name] ?? 0), 0);
  expect(sum(after, "created") - sum(before, "created")).toBe(3);
  expect(sum(after, "completed") - sum(before, "completed")).toBe(1);
  expect(after.latency.p50_ms).toBeGreaterThanOrEqual(0);
  const failure = after.failures.find(({ code }: { code: string }) => code === "overlooked_code");
  expect(failure.count).toBe(1);
  expect(failure.counts.length).toBe(after.buckets.length);
  expect(failure.counts.reduce((all: number, n: number) => all + n, 0)).toBe(1);
  const queue = after.queues.find(
    ({ address }: { address: string }) => address === "agent://acme/prod/overlooked",
  );
  expect(queue).toMatchObject({ waiting: 1, listeners: 0 });
  expect(queue.oldest_seconds).toBeGreaterThanOrEqual(0);
  const one = await get("/v1/overview?to_agent=agent://acme/prod/overlooked&window_seconds=60");
  expect([sum(one, "created"), sum(one, "completed"), sum(one, "failed")]).toEqual([3, 1, 1]);
  expect(one.queues.length).toBe(1);
  // What is not seen is not told of, in no number.
  for (const key of [beta, reader]) {
    const theirs = await get("/v1/overview?window_seconds=60", key);
    expect(JSON.stringify(theirs)).not.toContain("acme");
    expect(theirs.failures).toEqual([]);
  }
  await end(id, { status: "CANCELED" });
});

test("the overview tells how long intents wait for an agent, and goes on counting while nobody takes them", async () => {
  const path = "/v1/overview?to_agent=agent://acme/prod/slow&window_seconds=60&buckets=1";
  const longest = async () =>
    Math.max(
      ...(await get(path)).buckets.map((one: { queued_p95_ms: number | null }) => one.queued_p95_ms ?? -1),
    );
  expect(await longest()).toBe(-1);
  await send({ to_agent: "slow" });
  await send({ to_agent: "slow", deliver_at: new Date(Date.now() + 3_600_000).toISOString() });
  const first = await longest();
  expect(first).toBeGreaterThanOrEqual(0);
  await until("it has waited longer", async () => (await longest()) > first);
  const body = { max: 1, wait_seconds: 1 };
  const claimed = await call(server, "POST", "/v1/agents/acme/prod/slow/claim", body, acme.headers);
  expect(claimed.body.deliveries.length).toBe(1);
  const taken = await longest();
  await get(path);
  expect(await longest()).toBe(taken);
});

test("consumers are listed with what they hold, to whom the address is open", async () => {
  const id = await send({ to_agent: "listener" });
  const claimed = await call(
    server,
    "POST",
    "/v1/agents/acme/prod/listener/claim",
    { consumer: "one", max: 2, wait_seconds: 30, lease_seconds: 60 },
    acme.headers,
  );
  expect(claimed.body.deliveries.length).toBe(1);
  const { consumers } = await get("/v1/consumers?address=agent://acme/prod/listener");
  expect(consumers).toMatchObject([
    { consumer: "one", online: true, capacity: 2, held: 1, holding: [{ intent_id: id, attempt: 1 }] },
  ]);
  expect((await get("/v1/consumers", beta)).consumers).toEqual([]);
  expect((await get("/v1/consumers", reader)).consumers).toEqual([]);
});

test("a text is found in payloads, metadata, errors and names, by whoever sees the intent", async () => {
  const id = await send({ payload: { note: "a Needle in the hay" } });
  const other = await send({ metadata: { label: "50% needle" } });
  const found = async (text: string, key = acme) =>
    (await get(`/v1/intents?text=${encodeURIComponent(text)}`, key)).intents.map(
      (intent: { intent_id: string }) => intent.intent_id,
    );
  expect(await found("needle")).toEqual([other, id]);
  expect(await found("0% NEED")).toEqual([other]);
  expect(await found("%")).toEqual([other]);
  expect(await found(id.slice(-12))).toEqual([id]);
  expect(await found("needle", beta)).toEqual([]);
});

test("a search looks through so many and says where to go on; counts and overview say when there are more", async () => {
  const first = await send({ payload: { note: "straw that is far away" } });
  const batch = Array.from({ length: 130 }, () => ({ intent_type: "t", to_agent: "y" }));
  const answer = await call(server, "POST", "/v1/intents/batch", { intents: batch }, acme.headers);
  expect(answer.status).toBe(200);
  const page = await get("/v1/intents?text=far+away");
  expect(page.intents).toEqual([]);
  expect(page.next_cursor).not.toBeNull();
  const next = await get(`/v1/intents?text=far+away&cursor=${page.next_cursor}`);
  expect(next.intents.map((intent: { intent_id: string }) => intent.intent_id)).toEqual([first]);
  const counts = await get("/v1/intents/counts");
  expect(counts.capped).toBe(true);
  expect((await get("/v1/overview?window_seconds=60")).capped).toBe(true);
});

test("a list goes from the oldest, too, page by page", async () => {
  const ids: string[] = [];
  for (let n = 0; n < 5; n += 1) ids.push(await send({ intent_type: "ordered" }));
  const seen: string[] = [];
  let cursor = "";
  do {
    const page = await get(`/v1/intents?intent_type=ordered&order=oldest&limit=2${cursor}`);
    seen.push(...page.intents.map((intent: { intent_id: string }) => intent.intent_id));
    cursor = page.next_cursor === null ? "" : `&cursor=${page.next_cursor}`;
  } while (cursor !== "");
  expect(seen).toEqual(ids);
});

test("a list of several namespaces is one list, in the order of creation, page by page", async () => {
  const ids: string[] = [];
  for (let n = 0; n < 6; n += 1) ids.unshift(await send({ intent_type: "mixed" }, n % 2 === 0 ? acme : beta));
  const seen: string[] = [];
  let cursor = "";
  do {
    const page = await get(`/v1/intents?intent_type=mixed&limit=2${cursor}`, { headers: ADMIN });
    seen.push(...page.intents.map((intent: { intent_id: string }) => intent.intent_id));
    cursor = page.next_cursor === null ? "" : `&cursor=${page.next_cursor}`;
  } while (cursor !== "");
  expect(seen).toEqual(ids);
});

test("what makes no sense is refused with its place", async () => {
  for (const path of [
    "/v1/overview?window_seconds=1",
    "/v1/overview?buckets=0",
    "/v1/intents?order=sideways",
    "/v1/intents?text=%00",
    "/v1/intents/counts?created_from=yesterday",
    "/v1/consumers?cursor=x",
    "/v1/consumers?address=a/b/c/d",
  ]) {
    const answer = await call(server, "GET", path, undefined, acme.headers);
    expect([400, 422], path).toContain(answer.status);
  }
});
