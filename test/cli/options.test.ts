// Options that choose or qualify, one by one, against a real server: that each reaches what it is about.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { runCli } from "../../server/cli/run.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { openTerminal, perdure } from "./terminal.ts";

let server: TestServer;
let name: string;
let named = 0;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
beforeEach(() => {
  name = `chosen-${++named}`;
});

const cli = (...argv: string[]) => perdure(server.url, argv);

async function send(of: string): Promise<string> {
  const { body } = await call(server, "POST", "/v1/intents", {
    ...{ intent_type: `${of}.v1`, to_agent: of, session: of, metadata: { of } },
  });
  return body.intent_id;
}

/** One that has failed with a code of its own. */
async function failed(of: string): Promise<string> {
  const id = await send(of);
  const error = { code: `${of}-code`.replaceAll("-", "_"), message: "no" };
  await call(server, "POST", `/v1/intents/${id}/resolve`, { status: "FAILED", error });
  return id;
}

const codeOf = (of: string) => `${of}-code`.replaceAll("-", "_");

const filtersOf = (of: string): string[][] => [
  ["--agent", of],
  ["--type", `${of}.v1`],
  ["--session", of],
  ["--code", codeOf(of)],
  ["--meta", `of=${of}`],
  ["--since", "1h", "--session", of],
];

describe("filters", () => {
  test("of list each choose what they are about", async () => {
    const id = await failed(name);
    await failed(`${name}-not`);
    for (const filter of filtersOf(name)) {
      const { out } = await cli("list", "--status", "FAILED", "--json", ...filter);
      const ids = out
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line).intent_id);
      expect(ids, filter.join(" ")).toEqual([id]);
    }
  });

  test.each([
    ["cancel", "canceled"],
    ["pause", "paused"],
    ["unpause", "unpaused"],
    ["retry", "retried"],
  ])("of %s choose the same, and say first how many it would be", async (verb, past) => {
    const id = await failed(name);
    await failed(`${name}-not`);
    for (const filter of filtersOf(name)) {
      const ran = await cli(verb, "--status", "FAILED", ...filter);
      expect(ran, filter.join(" ")).toMatchObject({ exit: 2, out: "" });
      expect(ran.err).toContain(`1 intent matches and would be ${past}; add --yes`);
    }
    expect((await call(server, "GET", `/v1/intents/${id}`)).body.status).toBe("FAILED");
  });

  test("of tail refuse what is no status or kind of event", async () => {
    expect((await cli("tail", "--event", "nothing")).exit).toBe(2);
    expect((await cli("tail", "--agent", "a*b*")).exit).toBe(2);
  });
});

test("a reason and a comment are kept in the log", async () => {
  const id = await send(name);
  await cli("sessions", "cancel", name, "--yes", "--reason", "too late");
  expect((await cli("get", id, "--events")).out).toContain("canceled: too late");
  const { body } = await call(server, "POST", "/v1/intents", {
    ...{ intent_type: "ask.v1", to_agent: name, human_task: { title: "Ship?" } },
  });
  await cli("reject", body.intent_id, "--comment", "not on a Friday");
  expect((await cli("get", body.intent_id, "--result")).out).toContain("not on a Friday");
});

test("listen takes a name, a lease and only the types it is told", async () => {
  const other = await send(name);
  const { body } = await call(server, "POST", "/v1/intents", { intent_type: "mine.v1", to_agent: name });
  const terminal = openTerminal({ PERDURE_URL: server.url });
  const options = ["--consumer", `${name}-desk`, "--lease", "10m", "--type", "mine.v1, others.v1"];
  const exit = runCli(["listen", name, "--exec", "echo 1", ...options], terminal.io);
  const ended = await call(server, "GET", `/v1/intents/${body.intent_id}?wait=30`);
  expect(ended.body.status).toBe("COMPLETED");
  const consumers = (await call(server, "GET", `/v1/consumers?address=${name}`)).body.consumers;
  expect(consumers).toHaveLength(1);
  expect(consumers[0]).toMatchObject({ consumer: `${name}-desk` });
  expect(Date.parse(consumers[0].lease_until) - Date.now()).toBeGreaterThan(5 * 60_000);
  terminal.press("SIGTERM");
  expect(await exit).toBe(0);
  expect((await call(server, "GET", `/v1/intents/${other}`)).body.status).toBe("SUBMITTED");
});

describe("state", () => {
  test("is read as it was at an entry of the log", async () => {
    const id = await send(name);
    const scope = `intent:${id}`;
    await cli("state", "set", scope, "n", "1");
    const { seq } = (await call(server, "GET", `/v1/intents/${id}`)).body.intent;
    await cli("state", "set", scope, "n", "2");
    expect((await cli("state", "get", scope, "n")).out).toBe("2\n");
    expect((await cli("state", "get", scope, "n", "--at", String(seq))).out).toBe("1\n");
    expect((await cli("state", "get", scope, "n", "--version", "1")).out).toBe("1\n");
    expect((await cli("state", "list", scope, "--at", String(seq))).out).toMatch(/^n +1 .* 1$/m);
  });

  test("is removed only from the version that was seen", async () => {
    const scope = `session:${name}`;
    await cli("state", "set", scope, "n", "1");
    expect((await cli("state", "delete", scope, "n", "--if-version", "7")).exit).toBe(1);
    expect((await cli("state", "delete", scope, "n", "--if-version", "1")).out).toBe("removed\n");
  });
});

test("audit shows the newest up to its limit, and says that there is more", async () => {
  for (const key of ["one", "two"])
    await cli("keys", "create", key, "--address", `local/dev/${key}`, "--scope", "read");
  const ran = await cli("audit", "--limit", "1");
  expect(ran.out.trim().split("\n")).toHaveLength(2);
  expect(ran.err).toContain("there are more than 1");
  expect((await cli("audit")).out.match(/key\.create/g)).toHaveLength(2);
});
