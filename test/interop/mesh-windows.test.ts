// The mesh and AXP's agents, which wait in windows: a heartbeat is their sign of life, a kill holds for them too.
import { expect, test } from "vitest";
import { inStatus, post, send, typesOf, view } from "../delivery/listener.ts";
import { until } from "../support/server.ts";
import { AxpClient } from "./clients/rest.ts";
import { valid } from "./schemas.ts";
import { agent, never, server, useServer, working } from "./stage.ts";

useServer();

const leaseLeft = async (): Promise<number[]> => {
  const { rows } = await server.store.pool.query<{ ms: number }>(
    "select (extract(epoch from lease_until - perdure_now()) * 1000)::float8 as ms from consumers where mode = 'windowed' order by id",
  );
  return rows.map((row) => row.ms);
};

test("a heartbeat without a body renews every delivery that its key holds", async () => {
  await send(server, "beating");
  const client = agent("beating", { work: never, key: "a-key" });
  await until("the delivery", () => client.deliveries[0]);
  await server.store.pool.query(
    "update consumers set lease_until = perdure_now() + interval '10 s' where mode = 'windowed'",
  );
  const axp = new AxpClient(server.url, { apiKey: "a-key" });
  expect(valid("heartbeat", await axp.heartbeat()).renewed).toBe(1);
  expect((await leaseLeft()).every((ms) => ms > 500_000)).toBe(true);
  // One that names another agent renews nothing here.
  const other = await axp.heartbeat(undefined, { ownerAgent: "agent://local/dev/other" });
  expect(other.renewed).toBe(0);
});

test("a holder that knows no attempts completes by resume", async () => {
  const id = await send(server, "resuming");
  const client = agent("resuming", { work: never });
  await until("the delivery", () => client.deliveries[0]);
  const answer = await post(server, id, "resume", { action: "complete", n: 1 });
  expect(answer.body).toMatchObject({ applied: true });
  expect(await view(server, id)).toMatchObject({ status: "COMPLETED", result: { n: 1 } });
});

test("to a killed agent that waits in a window nothing is delivered, and a newcomer takes nothing over, until it is resumed", async () => {
  const axp = new AxpClient(server.url);
  const held = await send(server, "victim");
  const first = agent("victim", { work: never, waitSeconds: 1 });
  await until("the delivery", () => first.deliveries[0]);
  first.kill();
  const { agents } = await axp.listAgents();
  // biome-ignore lint/suspicious/noExplicitAny: an answer
  const { address_id } = agents.find((one: any) => one.address.endsWith("/victim"));
  await axp.kill(address_id);
  expect(await view(server, held)).toMatchObject({ paused: true });

  const second = agent("victim", { work: working(server.url), waitSeconds: 1 });
  const later = await send(server, "victim");
  await until("two windows are over, which is longer than the hold-off", () => second.timeouts.length >= 2);
  expect(second.deliveries).toEqual([]);
  expect((await view(server, later)).status).toBe("SUBMITTED");

  await axp.revive(address_id);
  await inStatus(server, later, "COMPLETED");
  expect(await view(server, held)).toMatchObject({ paused: false });
  expect(await typesOf(server, held)).toContain("unpaused");
});
