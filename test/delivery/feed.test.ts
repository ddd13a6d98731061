// The feed of all intents: what it tells, to whom, where it goes on, and how it says that something is missing.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { FeedTail } from "../../server/delivery/feed-tail.ts";
import { type Headers, issueKey, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";

interface Frame {
  readonly id: string;
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
  readonly data: any;
}

class Reader {
  readonly frames: Frame[] = [];
  readonly #stop = new AbortController();
  readonly ended: Promise<void>;
  readonly #opened: Promise<Response>;

  constructor(server: { readonly url: string }, query = "", headers: Headers = {}) {
    this.#opened = fetch(`${server.url}/v1/events/stream${query}`, { headers, signal: this.#stop.signal });
    this.ended = this.#read().catch(() => undefined);
  }

  async #read(): Promise<void> {
    const response = await this.#opened;
    let rest = "";
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const parts = (rest + chunk).split("\n\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const lines = part.split("\n").filter((line) => line.includes(": "));
        const field = (name: string) =>
          lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        this.frames.push({
          id: field("id") ?? "",
          event: field("event") ?? "",
          data: JSON.parse(field("data") ?? "null"),
        });
      }
    }
  }

  get status(): Promise<number> {
    return this.#opened.then((response) => response.status);
  }

  has(event: string, match: (frame: Frame) => boolean = () => true): Promise<Frame> {
    return until(`${event}; there are ${this.frames.map((one) => one.event).join(", ")}`, () =>
      this.frames.find((frame) => frame.event === event && match(frame)),
    );
  }

  about(id: string): Frame[] {
    return this.frames.filter((frame) => frame.data.intent_id === id);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.ended;
  }
}

const readers: Reader[] = [];
afterEach(async () => {
  await Promise.all(readers.splice(0).map((reader) => reader.close()));
});

async function follow(server: { readonly url: string }, query = "", headers: Headers = {}): Promise<Reader> {
  const reader = new Reader(server, query, headers);
  readers.push(reader);
  expect(await reader.status).toBe(200);
  await reader.has("stream.open");
  return reader;
}

async function send(server: TestServer, body: object = {}, headers: Headers = {}): Promise<string> {
  const answer = await call(
    server,
    "POST",
    "/v1/intents",
    { intent_type: "a", to_agent: "x", ...body },
    headers,
  );
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body.intent_id;
}

const finish = (server: TestServer, id: string) =>
  call(server, "POST", `/v1/intents/${id}/resolve`, {
    status: "COMPLETED",
    result: { large: "x".repeat(5_000) },
  });

const lastOf =
  (id: string, event = "intent.completed") =>
  (frame: Frame) =>
    frame.data.intent_id === id && frame.event === event;

describe("one server", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ env: { PERDURE_FEED_MAX_EVENTS: "50" } });
  });
  afterAll(() => server.close());

  test("tells of every event of every intent, in order, with the intent as it was then", async () => {
    const reader = await follow(server);
    const ids = await Promise.all([send(server), send(server), send(server)]);
    for (const id of ids) await finish(server, id);
    for (const id of ids) {
      await reader.has("intent.completed", lastOf(id));
      expect(reader.about(id).map((frame) => frame.data.seq)).toEqual([1, 2, 3]);
      expect(reader.about(id).at(-1)?.data.intent).toMatchObject({
        status: "COMPLETED",
        intent_type: "a",
        seq: 3,
      });
    }
    expect(JSON.stringify(reader.frames)).not.toContain("xxxxx");
  });

  test("tells only of what is asked for", async () => {
    const bySession = await follow(server, "?session=nightly");
    const byMeta = await follow(server, "?metadata.team=blue");
    const byAgent = await follow(server, "?to_agent=local/dev/rob*&event_type=intent.submitted");
    const byId = await send(server, { session: "nightly" });
    const chosen = await follow(server, `?intent_id=${byId}&status=COMPLETED`);
    const other = await send(server, { to_agent: "robot", metadata: { team: "blue", tier: "1" } });
    await finish(server, byId);
    await finish(server, other);
    await bySession.has("intent.completed", lastOf(byId));
    await byMeta.has("intent.completed", lastOf(other));
    await chosen.has("intent.completed", lastOf(byId));
    await byAgent.has("intent.submitted", lastOf(other, "intent.submitted"));
    expect(bySession.about(other)).toEqual([]);
    expect(byMeta.about(byId)).toEqual([]);
    expect(chosen.frames.filter((frame) => frame.event.startsWith("intent.")).length).toBe(1);
    expect(byAgent.frames.filter((frame) => frame.event.startsWith("intent.")).length).toBe(1);
  });

  test("goes on behind the last frame that was received, without gap and duplicate", async () => {
    const first = await follow(server);
    const id = await send(server);
    const submitted = await first.has("intent.submitted", lastOf(id, "intent.submitted"));
    await first.close();
    await finish(server, id);
    const second = await follow(server, "", { "last-event-id": submitted.id });
    await second.has("intent.completed", lastOf(id));
    expect(second.about(id).map((frame) => frame.data.seq)).toEqual([3]);
    expect(second.frames.map((frame) => frame.event)).not.toContain("stream.gap");
  });

  test("says so when what is asked for is not kept any more, or never was", async () => {
    const reader = await follow(server);
    const old = (await reader.has("stream.open")).id;
    for (let n = 0; n < 60; n += 1) await send(server);
    const late = await follow(server, `?since=${old}`);
    expect((await late.has("stream.gap")).data).toEqual({ reason: "too_old" });
    const foreign = await follow(server, "?since=anything.12");
    expect((await foreign.has("stream.gap")).data).toEqual({ reason: "unknown_cursor" });
    const id = await send(server);
    await late.has("intent.submitted", lastOf(id, "intent.submitted"));
    await foreign.has("intent.submitted", lastOf(id, "intent.submitted"));
  });

  test("with an interval tells of each intent once, by its newest event", async () => {
    const reader = await follow(server, "?interval_ms=300");
    const id = await send(server);
    await finish(server, id);
    const frame = await reader.has("intent.completed", lastOf(id));
    expect(reader.about(id).reduce((sum, one) => sum + one.data.events, 0)).toBe(3);
    expect(frame.data.intent.status).toBe("COMPLETED");
  });

  test("refuses what it does not understand", async () => {
    for (const query of [
      "?status=DONE",
      "?interval_ms=-1",
      "?intent_id=x",
      "?event_type=a",
      "?to_agent=**",
      "?since=%00",
    ]) {
      const answer = await call(server, "GET", `/v1/events/stream${query}`).catch(() => ({ status: 0 }));
      if (query === "?since=%00") continue;
      expect([400, 422], query).toContain(answer.status);
    }
  });
});

