// client.observeAll: the events of all intents, over lost connections.
import { expect, it } from "vitest";
import type { FeedEvent, FeedFilter } from "../../sdk/src/index.ts";
import { PerdureClient } from "../../sdk/src/index.ts";
import { startTestServer, until } from "../support/server.ts";
import { createNetwork } from "./network.ts";

/** Collects what a client sees until it is stopped. */
function follow(client: PerdureClient, filter: FeedFilter) {
  const seen: FeedEvent[] = [];
  const gaps: string[] = [];
  const stopping = new AbortController();
  let opened = 0;
  const ended = (async () => {
    const onOpen = () => {
      opened += 1;
    };
    const onGap = (reason: string) => {
      gaps.push(reason);
    };
    for await (const event of client.observeAll(filter, { signal: stopping.signal, onOpen, onGap }))
      seen.push(event);
  })();
  const stop = async () => {
    stopping.abort();
    await ended;
  };
  return { seen, gaps, ended, stop, opened: () => opened };
}

it("yields what its filter chooses, in order, and stops quietly", async () => {
  const server = await startTestServer();
  const client = new PerdureClient({ baseUrl: server.url, logger: false });
  const feed = follow(client, { toAgent: "fed", eventType: ["intent.created", "intent.canceled"] });
  try {
    await until("it is open", () => feed.opened() === 1);
    await client.sendIntent({ intentType: "other.v1", toAgent: "another", payload: {} });
    const id = await client.sendIntent({ intentType: "job.v1", toAgent: "fed", payload: {} });
    await client.cancel(id);
    await until("both are seen", () => feed.seen.length === 2);
    await feed.stop();
    const of = { intentId: id, intentType: "job.v1", toAgent: "agent://local/dev/fed" };
    expect(feed.seen).toMatchObject([
      { ...of, type: "intent.created", seq: 1 },
      { ...of, type: "intent.canceled", status: "CANCELED" },
    ]);
    expect(feed.gaps).toEqual([]);
  } finally {
    await client.close();
    await server.close();
  }
});

it("comes back to a server that was away, and is told of the gap", async () => {
  const first = await startTestServer();
  const client = new PerdureClient({ baseUrl: first.url, logger: false });
  const feed = follow(client, {});
  await until("it is open", () => feed.opened() === 1);
  await first.close();
  const second = await startTestServer({ port: Number(new URL(first.url).port) });
  try {
    await until("it has come back", () => feed.opened() === 2 && feed.gaps.length === 1);
    expect(feed.gaps).toEqual(["unknown_cursor"]);
    const id = await client.sendIntent({ intentType: "job.v1", toAgent: "fed", payload: {} });
    await until("it sees again", () => feed.seen.some(({ intentId }) => intentId === id));
    await feed.stop();
  } finally {
    await client.close();
    await second.close();
  }
});

it("goes on where it was when its connection breaks: each event once, and no gap", async () => {
  const server = await startTestServer();
  const network = createNetwork(server.url);
  const watcher = new PerdureClient({ baseUrl: server.url, fetch: network.fetch, logger: false });
  const sender = new PerdureClient({ baseUrl: server.url, logger: false });
  const feed = follow(watcher, { eventType: ["intent.created"] });
  const sent: string[] = [];
  const send = async () => {
    sent.push(await sender.sendIntent({ intentType: "job.v1", toAgent: "fed", payload: {} }));
  };
  try {
    await until("it is open", () => feed.opened() === 1);
    for (let cuts = 1; cuts <= 3; cuts++) {
      await send();
      await until("it is seen", () => feed.seen.length === sent.length);
      network.cut();
      // While nobody is connected.
      await send();
      await until("it has come back", () => feed.opened() > cuts);
    }
    await until("all are seen", () => feed.seen.length === sent.length);
    await feed.stop();
    expect(feed.seen.map(({ intentId }) => intentId)).toEqual(sent);
    expect(feed.gaps).toEqual([]);
  } finally {
    await watcher.close();
    await sender.close();
    await server.close();
  }
});

it("throws what will not be better another time", async () => {
  const server = await startTestServer();
  const client = new PerdureClient({ baseUrl: server.url, logger: false });
  try {
    await expect(follow(client, { eventType: ["intent.nothing"] }).ended).rejects.toMatchObject({
      code: "validation_failed",
    });
  } finally {
    await client.close();
    await server.close();
  }
});
