// Every command once, against a real server that wants keys, as people read it and as programs do. A command that is added is
// missing here until it is run, too.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runCli } from "../../server/cli/run.ts";
import { ADMIN, ADMIN_KEY, issueKey, startKeyedServer } from "../support/keys.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { call, type TestServer, until } from "../support/server.ts";
import { freshProgram, leavesOf } from "./command-tree.ts";
import { openTerminal, type Ran } from "./terminal.ts";

const PROGRAM = fileURLToPath(new URL("../../bin/perdure.js", import.meta.url));

let server: TestServer;
let database: TestDatabase;
let home: string;
let env: Record<string, string>;
beforeAll(async () => {
  [server, database, home] = await Promise.all([
    startKeyedServer(),
    createTestDatabase(),
    mkdtemp(join(tmpdir(), "perdure-every-command-")),
  ]);
  env = { PERDURE_URL: server.url, PERDURE_API_KEY: ADMIN_KEY, XDG_CONFIG_HOME: home };
});
afterAll(async () => {
  await Promise.all([server.close(), database.drop(), rm(home, { recursive: true, force: true })]);
});

interface Run {
  readonly argv: readonly string[];
  readonly env?: Record<string, string>;
  readonly stdin?: string;
  /** What people read. */
  readonly says: RegExp;
}

let named = 0;
const freshAddress = () => `every-${++named}`;

async function send(more: object = {}): Promise<string> {
  const intent = { intent_type: "job.v1", to_agent: freshAddress(), ...more };
  const { body } = await call(server, "POST", "/v1/intents", intent, ADMIN);
  return body.intent_id;
}

const post = (path: string, body: object) => call(server, "POST", path, body, ADMIN);

async function ended(): Promise<string> {
  const id = await send();
  await post(`/v1/intents/${id}/resolve`, { status: "COMPLETED", result: { rows: 3 } });
  return id;
}

async function canceled(): Promise<string> {
  const id = await send();
  await post(`/v1/intents/${id}/cancel`, {});
  return id;
}

/** With an open first attempt. */
async function begun(more: object = {}): Promise<string> {
  const to_agent = freshAddress();
  const id = await send({ to_agent, ...more });
  await post(`/v1/agents/${to_agent}/claim`, { lease_seconds: 600 });
  return id;
}

/** An operator has to say what has become of its step. */
async function inDoubt(): Promise<string> {
  const id = await begun({ steps: [{ key: "pay", on_interrupt: "ask" }] });
  await post(`/v1/intents/${id}/start`, { attempt: 1 });
  await post(`/v1/intents/${id}/release`, { attempt: 1 });
  return id;
}

const task = () => send({ human_task: { title: "Ship it?" } });

async function session(): Promise<string> {
  const name = freshAddress();
  await send({ session: name });
  return name;
}

async function endedSession(): Promise<string> {
  const name = await session();
  await post(`/v1/sessions/${name}/cancel`, {});
  return name;
}

async function bookmarked(checkpoint: string): Promise<string> {
  const id = await begun();
  await call(server, "PUT", `/v1/intents/${id}/checkpoints/${checkpoint}`, {}, ADMIN);
  return id;
}

async function stateKey(): Promise<string> {
  const key = freshAddress();
  await call(server, "PUT", `/v1/state/session%3Aevery/${key}`, { value: 12 }, ADMIN);
  return key;
}

async function profile(): Promise<string> {
  const name = freshAddress();
  await run({ argv: ["profiles", "set", name, server.url], says: /./ });
  return name;
}

const keyId = async () => (await issueKey(server, `local/dev/${freshAddress()}`, ["read"])).id;

const withDatabase = () => ({ DATABASE_URL: database.url });