test("a reader sees what its key sees, and is cut off when its key ends", async () => {
  const server = await startKeyedServer();
  try {
    const mine = await issueKey(server, "acme/prod/boss", ["send", "read", "operate"], {});
    const theirs = await issueKey(server, "beta/prod/boss", ["send", "read", "operate"], {});
    const sender = await issueKey(server, "acme/prod/sender", ["send", "read"], {});
    const feed = await follow(server, "", mine.headers);
    const ownFeed = await follow(server, "", sender.headers);
    const hidden = await send(server, {}, theirs.headers);
    const seen = await send(server, {}, mine.headers);
    const own = await send(server, {}, sender.headers);
    await feed.has("intent.submitted", lastOf(own, "intent.submitted"));
    await ownFeed.has("intent.submitted", lastOf(own, "intent.submitted"));
    expect(feed.about(seen).length).toBe(2);
    expect(feed.about(hidden)).toEqual([]);
    expect(ownFeed.about(seen)).toEqual([]);
    await call(server, "DELETE", `/v1/keys/${sender.id}`, undefined, {
      "x-api-key": "an-administrators-key-for-tests-only",
    });
    expect((await ownFeed.has("stream.end")).data.reason).toBe("key_ended");
  } finally {
    await Promise.all(readers.splice(0).map((reader) => reader.close()));
    await server.close();
  }
});

test("what another server commits is told with its events, too", async () => {
  const one = await startTestServer();
  const other = await startTestServer({ databaseUrl: one.databaseUrl });
  try {
    // Each learns of the other with a pulse; until then nothing is told, and of the intent at which it does perhaps only the end.
    const reader = await follow(one);
    const sendAndFinish = async () => {
      const sent = await send(other);
      expect((await finish(other, sent)).status).toBe(200);
      return sent;
    };
    await until("news from the other server", async () => {
      const sent = await sendAndFinish();
      await new Promise((resolve) => setImmediate(resolve));
      return reader.about(sent).length > 0;
    });
    const id = await sendAndFinish();
    await until("all of it", () => reader.about(id).length >= 3);
    const told = reader.about(id).map((frame) => frame.data.seq);
    // Two commits are heard of apart.
    expect(told.sort()).toEqual([1, 2, 3]);
  } finally {
    await Promise.all(readers.splice(0).map((reader) => reader.close()));
    await other.close();
    await one.close();
  }
});

describe("the tail", () => {
  const tail = () => new FeedTail({ store: undefined as never, maxEntries: 10, onError: () => undefined });
  const change = (seq: number) =>
    ({
      before: null,
      after: { id: "i", seq },
      events: [{ intentId: "i", seq, type: "intent.progress", details: null }],
    }) as never;

  test("keeps nothing while nobody watches", () => {
    const kept = tail();
    kept.follow([change(1)]);
    expect(kept.position).toBe(0);
    kept.watch();
    kept.follow([change(2)]);
    expect(kept.read(0, 100).entries.map(({ event }) => event.seq)).toEqual([2]);
  });

  test("is bounded, and tells a reader behind it", () => {
    const kept = tail();
    kept.watch();
    for (let seq = 1; seq <= 100; seq += 1) kept.follow([change(seq)]);
    const page = kept.read(0, 100);
    expect(page).toMatchObject({ gap: "too_old", position: 100, entries: [] });
    expect(kept.read(95, 100).entries.map(({ event }) => event.seq)).toEqual([96, 97, 98, 99, 100]);
  });

  test("passes over nothing in silence when something happened that nobody can name", () => {
    const kept = tail();
    kept.watch();
    kept.follow([change(1)]);
    const before = kept.position;
    kept.lose();
    expect(kept.read(before, 100).gap).toBe("missed");
    expect(kept.positionOf(kept.cursorOf(before))).toBe(before);
    expect(kept.positionOf("x.1")).toBeNull();
    expect(kept.positionOf(kept.cursorOf(99))).toBeNull();
  });
});
