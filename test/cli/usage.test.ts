import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { perdure } from "./terminal.ts";

/** Nothing listens there: the port was free a moment ago. */
let nowhere: string;
/** A server that answers every request with what `answer` says. */
let stub: Server;
let url: string;
let answer: { status: number; body: string };
let seen: string[] = [];
/** The body of the last request. */
let body = "";

beforeAll(async () => {
  stub = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => {
      body += chunk;
    });
    request.on("end", () => {
      response.writeHead(answer.status, { "content-type": "application/json", connection: "close" });
      response.end(answer.body);
    });
  });
  await new Promise<void>((resolve) => stub.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(stub.address() as AddressInfo).port}`;
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  nowhere = `http://127.0.0.1:${(taken.address() as AddressInfo).port}`;
  await new Promise((resolve) => taken.close(resolve));
});
afterAll(() => new Promise((resolve) => stub.close(resolve)));

function answers(status: number, body: unknown): void {
  answer = { status, body: typeof body === "string" ? body : JSON.stringify(body) };
  seen = [];
}

const ID = "01890000-0000-7000-8000-00000012abcd";
const problem = (status: number, code: string) => ({
  status,
  code,
  detail: `refused: ${code}`,
  retryable: false,
});

describe("a command line that makes no sense exits with 2 and says what to type", () => {
  test.each([
    [["sned"], /Did you mean send\?/],
    [["get", ID, "--evnts"], /Did you mean --events\?/],
    [["get"], /missing required argument 'id'/],
    [["get", "abcde"], /last 6 or more/],
    [["send", "a", "t", "{bad"], /the payload is not JSON/],
    [["send", "a", "t", "[1]"], /must be a JSON object/],
    [["send", "a", "t", "@/nowhere.json"], /cannot read \/nowhere.json/],
    [["send", "a", "t", "--ttl", "60"], /--ttl: "60" is not a duration/],
    [["send", "a", "t", "--at", "soon"], /--at: "soon" is neither/],
    [["send", "a", "t", "--meta", "k"], /"k" is not KEY=VALUE/],
    [["wait", ID, "--timeout", "x"], /--timeout/],
    [["list", "--status", "BROKEN"], /none of CREATED/],
    [["list", "--limit", "0"], /--limit/],
    [["tail", "--since", "1"], /--since is about one intent/],
    [["tail", "--output"], /--output is about one intent/],
    [["tail", ID, "--agent", "a"], /--agent chooses among all intents/],
    [["tail", "--status", "BROKEN"], /none of CREATED/],
    [["list", "--watch", "--interval", "5"], /--interval: "5" is not a duration/],
    [["agents", "--watch", "--interval", "1ms"], /20ms is the shortest/],
    [["keys", "lst"], /no command "lst"; it has list, create, rotate, revoke/],
    [["profiles", "set", "../x"], /no name for a profile/],
    [["list", "--profile", "nowhere"], /no profile "nowhere"; there are none/],
    [["list", "extra"], /too many arguments/],
    [["cancel"], /cancel what\?/],
    [["cancel", ID, "--session", "s"], /either ids or filters/],
    [["listen", "a"], /--exec CMD, or --step/],
    [["listen", "a", "--step", "one"], /"one" is not NAME=CMD/],
    [["listen", "a", "--step", "one=x", "--step", "one=y"], /given twice/],
    [["listen", "a", "--exec", "x", "--step", "one=y"], /cannot be used with/],
    [["listen", "a", "--exec", "x", "--capacity", "0"], /--capacity/],
    [["exec", "--step", "one", "--", "true"], /inside the command of `perdure listen --exec`/],
    [["exec", "--", "true"], /required option '--step/],
    [["completion", "tcsh"], /bash, zsh, fish/],
    [["migrate"], /DATABASE_URL is not set/],
    [["send", "a", "t", "--outcomes", "a,b"], /give the question with --human/],
    [["steps", ID, "--seq", "last"], /--seq: "last" is not a whole number/],
    [["tasks", "--limit", "0"], /--limit/],
    [["approve", ID, "--data", "k"], /--data: "k" is not KEY=VALUE/],
    [["approve", ID, "--data", "k=1", "k=2"], /"k" is given twice/],
    [["reject", "abcde"], /last 6 or more/],
    [["signal", ID], /missing required argument 'name'/],
    [["signal", ID, "go", "hello"], /the data is not JSON.*its quotes: '"hello"'/],
    [["signal", ID, "go", "@/nowhere.json"], /cannot read \/nowhere.json/],
    [["restore", ID], /required option '--to/],
    [["checkpoints", ID, "--name", "a", "--delete", "a"], /cannot be used with/],
    [["checkpoints", ID, "--name", "12"], /--name: digits alone/],
    [["resolve-step", ID, "a"], /--done JSON, --retry or --fail/],
    [["resolve-step", ID, "a", "--retry", "--fail"], /cannot be used with/],
    [["resolve-step", ID, "a", "--done", "{"], /--done is not JSON/],
    [["sessions", "s1"], /no command "s1".*sessions show s1/],
    [["sessions", "delete"], /delete what\?/],
    [["sessions", "delete", "s1", "--older-than", "30d"], /either a name or --older-than/],
    [["sessions", "delete", "--older-than", "30"], /--older-than: "30" is not a duration/],
  ])("%j", async (argv, message) => {
    const ran = await perdure(nowhere, argv);
    expect(ran.err).toMatch(message);
    expect(ran).toMatchObject({ exit: 2, out: "" });
  });
});

test("an address that is no URL is named by its setting", async () => {
  const ran = await perdure("localhost:7070", ["get", ID]);
  expect(ran).toMatchObject({ exit: 2 });
  expect(ran.err).toContain("PERDURE_URL");
});

test("without a server every command says how to start one and exits with 5", async () => {
  for (const argv of [
    ["get", ID],
    ["wait", ID],
    ["tail", ID],
    ["list"],
    ["cancel", ID, ID],
    ["send", "a", "t"],
    ["tasks"],
    ["approve", ID],
    ["signal", ID, "go"],
    ["checkpoints", ID],
    ["sessions", "delete", "s1", "--yes"],
    ["export", ID],
  ]) {
    const ran = await perdure(nowhere, argv);
    expect(ran).toEqual({
      exit: 5,
      out: "",
      err: `error: cannot reach ${nowhere} (PERDURE_URL): is the server running? start one with: perdure serve; or choose another with PERDURE_URL, --url or --profile\n`,
    });
  }
});

test("a server that cannot be spoken to says why", async () => {
  const ran = await perdure(url.replace("http:", "https:"), ["get", ID]);
  expect(ran).toMatchObject({ exit: 5, out: "" });
  expect(ran.err).toMatch(
    /cannot reach https:\S+ \(PERDURE_URL\), .*(SSL|EPROTO|TLS).*: is the server running/i,
  );
});

test("with --json an error is one JSON object on stderr", async () => {
  const ran = await perdure(nowhere, ["get", ID, "--json"]);
  expect(JSON.parse(ran.err)).toMatchObject({ ok: false, code: "unreachable" });
  expect(ran.out).toBe("");
});

describe("a refusal exits by what it means", () => {
  test.each([
    [401, "unauthorized", 3],
    [403, "forbidden", 3],
    [404, "not_found", 1],
    [409, "intent_terminal", 1],
    [422, "validation_failed", 2],
    [503, "unavailable", 5],
    [500, "internal_error", 1],
  ])("%i %s → %i", async (status, code, exit) => {
    answers(status, problem(status, code));
    const ran = await perdure(url, ["get", ID]);
    expect(ran.exit).toBe(exit);
    expect(ran.err).toContain(`refused: ${code}`);
  });
});

test("something that is not a Perdure server is recognised", async () => {
  answers(200, "<html></html>");
  expect((await perdure(url, ["get", ID])).err).toContain("is it a Perdure server?");
});

describe("an id may be given by its end", () => {
  test("which the server is asked for", async () => {
    answers(200, { intents: [{ intent_id: ID, status: "COMPLETED", intent_type: "t" }], steps: [] });
    expect((await perdure(url, ["steps", "12ABCD"])).exit).toBe(0);
    expect(seen).toEqual([`GET /v1/intents?id_tail=12abcd&limit=2`, `GET /v1/intents/${ID}/steps`]);
  });

  test("unless it is whole", async () => {
    answers(200, { steps: [] });
    await perdure(url, ["steps", ID]);
    expect(seen).toEqual([`GET /v1/intents/${ID}/steps`]);
  });

  test("and several that end so are listed", async () => {
    const other = ID.replace("0189", "0190");
    answers(200, {
      intents: [ID, other].map((intent_id) => ({ intent_id, status: "FAILED", intent_type: "t" })),
    });
    const ran = await perdure(url, ["get", "12abcd"]);
    expect(ran.exit).toBe(2);
    expect(ran.err).toContain(ID);
    expect(ran.err).toContain(other);
  });

  test("and none is said to be none", async () => {
    answers(200, { intents: [] });
    expect(await perdure(url, ["get", "12abcd"])).toMatchObject({
      exit: 1,
      err: "error: no intent's id ends in 12abcd\n",
    });
  });
});

test("a decision's data goes out as it was typed: JSON, text, and text where the form asks for one", async () => {
  const form_schema = { properties: { account: { type: "string" }, note: { type: "string" } } };
  const human_task = { title: "Pay?", allowed_outcomes: ["approved"], form_schema };
  answers(200, {
    applied: true,
    intent: { status: "COMPLETED" },
    steps: [{ key: "pay", status: "waiting", wait: { human_task } }],
  });
  const data = ["n=12345678901234567890", "account=123", "id=12 a", 'note="1"', "to={}"];
  expect((await perdure(url, ["approve", ID, "--data", ...data])).exit).toBe(0);
  expect(seen).toEqual([`GET /v1/intents/${ID}/steps`, `POST /v1/intents/${ID}/resume`]);
  expect(body).toBe(
    '{"step":"pay","task_result":{"outcome":"approved","data":{"n":12345678901234567890,"account":"123","id":"12 a","note":"1","to":{}}}}',
  );
});

test("help is no error, and no command at all is one", async () => {
  expect(await perdure(nowhere, ["--help"])).toMatchObject({ exit: 0, err: "" });
  expect(await perdure(nowhere, [])).toMatchObject({ exit: 2, out: "" });
});