/** How each is run; those that go on until they are stopped have a test of their own. */
const RUNS: Readonly<Record<string, () => Promise<Run> | Run>> = {
  send: () => ({ argv: ["send", "reporter", "report.v1", '{"n": 1}'], says: /^[0-9a-f-]{36}$/m }),
  wait: async () => ({ argv: ["wait", await ended()], says: /^\{"rows":3\}$/m }),
  get: async () => ({ argv: ["get", await ended()], says: /^status +COMPLETED$/m }),
  list: () => ({ argv: ["list", "--limit", "5"], says: /^ID +STATUS/ }),
  tail: async () => ({ argv: ["tail", await ended()], says: /completed/ }),
  steps: async () => ({ argv: ["steps", await send({ steps: ["a"] })], says: /^a +planned/m }),
  explain: async () => ({ argv: ["explain", await ended()], says: /COMPLETED|completed/ }),
  export: async () => ({ argv: ["export", await ended()], says: /"kind":"intent"/ }),
  cancel: async () => ({ argv: ["cancel", await send()], says: /canceled, now CANCELED/ }),
  pause: async () => ({ argv: ["pause", await send()], says: /paused, now SUBMITTED/ }),
  unpause: async () => ({ argv: ["unpause", await send()], says: /unpaused, now SUBMITTED/ }),
  retry: async () => ({ argv: ["retry", await canceled()], says: /retried, now SUBMITTED/ }),
  checkpoints: async () => ({ argv: ["checkpoints", await bookmarked("here")], says: /^here /m }),
  restore: async () => ({
    argv: ["restore", await bookmarked("here"), "--to", "here"],
    says: /restored to here/,
  }),
  "resolve-step": async () => ({
    argv: ["resolve-step", await inDoubt(), "pay", "--retry"],
    says: /step pay is/,
  }),
  "sessions list": async () => ({ argv: ["sessions", "list", "--all"], says: new RegExp(await session()) }),
  "sessions show": async () => ({ argv: ["sessions", "show", await session()], says: /^intents +1/m }),
  "sessions pause": async () => ({ argv: ["sessions", "pause", await session()], says: /paused, 1 intent/ }),
  "sessions unpause": async () => ({ argv: ["sessions", "unpause", await session()], says: /unpaused/ }),
  "sessions cancel": async () => ({
    argv: ["sessions", "cancel", await session(), "--yes"],
    says: /canceled, 1 intent/,
  }),
  "sessions delete": async () => ({
    argv: ["sessions", "delete", await endedSession(), "--yes"],
    says: /deleted with 1 intent/,
  }),
  "agents list": async () => {
    await begun();
    return { argv: ["agents", "list", "--all"], says: /^agent:\/\/local\/dev\/every-\d+ +1 +0 +1 .* ago$/m };
  },
  "agents show": async () => ({
    argv: ["agents", "show", `agent://local/dev/${freshAddress()}`],
    says: /^last seen +never$/m,
  }),
  "agents pause": async () => {
    const to_agent = freshAddress();
    await send({ to_agent });
    return {
      argv: ["agents", "pause", to_agent, "--reason", "release"],
      says: /paused, \d intents? changed/,
    };
  },
  "agents unpause": () => ({
    argv: ["agents", "unpause", freshAddress()],
    says: /unpaused, 0 intents changed/,
  }),
  tasks: async () => {
    await task();
    return { argv: ["tasks"], says: /Ship it\?$/m };
  },
  approve: async () => ({ argv: ["approve", await task()], says: /decided: approved, now COMPLETED/ }),
  reject: async () => ({ argv: ["reject", await task()], says: /decided: rejected/ }),
  signal: async () => ({ argv: ["signal", await send(), "go", "1"], says: /signal go kept/ }),
  exec: async () => ({
    argv: ["exec", "--step", "one", "--", "echo", "7"],
    env: { PERDURE_INTENT_ID: await begun(), PERDURE_ATTEMPT: "1", PATH: process.env.PATH ?? "" },
    says: /^7$/m,
  }),
  "state get": async () => ({ argv: ["state", "get", "session:every", await stateKey()], says: /^12$/m }),
  "state set": () => ({ argv: ["state", "set", "session:every", freshAddress(), "1"], says: /^version 1$/m }),
  "state delete": async () => ({
    argv: ["state", "delete", "session:every", await stateKey()],
    says: /^removed$/m,
  }),
  "state list": async () => ({
    argv: ["state", "list", "session:every", "--prefix", await stateKey()],
    says: / 12$/m,
  }),
  "state history": async () => ({
    argv: ["state", "history", "session:every", await stateKey()],
    says: / 12$/m,
  }),
  migrate: () => ({ argv: ["migrate"], env: withDatabase(), says: /up to date/ }),
  verify: () => ({ argv: ["verify"], env: withDatabase(), says: /no violation/ }),
  "keys list": async () => ({ argv: ["keys", "list", "--all"], says: new RegExp(await keyId()) }),
  "keys create": () => ({
    argv: ["keys", "create", "web", "--address", "local/dev/web", "--scope", "read"],
    says: /^pdr_\w{49}$/m,
  }),
  "keys rotate": async () => ({ argv: ["keys", "rotate", await keyId()], says: /^pdr_\w{49}$/m }),
  "keys revoke": async () => ({ argv: ["keys", "revoke", await keyId()], says: /revoked$/m }),
  audit: async () => {
    await keyId();
    return { argv: ["audit"], says: /key\.create/ };
  },
  doctor: () => ({ argv: ["doctor"], says: /^ok +access/m }),
  "profiles list": async () => ({
    argv: ["profiles", "list"],
    says: new RegExp(`^${await profile()} `, "m"),
  }),
  "profiles show": async () => ({ argv: ["profiles", "show", await profile()], says: /^file +\//m }),
  "profiles set": () => ({
    argv: ["profiles", "set", freshAddress(), server.url, "--api-key", "-"],
    stdin: ADMIN_KEY,
    says: /made in/,
  }),
  "profiles remove": async () => ({ argv: ["profiles", "remove", await profile()], says: /removed$/m }),
  completion: () => ({ argv: ["completion", "bash"], says: /^complete /m }),
  // The last: no attempt of the others counts afterwards.
  fence: () => ({ argv: ["fence"], env: withDatabase(), says: /^fenced \d+ intents/ }),
};

async function run({ argv, env: more = {}, stdin }: Run): Promise<Ran> {
  const terminal = openTerminal({ ...env, ...more }, stdin);
  const exit = await runCli(argv, terminal.io);
  return { exit, out: terminal.out, err: terminal.err };
}

/** Is for a shell whatever else is asked for. */
const SCRIPT = "completion";
const GOES_ON = ["serve", "listen"];

test("every command there is is run here", () => {
  const known = [...Object.keys(RUNS), ...GOES_ON].sort();
  expect(
    leavesOf(freshProgram())
      .map(({ path }) => path)
      .sort(),
  ).toEqual(known);
});

describe.each(Object.keys(RUNS))("%s", (path) => {
  const prepare = async (): Promise<Run> => {
    const one = await RUNS[path]?.();
    if (one === undefined) throw new Error(`nothing runs ${path}`);
    return one;
  };

  test("does what it is for", async () => {
    const one = await prepare();
    const ran = await run(one);
    expect(ran.err).not.toContain("error:");
    expect(ran.exit).toBe(0);
    expect(ran.out).toMatch(one.says);
  });

  test("answers programs in JSON, and nothing else", async () => {
    if (path === SCRIPT) return;
    const one = await prepare();
    const [command = "", ...rest] = one.argv;
    const ran = await run({ ...one, argv: [command, "--json", ...rest] });
    expect(ran.exit).toBe(0);
    const lines = ran.out.split("\n").filter((line) => line !== "");
    expect(lines.length).toBeGreaterThan(0);
    for (const line of lines) JSON.parse(line);
    // A list that ends early says so.
    expect(ran.err.replace(/^there are more than .*\n/, "")).toBe("");
  });
});

test("listen works until it is stopped, and says in its log what it does", async () => {
  const address = freshAddress();
  const terminal = openTerminal(env);
  const exit = runCli(["listen", address, "--exec", "echo 12"], terminal.io);
  await until("it listens", () => terminal.err.includes("listening at"));
  const id = await send({ to_agent: address });
  const { body } = await call(server, "GET", `/v1/intents/${id}?wait=20`, undefined, ADMIN);
  expect(body.intent).toMatchObject({ status: "COMPLETED", result: 12 });
  terminal.press("SIGTERM");
  expect(await exit).toBe(0);
});

test("serve starts a server that the other commands reach, and stops when it is told to", async () => {
  const child: ChildProcess = spawn(process.execPath, [PROGRAM, "serve", "--port", "0"], {
    env: { PATH: process.env.PATH, HOME: home, DATABASE_URL: database.url, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (said += chunk));
  const ended = new Promise((resolve) => child.once("close", resolve));
  try {
    const url = await until("it says where it is", () => /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0]);
    const doctor = await run({ argv: ["doctor", "--url", url], says: /./ });
    expect(doctor.out).toContain("development mode");
    expect(doctor.exit).toBe(0);
  } finally {
    child.kill("SIGTERM");
  }
  expect(await ended).toBe(0);
});
