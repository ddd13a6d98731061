// What goes on before one's eyes: following everything, lists that are watched, bars; and that programs get none of the drawing.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LiveArea, progressBar } from "../../server/cli/live.ts";
import { runCli } from "../../server/cli/run.ts";
import { issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { openTerminal, perdure, type Terminal } from "./terminal.ts";

let server: TestServer;
let agent: string;
let named = 0;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
beforeEach(() => {
  agent = `worker-${++named}`;
});

const ESC = "\u001b";
const cli = (...argv: string[]) => perdure(server.url, argv);

async function send(more: object = {}): Promise<string> {
  const { body } = await call(server, "POST", "/v1/intents", {
    intent_type: "job.v1",
    to_agent: agent,
    ...more,
  });
  return body.intent_id;
}

const end = (id: string, body: object = { status: "COMPLETED", result: 7 }) =>
  call(server, "POST", `/v1/intents/${id}/resolve`, body);

interface Running {
  readonly terminal: Terminal;
  readonly exit: Promise<number>;
}

/** A command at a terminal, or in a pipe; ended with Ctrl+C. */
function start(argv: readonly string[], watched?: { rows: number }, url = server.url): Running {
  const terminal = openTerminal({ PERDURE_URL: url }, "", watched);
  return { terminal, exit: runCli(argv, terminal.io) };
}

async function interrupt({ terminal, exit }: Running): Promise<number> {
  terminal.press("SIGINT");
  return await exit;
}

async function tail(...argv: string[]): Promise<Running> {
  const running = start(["tail", ...argv]);
  // With --json it says nothing but events: the first one is its own proof.
  if (!argv.includes("--json"))
    await until("it follows", () => running.terminal.err.includes("following all intents"));
  return running;
}

const jsonLines = (text: string) =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

describe("tail without an id", () => {
  test("follows all intents, whose each event names, until Ctrl+C, which ends nothing else", async () => {
    const running = await tail();
    const ids = [await send(), await send()];
    for (const id of ids)
      await until(`${id} is seen`, () =>
        running.terminal.out.includes(`${id.slice(-12)}  job.v1 → agent://`),
      );
    await end(ids[0] ?? "");
    await until("an end is seen", () => / completed /.test(running.terminal.out));
    expect(await interrupt(running)).toBe(130);
    expect(running.terminal.err).toContain("To come back: perdure tail");
    expect((await call(server, "GET", `/v1/intents/${ids[1]}`)).body.status).toBe("SUBMITTED");
  });

  test("chooses by agent pattern, session, type, status, kind of event and metadata", async () => {
    const wanted = await Promise.all([
      tail("--agent", `agent://local/dev/${agent}*`, "--event", "completed"),
      tail("--agent", `${agent}*`, "--event", "completed"),
      tail("--session", `s-${agent}`, "--status", "completed"),
      tail("--type", `type-${agent}`, "--event", "intent.completed"),
      tail("--meta", `of=${agent}`, "--event", "step_done,completed"),
    ]);
    const chosen = await send({
      ...{ intent_type: `type-${agent}`, session: `s-${agent}`, metadata: { of: agent } },
    });
    const other = await call(server, "POST", "/v1/intents", {
      intent_type: "other.v1",
      to_agent: "somebody-else",
    });
    await end(other.body.intent_id);
    await end(chosen);
    for (const running of wanted) {
      await until("the chosen one is seen", () => running.terminal.out.includes("completed"));
      await interrupt(running);
      expect(running.terminal.out.trim().split("\n")).toHaveLength(1);
      expect(running.terminal.out).toContain(chosen.slice(-12));
    }
  });

  test("with --json gives each event as one JSON line, with type and agent", async () => {
    const running = await tail("--json", "--agent", agent);
    // When it is connected cannot be seen: intents are sent until it sees one.
    const lines = await until("it sees one", async () => {
      await send();
      return running.terminal.out.includes("\n") && jsonLines(running.terminal.out);
    });
    await interrupt(running);
    expect(lines[0]).toMatchObject({
      ...{ event_type: expect.stringMatching(/^intent\./), intent_type: "job.v1", seq: expect.any(Number) },
      ...{ to_agent: `agent://local/dev/${agent}`, intent_id: expect.any(String), status: "CREATED" },
    });
  });

  test("sees only what its key sees, and needs one that may read", async () => {
    const keyed = await startKeyedServer();
    try {
      const own = await issueKey(keyed, "acme/prod/web", ["send", "read"]);
      const others = await issueKey(keyed, "evil/prod/web", ["send", "read"]);
      const blind = await issueKey(keyed, "acme/prod/blind", ["send"]);
      const refused = await perdure(keyed.url, ["tail"], { env: { PERDURE_API_KEY: blind.text } });
      expect(refused).toMatchObject({ exit: 3, out: "" });
      const terminal = openTerminal({ PERDURE_URL: keyed.url, PERDURE_API_KEY: own.text });
      const running = { terminal, exit: runCli(["tail"], terminal.io) };
      await until("it follows", () => terminal.err.includes("following"));
      const body = { intent_type: "secret.v1", to_agent: "x" };
      await call(keyed, "POST", "/v1/intents", body, others.headers);
      await call(keyed, "POST", "/v1/intents", { ...body, intent_type: "own.v1" }, own.headers);
      await until("its own is seen", () => terminal.out.includes("own.v1"));
      await interrupt(running);
      expect(terminal.out).not.toContain("secret.v1");
    } finally {
      await keyed.close();
    }
  });

  test("goes on after the server was away, and says that events may be missing", async () => {
    const first = await startTestServer();
    const { port } = new URL(first.url);
    const running = start(["tail"], undefined, first.url);
    await until("it follows", () => running.terminal.err.includes("following"));
    await first.close();
    const second = await startTestServer({ port: Number(port) });
    try {
      await until("it says what it missed", () =>
        running.terminal.err.includes("events are missing here (unknown_cursor)"),
      );
      const { body } = await call(second, "POST", "/v1/intents", { intent_type: "job.v1", to_agent: agent });
      await until("it sees the next", () => running.terminal.out.includes(body.intent_id.slice(-12)));
      expect(await interrupt(running)).toBe(130);
    } finally {
      await second.close();
    }
  });
});

describe("list --watch", () => {
  const QUICK = ["--watch", "--interval", "20ms"];

  test("at a terminal draws the table again in its place, until Ctrl+C", async () => {
    const id = await send();
    const running = start(["list", "--agent", agent, ...QUICK], { rows: 10 });
    await until("it is drawn", () => running.terminal.out.includes("SUBMITTED"));
    const before = running.terminal.out.length;
    await end(id);
    await until("it is drawn again", () => running.terminal.out.slice(before).includes("COMPLETED"));
    expect(await interrupt(running)).toBe(0);
    const { out } = running.terminal;
    expect(out.slice(before)).toContain(`\r${ESC}[2A${ESC}[J`);
    expect(out).toContain("Ctrl+C ends it");
    expect(out.endsWith(`${ESC}[?7h\n`)).toBe(true);
    expect((await call(server, "GET", `/v1/intents/${id}`)).body.status).toBe("COMPLETED");
  });

  test("at a terminal shows what has room, and says so", async () => {
    const ids: string[] = [];
    for (let sent = 0; sent < 6; sent++) ids.push(await send());
    const running = start(["list", "--agent", agent, ...QUICK], { rows: 6 });
    await until("it is drawn", () => running.terminal.out.includes("the first 3;"));
    await interrupt(running);
    const drawn = running.terminal.out.split(`${ESC}[J`)[1] ?? "";
    expect(drawn.split("\n").filter((line) => line.includes(agent))).toHaveLength(3);
    expect(drawn).toContain(ids[5]);
  });

  test("in a pipe prints each intent once, and again when it has changed; no age makes it one", async () => {
    const id = await send();
    const running = start(["list", "--agent", agent, ...QUICK]);
    await until("it is printed", () => running.terminal.out.includes(id));
    const other = await send();
    await until("the other is printed", () => running.terminal.out.includes(other));
    await end(id);
    await until("the change is printed", () => running.terminal.out.includes("COMPLETED"));
    await interrupt(running);
    const lines = running.terminal.out.trim().split("\n");
    expect(lines.map((line) => line.split(/ +/).slice(0, 2))).toEqual([
      ["ID", "STATUS"],
      [id, "SUBMITTED"],
      [other, "SUBMITTED"],
      [id, "COMPLETED"],
    ]);
    expect(running.terminal.out).not.toContain(ESC);
  });

  test("with --json prints changed intents as JSON lines, also at a terminal", async () => {
    const id = await send();
    const running = start(["list", "--agent", agent, "--json", ...QUICK], { rows: 10 });
    await until("it is printed", () => running.terminal.out.includes(id));
    await end(id);
    await until("its end is printed", () => running.terminal.out.includes("COMPLETED"));
    await interrupt(running);
    const seen = jsonLines(running.terminal.out).map(({ intent_id, status }) => ({ intent_id, status }));
    expect(seen).toEqual([
      { intent_id: id, status: "SUBMITTED" },
      { intent_id: id, status: "COMPLETED" },
    ]);
  });

  test("waits for a server that goes away, and exits with 5 for one that was never there", async () => {
    const away = await startTestServer();
    const running = start(["list", ...QUICK], undefined, away.url);
    await until("it watches", () => running.terminal.catches);
    await call(away, "POST", "/v1/intents", { intent_type: "job.v1", to_agent: agent });
    await until("it is printed", () => running.terminal.out.includes(agent));
    await away.close();
    await until("it says so", () => running.terminal.err.includes("(trying again)"));
    expect(await interrupt(running)).toBe(0);
    expect((await perdure(away.url, ["list", "--watch"])).exit).toBe(5);
  });
});

test("agents --watch tells of agents as they come and as their work changes", async () => {
  const running = start(["agents", "--watch", "--interval", "20ms", "--all", "--json"]);
  await until("it watches", () => running.terminal.catches);
  const seen = () => jsonLines(running.terminal.out).filter(({ address }) => address.endsWith(`/${agent}`));
  // Whoever never listened is nobody.
  await call(server, "POST", `/v1/agents/${agent}/claim`, { lease_seconds: 600 });
  await until("it is seen", () => seen().some(({ queued }) => queued === 0));
  await send();
  await until("its queue is seen", () => seen().some(({ queued }) => queued === 1));
  await call(server, "POST", `/v1/agents/${agent}/claim`, { lease_seconds: 600 });
  await until("its work is seen", () => seen().some(({ held, queued }) => held === 1 && queued === 0));
  expect(await interrupt(running)).toBe(0);
});

describe("wait at a terminal", () => {
  test("draws how far an intent is, and leaves nothing but its result", async () => {
    const id = await send({ steps: ["one", "two", "three"] });
    const running = start(["wait", id], { rows: 24 });
    await call(server, "POST", `/v1/agents/${agent}/claim`, {});
    const step = { status: "done", attempt: 1, result: 1 };
    await call(server, "PUT", `/v1/intents/${id}/steps/one`, step);
    await until("the step is seen", () => running.terminal.err.includes(`${progressBar(1, 3)} 1/3`));
    await end(id);
    expect(await running.exit).toBe(0);
    expect(running.terminal.out).toBe("7\n");
    expect(running.terminal.err.endsWith(`${ESC}[J`)).toBe(true);
  });

  test("counts the ends of several, and prints each above the bar", async () => {
    const ids = [await send(), await send(), await send()];
    const running = start(["wait", ...ids], { rows: 24 });
    await until("it is drawn", () => running.terminal.err.includes("0 of 3"));
    await end(ids[1] ?? "");
    await until("one has ended", () => running.terminal.err.includes("1 of 3"));
    expect(running.terminal.out).toBe(`${ids[1]}  COMPLETED  7\n`);
    for (const id of ids) await end(id);
    expect(await running.exit).toBe(0);
    expect(running.terminal.out.trim().split("\n")).toHaveLength(3);
  });

  test("on Ctrl+C takes its drawing away before it says how to come back", async () => {
    const id = await send();
    const running = start(["wait", id], { rows: 24 });
    await until("it is drawn", () => running.terminal.err.includes("SUBMITTED"));
    expect(await interrupt(running)).toBe(130);
    expect(running.terminal.err).toMatch(new RegExp(`\\u001b\\[Jdetached; the work goes on.*wait ${id}\\n$`));
  });

  test("draws nothing in a pipe, nor with --json", async () => {
    const id = await send({ steps: ["one"] });
    await end(id);
    expect((await cli("wait", id)).err).toBe("");
    const running = start(["wait", id, "--json"], { rows: 24 });
    await running.exit;
    expect(running.terminal.err).toBe("");
  });
});

describe("a verb on many", () => {
  test("shows at a terminal how far it is, with each line above the bar", async () => {
    const ids: string[] = [];
    for (let sent = 0; sent < 12; sent++) ids.push(await send());
    const running = start(["cancel", "--agent", agent, "--yes"], { rows: 24 });
    expect(await running.exit).toBe(0);
    const lines = running.terminal.out.trim().split("\n");
    expect(lines.map((line) => line.slice(0, 36)).sort()).toEqual(ids.sort());
    expect(running.terminal.err).toContain(`canceled ${progressBar(6, 12)} 6 of 12`);
    expect(running.terminal.err.endsWith(`${ESC}[J`)).toBe(true);
  });

  test("shows no bar to a program", async () => {
    for (let sent = 0; sent < 3; sent++) await send();
    const ran = await cli("pause", "--agent", agent, "--yes");
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect((await cli("unpause", "--agent", agent, "--yes", "--json")).err).toBe("");
  });
});

test("what is drawn is cut by the terminal instead of wrapped, and others' words cannot steer it", () => {
  let written = "";
  const area = new LiveArea((text) => {
    written += text;
  });
  area.draw([`${ESC}[2Jevil`, `${ESC}[32mgreen${ESC}[39m`]);
  expect(written).toBe(`\r${ESC}[J${ESC}[?7l\\u001b[2Jevil\n${ESC}[32mgreen${ESC}[39m${ESC}[?7h`);
  written = "";
  area.above(() => {
    written += "above\n";
  });
  expect(written.startsWith(`\r${ESC}[1A${ESC}[Jabove\n\r${ESC}[J`)).toBe(true);
});
