import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { call, startTestServer } from "../support/server.ts";

test("a server stops at once although a connection that never asked anything is open", async () => {
  const server = await startTestServer();
  await call(server, "GET", "/health");
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  await once(socket, "connect");
  const closed = once(socket, "close");
  const started = performance.now();
  await server.close();
  await closed;
  expect(performance.now() - started).toBeLessThan(5_000);
});

test("a held answer is given before the server stops", async () => {
  const server = await startTestServer();
  const created = await call(server, "POST", "/v1/intents", { intent_type: "slow.v1", to_agent: "nobody" });
  const held = call(server, "GET", `/v1/intents/${created.body.intent_id}?wait=50`);
  await call(server, "GET", "/health");
  const [answer] = await Promise.all([held, server.close()]);
  expect(answer.body).toMatchObject({ ok: true, status: "SUBMITTED" });
});
