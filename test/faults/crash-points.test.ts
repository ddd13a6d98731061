// A server that dies at each named point of a create: what was acknowledged is there, what was not happens once when it is
// asked for again, and the intent goes on to its end.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { inStatus, type Listener, listen, post, typesOf } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { compiled } from "../support/programs.ts";
import { type Answer, call, SHORT_LEASES, until } from "../support/server.ts";
import { CRASH_POINTS, type CrashPoint } from "./crash-point-names.ts";
import { endAll, freePort, type Process, startServer } from "./processes.ts";

interface Expected {
  /** Whether the whole 2xx may, must or must not have come. */
  readonly acknowledged: boolean | "maybe";
  /** Whether the intent is in the database once the server is dead. */
  readonly stored: boolean | "maybe";
  /** The stream was told of the intent by the one that died. */
  readonly framed?: boolean;
  /** Which time it is reached. */
  readonly nth?: number;
}

// Pulses come by the clock: late enough for the create to be under way or done.
const LATE_PULSE = 3;

const EXPECTED: Readonly<Record<CrashPoint, Expected>> = {
  before_commit: { acknowledged: false, stored: false },
  commit_sent: { acknowledged: false, stored: "maybe" },
  commit_answered: { acknowledged: false, stored: true },
  before_reply: { acknowledged: false, stored: true },
  mid_reply: { acknowledged: false, stored: true },
  after_reply: { acknowledged: true, stored: true },
  before_frame: { acknowledged: "maybe", stored: true, framed: false },
  mid_frame: { acknowledged: "maybe", stored: true, framed: false },
  after_frame: { acknowledged: "maybe", stored: true, framed: true },
  before_pulse: { acknowledged: "maybe", stored: "maybe", nth: LATE_PULSE },
  after_pulse: { acknowledged: "maybe", stored: "maybe", nth: LATE_PULSE },
};

let database: TestDatabase;
let port: number;
let at: { url: string };
let scratch: string;
/** Each one shows what became of the crash of the one before it, and is the next to die. */
let server: Process;
const listeners: Listener[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  port = await freePort();
  at = { url: `http://127.0.0.1:${port}` };
  scratch = mkdtempSync(join(tmpdir(), "perdure-crash-points-"));
  server = await start({ CRASH_POINT_FILE: pointFile() });
});
afterEach(() => {
  for (const listener of listeners.splice(0)) listener.cut();
});
afterAll(async () => {
  await endAll();
  rmSync(scratch, { recursive: true, force: true });
  await database.drop({ openConnections: "close" });
});

const pointFile = () => join(scratch, "point");

function start(env: Record<string, string>): Promise<Process> {
  const preload = pathToFileURL(compiled("test/faults/crash-points.ts")).href;
  // What a dead one held must come free soon.
  return startServer(database.url, port, {
    env: { ...SHORT_LEASES, ...env },
    nodeArgs: ["--import", preload],
  });
}

/** From now on the server dies at this point; nothing that was before is left to do, which could reach it first. */
async function arm(point: string): Promise<void> {
  await until("the leases of agents that went are over", async () => {
    const rows = await ask("select 1 from consumers where lease_until is not null");
    return rows.length === 0;
  });
  writeFileSync(pointFile(), point);
  server.kill("SIGUSR2");
  await server.says("armed for");
}

async function startAgain(): Promise<void> {
  server = await start({ CRASH_POINT_FILE: pointFile() });
}

/** The name of an agent whose server died may be in use until its lease is over; an agent asks again, and so does this. */
function openStream(address: string, incarnation: string): Promise<Listener> {
  return until(`${address} may listen`, async () => {
    const listener = await listen(at, address, { consumer: "agent", incarnation });
    listeners.push(listener);
    if (listener.refusal === undefined) return listener;
    expect(listener.refusal.body.code).toBe("consumer_in_use");
    return undefined;
  });
}

const bodyOf = (address: string) => ({ intent_type: "job.v1", to_agent: address, payload: { n: 1 } });

const create = (address: string): Promise<Answer> =>
  call(at, "POST", "/v1/intents", bodyOf(address), { "idempotency-key": address });

interface FirstAnswer {
  /** Undefined: not even a status came. */
  readonly status?: number;
  readonly promisedBytes: number;
  readonly body: Buffer;
}

