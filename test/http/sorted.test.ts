// Lists by last change, priority and deadline, which no index has; and verbs for intents that somebody picked.
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN, type Headers, type Issued, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, type TestServer } from "../support/server.ts";

let server: TestServer;
let acme: Issued;
let beta: Issued;
beforeAll(async () => {
  server = await startKeyedServer({ env: { PERDURE_SORT_MAX_INTENTS: "100" } });
  acme = await issueKey(server, "acme/prod/boss", ["send", "read", "operate", "act"], {
    patterns: ["acme/prod/*"],
  });
  beta = await issueKey(server, "beta/prod/boss", ["send", "read", "operate"]);
});
afterAll(() => server.close());

async function send(body: object, { headers }: { headers: Headers } = acme): Promise<string> {
  const sent = { intent_type: "t", to_agent: "x", ...body };
  const answer = await call(server, "POST", "/v1/intents", sent, headers);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body.intent_id;
}

async function ask(method: string, path: string, body?: object, headers: Headers = acme.headers) {
  const answer = await call(server, method, path, body, headers);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body;
}

/** All pages, one after the other. */
async function walk(query: string, headers: Headers = acme.headers): Promise<string[]> {
  const seen: string[] = [];
  let cursor = "";
  do {
    const page = await ask("GET", `/v1/intents?${query}&limit=2${cursor}`, undefined, headers);
    seen.push(...page.intents.map((intent: { intent_id: string }) => intent.intent_id));
    cursor = page.next_cursor === null ? "" : `&cursor=${page.next_cursor}`;
  } while (cursor !== "");
  return seen;
}

const cancel = (id: string) => ask("POST", `/v1/intents/${id}/cancel`, {});
const pause = (id: string) => ask("POST", `/v1/intents/${id}/pause`, {});

test("what changed last comes first, whether it lives or has ended, page by page", async () => {
  const [a, b, c, d] = await Promise.all(["a", "b", "c", "d"].map(() => send({ intent_type: "changed" })));
  for (const id of [c, a]) await pause(id as string);
  for (const id of [d, b]) await cancel(id as string);
  expect(await walk("intent_type=changed&order=recently_changed")).toEqual([b, d, a, c]);
  expect(await walk("intent_type=changed&order=recently_changed&status=CANCELED")).toEqual([b, d]);
  expect(await walk("intent_type=changed&order=recently_changed&status=SUBMITTED")).toEqual([a, c]);
  expect(await walk("intent_type=changed&order=recently_changed", ADMIN)).toEqual([b, d, a, c]);
  expect(await walk("intent_type=changed&order=recently_changed", beta.headers)).toEqual([]);
});

test("what has not changed for longest comes first, of those that have not ended", async () => {
  const ids: string[] = [];
  for (let n = 0; n < 4; n += 1) ids.push(await send({ intent_type: "still" }));
  const [a, b, c, d] = ids as [string, string, string, string];
  await pause(a);
  await cancel(b);
  expect(await walk("intent_type=still&order=longest_unchanged")).toEqual([c, d, a]);
  expect(await walk("intent_type=still&order=longest_unchanged&status=CANCELED")).toEqual([b]);
});

test("the highest priority comes first, and of equals those that were created first", async () => {
  const sent: [string, number][] = [];
  for (const priority of [0, 7, -3, 7, 2])
    sent.push([await send({ intent_type: "urgent", priority }), priority]);
  await cancel(await send({ intent_type: "urgent", priority: 99 }));
  const expected = [1, 3, 4, 0, 2].map((index) => sent[index]?.[0]);
  expect(await walk("intent_type=urgent&order=priority")).toEqual(expected);
});

test("the soonest deadline comes first, of those that have one", async () => {
  const late = await send({ intent_type: "due", ttl_seconds: 900 });
  await send({ intent_type: "due" });
  const soon = await send({ intent_type: "due", ttl_seconds: 300 });
  const middle = await send({ intent_type: "due", ttl_seconds: 600 });
  await cancel(await send({ intent_type: "due", ttl_seconds: 100 }));
  expect(await walk("intent_type=due&order=deadline")).toEqual([soon, middle, late]);
});

test("a number of intents is sorted, and where there are more it is said; what ended last is found all the same", async () => {
  const old = await send({ intent_type: "many", to_agent: "crowd" });
  const batch = Array.from({ length: 130 }, () => ({ intent_type: "many", to_agent: "crowd" }));
  await ask("POST", "/v1/intents/batch", { intents: batch });
  const few = await ask("GET", "/v1/intents?intent_type=due&order=priority");
  expect(few.sorted).toEqual({ among: 4, capped: false });
  const many = await ask("GET", "/v1/intents?intent_type=many&order=priority");
  expect(many.sorted.capped).toBe(true);
  expect(many.sorted.among).toBeLessThan(131);
  await cancel(old);
  const { intents } = await ask("GET", "/v1/intents?intent_type=many&order=recently_changed");
  expect(intents[0].intent_id).toBe(old);
});

test("a text is looked for in the order of creation alone, and a cursor belongs to its order", async () => {
  const refused = async (query: string) =>
    (await call(server, "GET", `/v1/intents?${query}`, undefined, acme.headers)).status;
  expect(await refused("order=priority&text=x")).toBe(422);
  const { next_cursor } = await ask("GET", "/v1/intents?order=priority&limit=1");
  expect(await refused(`order=priority&cursor=${next_cursor}`)).toBe(200);
  expect(await refused(`order=deadline&cursor=${next_cursor}`)).toBe(422);
  expect(await refused(`order=newest&cursor=${next_cursor}`)).toBe(422);
});

test("a verb is done to the intents that were picked, as far as they are seen and it applies", async () => {
  const picked = [await send({ intent_type: "picked" }), await send({ intent_type: "picked" })];
  const other = await send({ intent_type: "picked" });
  const hidden = await send({ intent_type: "picked" }, beta);
  const ended = await send({ intent_type: "picked" });
  await cancel(ended);
  const filter = { intent_ids: [...picked, hidden, ended] };
  const looked = await ask("POST", "/v1/intents/bulk", { action: "cancel", filter, dry_run: true });
  expect(looked).toMatchObject({ matched: 2, applied: 0 });
  const done = await ask("POST", "/v1/intents/bulk", { action: "cancel", filter });
  expect(done.applied).toBe(2);
  expect([...done.intent_ids].sort()).toEqual([...picked].sort());
  expect((await ask("GET", `/v1/intents/${other}`)).status).toBe("SUBMITTED");
  expect((await ask("GET", `/v1/intents/${hidden}`, undefined, beta.headers)).status).toBe("SUBMITTED");
  for (const intent_ids of [[], ["x"], "all"]) {
    const body = { action: "cancel", filter: { intent_ids } };
    const answer = await call(server, "POST", "/v1/intents/bulk", body, acme.headers);
    expect([400, 422]).toContain(answer.status);
  }
});
