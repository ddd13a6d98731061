// perdure fence: after a restore, or a standby that lacks commits, nobody's attempt counts any more, and no number is given out twice.
import { afterAll, beforeAll, expect, test } from "vitest";
import { runCli } from "../../server/cli/run.ts";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { claimOne, send, view } from "../delivery/listener.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { openTerminal } from "./terminal.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: { PERDURE_LEASE_TTL_MS: "60000" } });
});
afterAll(() => server.close());

const fence = async (...more: string[]) => {
  const terminal = openTerminal({ DATABASE_URL: server.databaseUrl });
  return { exit: await runCli(["fence", ...more], terminal.io), out: terminal.out };
};
const write = (id: string, verb: string, body: object) =>
  call(server, "POST", `/v1/intents/${id}/${verb}`, body);

test("what is held is handed out anew, under a number that nobody can hold", async () => {
  const held = await send(server, "held", { steps: ["a", "b"] });
  await claimOne(server, "held");
  expect((await write(held, "start", { attempt: 1 })).status).toBe(200);
  const queued = await send(server, "queued");
  const ended = await send(server, "ended");
  await write(ended, "cancel", {});

  expect(JSON.parse((await fence("--json")).out)).toEqual({ ok: true, fenced: 2 });

  // 2 is what the next one would have been, and may have been in the time that is forgotten.
  for (const attempt of [1, 2]) {
    const late = await call(server, "PUT", `/v1/intents/${held}/steps/a`, {
      attempt,
      status: "done",
      result: 1,
    });
    expect(late.body).toMatchObject({ code: "stale_attempt" });
  }
  expect(await claimOne(server, "held")).toMatchObject({
    attempt: 1_002,
    next_step: { key: "a", interrupted: true },
  });
  for (const attempt of [1, 2]) expect((await write(held, "start", { attempt })).status).toBe(409);
  expect((await write(held, "start", { attempt: 1_002 })).status).toBe(200);
  expect(await claimOne(server, "queued")).toMatchObject({ intent_id: queued, attempt: 1_001 });
  expect(await view(server, held)).toMatchObject({ lost_deliveries: 0 });
  expect(await view(server, ended)).toMatchObject({ status: "CANCELED" });
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
});

test("who is fenced while the handler runs waits for nobody", async () => {
  const waiting = await send(server, "waiting");
  await claimOne(server, "waiting");
  const parked = await call(server, "PUT", `/v1/intents/${waiting}/steps/w`, {
    attempt: 1,
    status: "waiting",
    wait: { signal: "go" },
  });
  expect(parked.status).toBe(200);
  expect((await fence()).exit).toBe(0);
  expect(await view(server, waiting)).toMatchObject({ status: "WAITING" });
  await call(server, "POST", `/v1/intents/${waiting}/signals/go`, { data: 1 });
  expect((await claimOne(server, "waiting")).attempt).toBe(1_002);
  expect((await verifyDatabase(server.databaseUrl)).violations).toEqual([]);
});
