// Every route of the server's own OpenAPI document, asked for everything it does not want. HOSTILE_RUNS sets how many
// requests, HOSTILE_SEED replays them (npm run test:hostile).
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { type Operation, readOperations } from "./operations.ts";
import { CANARY, hostileRequest, type Known } from "./values.ts";
import { send } from "./wire.ts";
import { faultsOf, mustStoreNothing, quiet, stored } from "./witness.ts";

const RUNS = Number(process.env.HOSTILE_RUNS ?? 400);
const seed = Number(process.env.HOSTILE_SEED ?? Math.floor(Math.random() * 2 ** 31));
const KEY = "hostile-test-key-0123456789";
const AUTH = { "x-api-key": KEY };

let server: TestServer;
let operations: Operation[];
let known: Known;
let log = "";

beforeAll(async () => {
  server = await startTestServer({
    env: { PERDURE_ADMIN_KEY: KEY, PERDURE_LOG_LEVEL: "debug", PERDURE_LEASE_TTL_MS: "600000" },
    log: (line) => (log += line),
  });
  // What happens by itself would be taken for what a request stored.
  await Promise.all(Object.values(server.sweepers).map((worker) => worker.stop()));
  operations = await readOperations(server, AUTH);
  known = { ids: await intentsInSeveralStates() };
});
afterAll(() => server.close());

async function intentsInSeveralStates(): Promise<string[]> {
  const ids: string[] = [];
  for (const more of [{}, { steps: ["a", "b"] }, { human_task: { title: "t" } }, { session: "s" }]) {
    const body = { intent_type: "fuzz.v1", to_agent: "fuzz", payload: { [CANARY]: CANARY }, ...more };
    ids.push((await call(server, "POST", "/v1/intents", body, AUTH)).body.intent_id);
  }
  await call(server, "POST", "/v1/agents/fuzz/claim", { consumer: "c", max: 1, lease_seconds: 600 }, AUTH);
  await call(server, "POST", `/v1/intents/${ids[3]}/cancel`, {}, AUTH);
  return ids;
}

const shown = (method: string, path: string, body: Buffer | undefined): string =>
  `${method} ${path.slice(0, 500)}\n${body?.toString("latin1").slice(0, 1_000) ?? ""}`;

test(
  `no request makes the server fail, store what it refuses, or tell what it was given (seed ${seed})`,
  async () => {
    let before = await stored(server);
    const answers = new Map<number, number>();
    const property = fc.asyncProperty(fc.nat(operations.length - 1), fc.gen(), async (index, g) => {
      const request = hostileRequest(g, operations[index] as Operation, known, KEY);
      log = "";
      const answer = await send(server, request);
      answers.set(answer.status, (answers.get(answer.status) ?? 0) + 1);
      const faults = faultsOf(request, answer, KEY);
      let after = await stored(server);
      if (mustStoreNothing(answer) && after !== before) {
        // A stream that was left earlier writes its end when it can: only what happens again was this request.
        const settled = await quiet(server);
        await send(server, request);
        after = await stored(server);
        if (after !== settled) faults.push(`stored:\n${settled}\n->\n${after}`);
      }
      before = after;
      if (log.includes(CANARY) || log.includes(KEY)) faults.push(`in the log: ${log.slice(0, 2_000)}`);
      if (faults.length > 0)
        throw new Error(
          `${faults.join("; ")}\n${shown(request.method, request.path, request.body)}\n${JSON.stringify(request.headers)}\n${answer.bytes.slice(0, 1_500)}\n${log.slice(0, 3_000)}`,
        );
    });
    await fc.assert(property, { seed, numRuns: RUNS, endOnFailure: true });
    // A fuzz that is refused at the door tests the door only.
    const count = (from: number) =>
      [...answers].reduce((sum, [status, n]) => sum + (status >= from && status < from + 100 ? n : 0), 0);
    expect(count(200)).toBeGreaterThan(RUNS / 20);
    expect(count(400)).toBeGreaterThan(RUNS / 5);
    expect((await call(server, "GET", "/ready")).status).toBe(200);
  },
  20_000 + RUNS * 50,
);
