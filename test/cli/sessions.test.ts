// perdure sessions, against a real server.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { perdure } from "./terminal.ts";

let server: TestServer;
let name: string;
let named = 0;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
beforeEach(() => {
  name = `session ${++named}`;
});

const cli = (...argv: string[]) => perdure(server.url, argv);
const sessions = (...argv: string[]) => cli("sessions", ...argv);

async function send(session: string): Promise<string> {
  const ran = await cli("send", "nobody", "job.v1", "--session", session);
  return ran.out.trim();
}

async function statusOf(id: string): Promise<string> {
  return (await call(server, "GET", `/v1/intents/${id}`)).body.status;
}

test("list shows every session with its intents by status, and is what sessions does by itself", async () => {
  await send(name);
  await call(server, "POST", `/v1/intents/${await send(name)}/resolve`, { status: "COMPLETED" });
  const listed = await sessions("list");
  expect(listed.out).toMatch(/^NAME +PAUSED +QUIET FOR +INTENTS$/m);
  expect(listed.out).toMatch(new RegExp(`^${name} .* 2: .*1 COMPLETED`, "m"));
  expect((await sessions()).out).toContain(name);
  const json = (await sessions("--json")).out.trim().split("\n");
  expect(json.map((line) => JSON.parse(line)).find((one) => one.name === name)).toMatchObject({
    paused: false,
    intents: { total: 2, COMPLETED: 1 },
  });
});

test("list says when there are more than its limit", async () => {
  await send(name);
  await send(`${name} too`);
  const ran = await sessions("list", "--limit", "1");
  expect(ran.out.trim().split("\n")).toHaveLength(2);
  expect(ran.err).toContain("there are more than 1");
});

test("show describes one session, and says when there is none", async () => {
  await send(name);
  const { out } = await sessions("show", name);
  expect(out).toMatch(new RegExp(`^name +${name}$`, "m"));
  expect(out).toMatch(/^intents +1: 1 \w+$/m);
  expect(JSON.parse((await sessions("show", name, "--json")).out)).toMatchObject({
    ok: true,
    session: { name },
  });
  const unknown = await sessions("show", "nowhere", "--json");
  expect(unknown.exit).toBe(1);
  expect(JSON.parse(unknown.err)).toMatchObject({ code: "session_not_found" });
});

test("pause holds all its intents, unpause lets them go", async () => {
  await send(name);
  await send(name);
  expect((await sessions("pause", name, "--reason", "release")).out).toBe(
    `${name}  paused, 2 intents changed\n`,
  );
  expect((await sessions("show", name)).out).toMatch(/^paused +yes$/m);
  expect((await cli("list", "--session", name)).out.match(/paused/g)).toHaveLength(2);
  expect((await sessions("unpause", name)).out).toBe(`${name}  unpaused, 2 intents changed\n`);
  expect((await cli("list", "--session", name)).out).not.toContain("paused");
});

test("cancel says first what it would end, and ends it with --yes", async () => {
  const id = await send(name);
  const asked = await sessions("cancel", name);
  expect(asked).toMatchObject({ exit: 2, out: "" });
  expect(asked.err).toContain(`1 intent of session ${name} would be canceled; add --yes`);
  expect((await sessions("cancel", name, "--yes")).out).toBe(`${name}  canceled, 1 intent changed\n`);
  expect(await statusOf(id)).toBe("CANCELED");
  expect(await sessions("cancel", name)).toEqual({
    exit: 0,
    out: "",
    err: `session ${name} has no live intents\n`,
  });
});

test("delete says first what it would remove, refuses what is live, and removes the rest with --yes", async () => {
  const id = await send(name);
  const asked = await sessions("delete", name);
  expect(asked).toMatchObject({ exit: 2, out: "" });
  expect(asked.err).toContain(`session ${name} would be deleted with 1 intent; add --yes`);
  const live = await sessions("delete", name, "--yes", "--json");
  expect(live.exit).toBe(1);
  expect(JSON.parse(live.err)).toMatchObject({ code: "session_active" });
  await sessions("cancel", name, "--yes");
  expect((await sessions("delete", name, "--yes")).out).toBe(`${name}  deleted with 1 intent\n`);
  expect((await call(server, "GET", `/v1/intents/${id}`)).status).toBe(404);
  expect((await sessions("show", name)).exit).toBe(1);
});

test("delete --older-than removes what is quiet for so long, and nothing that is live", async () => {
  const quiet = name;
  const live = `${name} live`;
  await call(server, "POST", `/v1/intents/${await send(quiet)}/resolve`, { status: "COMPLETED" });
  await send(live);
  const young = await sessions("delete", "--older-than", "30d");
  expect(young).toMatchObject({ exit: 0, out: "" });
  expect(young.err).toContain("no session is quiet for so long");
  const asked = await until("it is quiet for a second", async () => {
    const ran = await sessions("delete", "--older-than", "1s");
    return new RegExp(`would be deleted \\((.*, )?${quiet}[,)].*add --yes`).test(ran.err) && ran;
  });
  expect(asked).toMatchObject({ exit: 2, out: "" });
  expect(asked.err).not.toContain(live);
  const ran = await sessions("delete", "--older-than", "1s", "--yes");
  expect(ran.exit).toBe(0);
  expect(ran.out.split("\n")).toContain(quiet);
  expect(ran.out.split("\n")).not.toContain(live);
  expect((await sessions("show", live)).exit).toBe(0);
});
