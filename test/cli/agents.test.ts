// perdure agents, against a real server.
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { perdure } from "./terminal.ts";

let server: TestServer;
let name: string;
let named = 0;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());
beforeEach(() => {
  name = `worker-${++named}`;
});

const agents = (...argv: string[]) => perdure(server.url, ["agents", ...argv]);
const claim = () => call(server, "POST", `/v1/agents/${name}/claim`, { lease_seconds: 600 });

async function send(): Promise<string> {
  const { body } = await call(server, "POST", "/v1/intents", { intent_type: "job.v1", to_agent: name });
  return body.intent_id;
}

test("lists who listens, what waits for them and what they have at work", async () => {
  await send();
  await claim();
  await send();
  const listed = await agents();
  expect(listed.exit).toBe(0);
  expect(listed.out).toMatch(/^ADDRESS +LISTENERS +QUEUED +AT WORK +PAUSED +LAST SEEN$/m);
  expect(listed.out).toMatch(new RegExp(`^agent://local/dev/${name} +1 +1 +1 +[\\d.]+\\w ago$`, "m"));
});

test("says where work waits and nobody listens: that may be an address that was mistyped", async () => {
  await send();
  await send();
  const { err, out } = await agents();
  expect(err).toMatch(
    new RegExp(
      `^nobody listens at agent://local/dev/${name}: 2 intents wait, the oldest for [\\d.]+\\w$`,
      "m",
    ),
  );
  expect(out).not.toContain(name);
});

test("pauses all of an agent, by its address short or whole, and lets it go on", async () => {
  const id = await send();
  await claim();
  const paused = await agents("pause", `agent://local/dev/${name}`, "--reason", "release");
  expect(paused).toMatchObject({ exit: 0, out: `agent://local/dev/${name}  paused, 1 intent changed\n` });
  expect((await agents("show", name)).out).toMatch(/^paused +yes$/m);
  expect((await call(server, "GET", `/v1/intents/${id}`)).body.intent.paused).toBe(true);
  expect((await agents("unpause", name)).out).toContain("unpaused, 1 intent changed");
  expect((await call(server, "GET", `/v1/intents/${id}`)).body.intent.paused).toBe(false);
});

test("refuses what is no address, and tells a command that it does not have", async () => {
  expect(await agents("pause", "a/b/c/d/e")).toMatchObject({ exit: 2, out: "" });
  const unknown = await agents(name);
  expect(unknown).toMatchObject({ exit: 2, out: "" });
  expect(unknown.err).toContain(`it has list, show, pause, unpause; to see one: perdure agents show ${name}`);
});