/** A create whose answer may break off: what came of it, byte by byte. */
function createFirst(address: string): Promise<FirstAnswer> {
  return new Promise((resolve) => {
    const headers = { "content-type": "application/json", "idempotency-key": address };
    const asked = request(`${at.url}/v1/intents`, { method: "POST", headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", () => undefined);
      response.on("close", () => {
        const status = response.statusCode ?? 0;
        const promisedBytes = Number(response.headers["content-length"]);
        resolve({ status, promisedBytes, body: Buffer.concat(chunks) });
      });
    });
    asked.on("error", () => resolve({ promisedBytes: 0, body: Buffer.alloc(0) }));
    asked.end(JSON.stringify(bodyOf(address)));
  });
}

/** Only a 2xx that came whole is one. */
function acknowledgedId({ status, promisedBytes, body }: FirstAnswer): string | undefined {
  if (status === undefined || body.length < promisedBytes) return undefined;
  expect(status, body.toString()).toBe(200);
  return JSON.parse(body.toString()).intent_id;
}

/** Asked of PostgreSQL, since a dead server answers nothing. */
async function ask(query: string, values: unknown[] = []): Promise<{ id: string }[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query<{ id: string }>(query, values)).rows;
  } finally {
    await client.end();
  }
}

/** The ids in the database. */
async function storedIds(address: string): Promise<string[]> {
  const rows = await ask(
    "select i.id from intents i join intent_data d on d.id = i.id where d.to_agent_as_sent = $1",
    [address],
  );
  return rows.map((row) => row.id);
}

/** The next agent gets it, does it, and the log tells one story. */
async function expectGoesOn(id: string, address: string): Promise<void> {
  const agent = await openStream(address, "after");
  const { data } = await agent.next("intent.delivered");
  expect(data).toMatchObject({ intent_id: id, intent: { payload: { n: 1 } } });
  const done = await post(at, id, "resolve", {
    status: "COMPLETED",
    attempt: data.attempt,
    result: { sum: 1 },
  });
  expect(done.status, JSON.stringify(done.body)).toBe(200);
  expect((await inStatus(at, id, "COMPLETED")).result).toEqual({ sum: 1 });
  const types = await typesOf(at, id);
  expect(types.filter((type) => type === "created")).toHaveLength(1);
  expect(types.filter((type) => type === "completed")).toHaveLength(1);
}

test.each(CRASH_POINTS)(
  "a server that dies at %s keeps what it acknowledged and does nothing twice",
  async (point) => {
    const expected = EXPECTED[point];
    const address = point.replaceAll("_", "-");
    const doomed = server;
    await arm(`${point}:${expected.nth ?? 1}`);
    const watcher = expected.framed === undefined ? undefined : await openStream(address, "before");
    const first = await createFirst(address);
    const acknowledged = acknowledgedId(first);
    expect(await doomed.over).toBe("SIGKILL");
    await until("its last words", () => doomed.output.includes(`crash point ${point} reached\n`));
    if (expected.acknowledged !== "maybe") expect(acknowledged !== undefined).toBe(expected.acknowledged);
    if (point === "mid_reply") expect(first.body.length).toBe(first.promisedBytes >> 1);
    if (watcher !== undefined) {
      await until("the end of its stream", () => watcher.ended);
      expect(watcher.deliveries().length).toBe(expected.framed ? 1 : 0);
    }

    await startAgain();
    const stored = await storedIds(address);
    if (expected.stored !== "maybe") expect(stored.length).toBe(expected.stored ? 1 : 0);
    if (acknowledged !== undefined) expect(stored).toEqual([acknowledged]);

    const repeated = await create(address);
    expect(repeated.status, JSON.stringify(repeated.body)).toBe(200);
    expect(repeated.headers.get("idempotent-replayed")).toBe(stored.length === 1 ? "true" : null);
    const id: string = repeated.body.intent_id;
    expect(await storedIds(address)).toEqual([id]);
    if (stored.length === 1) expect(stored).toEqual([id]);

    await expectGoesOn(id, address);
    expect((await verifyDatabase(database.url)).violations).toEqual([]);
  },
);

test("dies at the nth time, not before", async () => {
  await arm("after_reply:3");
  const answers = [await create("nth-1"), await create("nth-2"), await create("nth-3")];
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200]);
  expect(await server.over).toBe("SIGKILL");
});

test("a point that does not exist is refused before anything starts", async () => {
  await expect(start({ CRASH_POINT: "before_lunch" })).rejects.toThrow("CRASH_POINT must be one of");
});
