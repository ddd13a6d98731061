// A wait in vain has to tell enough to be understood from its words alone.
import { expect, test } from "vitest";
import { claimOne, send, typesOf } from "../delivery/listener.ts";
import { codeOf, newAddress, newProcess, quiet, sender, server, useServer } from "../sdk/agents.ts";
import { until } from "./until.ts";

useServer();

const words = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "it was not in vain",
    (error: unknown) => (error as Error).message,
  );

test("a condition that never holds tells the log of what it is about, who holds it, and what is not answered", async () => {
  const id = await send(server, newAddress());
  for (let n = 0; n < 6; n += 1) await send(server, newAddress());
  const asking = new AbortController();
  const asked = fetch(`${server.url}/v1/intents/${id}?wait=50`, { signal: asking.signal }).catch(
    () => undefined,
  );
  await until("the request to be there", async () =>
    (await words(until(id, () => false, 1))).includes("?wait=50"),
  );
  const told = await words(until(`${id} to end`, () => false, 1));
  asking.abort();
  await asked;
  expect(told).toMatch(/^waited 1 ms in vain for: .* to end\n/);
  expect(told).toContain(`"id":"${id}","status":"SUBMITTED"`);
  expect(told).toContain("intent.submitted");
  expect(told).toContain(`open "GET /v1/intents/${id}?wait=50 for`);
});

test("an outcome and a delivery that do not come tell what agents logged and what they wait for", async () => {
  const address = newAddress();
  const { client, network, log } = newProcess();
  log.push("info a line of the agent");
  await client.listen(address, () => "done", quiet).ready;
  network.freeze();
  const id = await send(server, address);
  await until("its delivery", async () => (await typesOf(server, id)).includes("delivered"));
  const told = await words(sender.waitFor(id, { timeout: "200ms" }));
  expect(told).toContain("intent.delivered");
  expect(told).toContain("info a line of the agent");
  expect(told).toMatch(/open: GET \/v1\/agents\/.* for \d+ ms/);
  expect(await codeOf(sender.waitFor(id, { timeout: "1ms" }))).toBe("wait_timeout");
  expect(await words(claimOne(server, newAddress(), { wait_seconds: 0 }))).toContain(id);
  network.thaw();
  await sender.waitFor(id);
});
