// Clients that share requests: with older servers, small ones, and when they close.
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { PerdureClient, type PerdureError } from "../../sdk/src/index.ts";
import { startTestServer, until } from "../support/server.ts";
import { newAddress, newClient, useServer } from "./agents.ts";
import { all, countAt, create, httpOver, intent, isBatch, line, never, useLines } from "./lines.ts";

useServer();
useLines();

describe("a client that shares requests", () => {
  test("asks a server from before there were batches once, and goes on without", async () => {
    const way = line((request, pass) => {
      if (!isBatch(request)) return pass();
      return Promise.resolve(new Response('{"code":"not_found"}', { status: 404 }));
    });
    const client = newClient(way.fetch);
    const address = newAddress();
    await all(3, () => client.sendIntent(intent(address)));
    await all(3, () => client.sendIntent(intent(address)));
    expect(way.requests).toEqual(["POST /v1/batch ×3", ...Array(6).fill("POST /v1/intents")]);
    expect(await countAt(address)).toBe(6);
  });

  test("sends less at once where the server refuses the batch as such", async () => {
    const strict = await startTestServer({ env: { PERDURE_BATCH_MAX: "3" } });
    try {
      const way = line();
      const client = new PerdureClient({ baseUrl: strict.url, fetch: way.fetch, logger: false });
      const ids = await all(10, () => client.sendIntent(intent("one")));
      expect(new Set(ids).size).toBe(10);
      // One that is wrong in a way that spoils the whole text.
      const sent = await Promise.allSettled(
        ["a", "b\u0000", "c"].map((text) => client.sendIntent(intent("one", { payload: { text } }))),
      );
      expect(sent.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      await client.close();
    } finally {
      await strict.close();
    }
  });

  test("keeps an agent's signs of life and its work apart from a pile of intents to be sent", async () => {
    const way = line((request, pass) => (/intents$|batch/.test(request) ? never() : pass()));
    const http = httpOver(way);
    const pile: Promise<unknown>[] = [];
    for (const nth of [1, 2]) {
      pile.push(http.send(create(newAddress())).catch(() => undefined));
      await until("its request", () => way.requests.length === nth);
    }
    pile.push(all(3, () => http.send(create(newAddress()))).catch(() => undefined));
    const [consumer, id] = [randomUUID(), randomUUID()];
    const beat = http.send({
      method: "POST",
      path: `/v1/consumers/${consumer}/heartbeat`,
      body: { incarnation: "1", holding: [], capacity: 1 },
      retry: "never",
      batch: { op: "consumer_heartbeat", consumer_id: consumer },
    });
    const step = http.send({
      method: "PUT",
      path: `/v1/intents/${id}/steps/a`,
      body: { status: "running", attempt: 1 },
      fenced: true,
      batch: { op: "step", intent_id: id, key: "a" },
    });
    await Promise.all([
      expect(beat).rejects.toMatchObject({ code: "consumer_lost" }),
      expect(step).rejects.toMatchObject({ code: "not_found" }),
    ]);
    const own = ["POST /v1/consumers/ID/heartbeat", "PUT /v1/intents/ID/steps/a"];
    expect(way.requests).toEqual(expect.arrayContaining(own));
    http.close();
    await Promise.all(pile);
  });

  test("ends what waits and what is on its way when it closes", async () => {
    const way = line(never);
    const http = httpOver(way);
    const codeOf = (work: Promise<unknown>) => work.catch((error: PerdureError) => error.code);
    const flying = all(2, () => codeOf(http.send(create(newAddress()))));
    await until("the request", () => way.requests.length === 1);
    const queued = all(2, () => codeOf(http.send(create(newAddress()))));
    http.close();
    expect([...(await flying), ...(await queued)]).toEqual(Array(4).fill("client_closed"));
    expect(await codeOf(http.send(create(newAddress())))).toBe("client_closed");
  });
});
