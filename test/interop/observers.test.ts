// Windows of an intent's events, as AXME's clients observe (WIRE 4 and 5).
import { expect, test } from "vitest";
import { eventsOf, post, send } from "../delivery/listener.ts";
import { call, startTestServer, until } from "../support/server.ts";
import type { SseEvent } from "./clients/events.ts";
import { readLines } from "./clients/line-reader.ts";
import { readWindow, startObserver } from "./clients/observers.ts";
import { server, useServer } from "./stage.ts";

useServer();

const pathOf = (id: string, since: number, seconds: number) =>
  `${server.url}/v1/intents/${id}/events/stream?since=${since}&wait_seconds=${seconds}`;

const TYPESCRIPT = "axme-sdk-typescript/0.1.2";

/** What one window showed, and how long it took. */
async function windowOf(id: string, since: number, seconds: number, client?: string) {
  const events: SseEvent[] = [];
  const began = performance.now();
  await readWindow(pathOf(id, since, seconds), {
    ...(client === undefined ? {} : { client }),
    see: (event) => events.push(event),
  });
  return { events, names: events.map((event) => event.name), ms: performance.now() - began };
}

test("a window ends after its first events only for the client that reads no earlier", async () => {
  const id = await send(server, "batches");
  const short = await windowOf(id, 0, 30, TYPESCRIPT);
  expect(short.names).toEqual(["intent.created", "intent.submitted"]);
  expect(short.ms).toBeLessThan(1_000);
  const held = await windowOf(id, 0, 1);
  expect(held.names).toEqual(["intent.created", "intent.submitted", "stream.timeout"]);
  expect(held.ms).toBeGreaterThanOrEqual(1_000);
  expect(held.events.at(-1)?.data).toEqual({ ok: true, next_seq: 2 });
});

test("an empty window is held for everybody, and told its number", async () => {
  const id = await send(server, "empty");
  const window = await windowOf(id, 2, 1, TYPESCRIPT);
  expect(window.events).toEqual([{ id: undefined, name: "stream.timeout", data: { ok: true, next_seq: 2 } }]);
  expect(window.ms).toBeGreaterThanOrEqual(1_000);
});

test("an event ends a held window of such a client at once, and others see it in theirs", async () => {
  const id = await send(server, "wakes");
  const [short, held] = [windowOf(id, 2, 10, TYPESCRIPT), windowOf(id, 2, 10)];
  await until("both watch", () => server.wakeups.intents.keys.includes(id));
  await post(server, id, "pause");
  expect((await short).names).toEqual(["intent.paused"]);
  await post(server, id, "cancel");
  expect((await held).names).toEqual(["intent.paused", "intent.canceled"]);
  expect((await held).ms).toBeLessThan(5_000);
});

test("every window ends right after the last event, and one behind it is held", async () => {
  const id = await send(server, "last");
  await post(server, id, "cancel");
  for (const client of [undefined, TYPESCRIPT]) {
    const whole = await windowOf(id, 0, 30, client);
    expect(whole.names).toEqual(["intent.created", "intent.submitted", "intent.canceled"]);
    expect(whole.ms).toBeLessThan(1_000);
    const behind = await windowOf(id, 3, 1, client);
    expect(behind.names).toEqual(["stream.timeout"]);
    expect(behind.ms).toBeGreaterThanOrEqual(1_000);
  }
});

test("a line reader takes a large result apart from its stream, and finds nothing that it does not know", async () => {
  const id = await send(server, "lines");
  await post(server, id, "resolve", { status: "COMPLETED", result: { text: "x".repeat(200_000) } });
  const read = await readLines(pathOf(id, 0, 10), 0);
  expect(read.events.map((event) => event.name).at(-1)).toBe("intent.completed");
  expect(JSON.parse(read.events.at(-1)?.data ?? "").details).toMatchObject({ result_omitted: true });
  expect(read.lines.filter((line) => !/^(id: \d+|event: .+|data: .+|:|)$/.test(line))).toEqual([]);
  // It asks one too far then, and is kept rather than sent round and round.
  const began = performance.now();
  expect((await readLines(pathOf(id, read.since, 1), read.since)).events).toMatchObject([
    { name: "stream.timeout" },
  ]);
  expect(performance.now() - began).toBeGreaterThanOrEqual(1_000);
});

test("Last-Event-ID wins over since", async () => {
  const id = await send(server, "header");
  const response = await fetch(pathOf(id, 0, 1), { headers: { "last-event-id": "1" } });
  expect(await response.text()).toMatch(/^id: 2\nevent: intent.submitted\n/);
});

test("observers of all kinds see every event once, in order, and none asks without a pause", async () => {
  const id = await send(server, "seen", { steps: ["a", "b"] });
  const kinds = ["typescript", "python", "polling"] as const;
  const observers = kinds.map((kind) =>
    startObserver({ url: server.url, intentId: id, kind, waitSeconds: 5 }),
  );
  await call(server, "POST", "/v1/agents/seen/claim", { wait_seconds: 30 });
  for (const key of ["a", "b"])
    await call(server, "PUT", `/v1/intents/${id}/steps/${key}`, { status: "done", attempt: 1 });
  const log = (await eventsOf(server, id)).map(({ seq, event_type: type }) => ({ seq, type }));
  for (const observer of observers) {
    expect((await observer.done).type).toBe("intent.completed");
    expect(observer.seen).toEqual(log);
  }
  expect(observers[1]?.windows).toBe(1);
  expect(observers[0]?.windows).toBeLessThanOrEqual(log.length);
});

test("a window of events that is out of its bounds is refused", async () => {
  const id = await send(server, "bounds");
  for (const seconds of [0, 61, Number.NaN]) expect((await fetch(pathOf(id, 0, seconds))).status).toBe(422);
});

test("a server that stops ends windows of events in order", async () => {
  const other = await startTestServer();
  const id = await send(other, "stopping");
  const url = `${other.url}/v1/intents/${id}/events/stream?since=2&wait_seconds=50`;
  const reading = fetch(url).then((response) => response.text());
  await until("it watches", () => other.wakeups.intents.keys.includes(id));
  await other.close();
  expect(await reading).toBe('event: stream.timeout\ndata: {"ok":true,"next_seq":2}\n\n');
});
