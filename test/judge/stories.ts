// Stories for the judge: one that went well as everybody saw it, and the pieces to tell others.

import type { LogEvent } from "../../server/verify/log-rules.ts";
import type { Final } from "./finals.ts";
import type { Effect, Exchange, Json, Line, Told, Watched } from "./history.ts";
import { judge } from "./judge.ts";

export const ID = "00000000-0000-7000-8000-000000000001";

/** `type/status/attempt key`: one line per event. */
export function logOf(lines: readonly string[]): LogEvent[] {
  return lines.map((line, index) => {
    const [head = "", key] = line.split(" ");
    const [type = "", status = "", attempt = "0"] = head.split("/");
    const details: Json = {
      ...(key === undefined ? {} : { key }),
      ...(type === "delivered" ? { consumer: `c${attempt}` } : {}),
      ...(type === "step_done" ? { result: `${key}!` } : {}),
      ...(type === "completed" ? { result: "all" } : {}),
    };
    return { seq: index + 1, type, status, attempt: Number(attempt) || null, details };
  });
}

/** Crashed once in step b, completed by the second agent. */
export const GOOD = [
  "created/CREATED/0",
  "submitted/SUBMITTED/0",
  "delivered/DELIVERED/1",
  "in_progress/IN_PROGRESS/1",
  "step_running/IN_PROGRESS/1 a",
  "step_done/IN_PROGRESS/1 a",
  "step_running/IN_PROGRESS/1 b",
  "lost/IN_PROGRESS/1",
  "step_interrupted/IN_PROGRESS/1 b",
  "redelivery_scheduled/IN_PROGRESS/1",
  "delivered/IN_PROGRESS/2",
  "step_running/IN_PROGRESS/2 b",
  "step_done/IN_PROGRESS/2 b",
  "completed/COMPLETED/2",
];

export function final(lines: readonly string[] = GOOD, more: Partial<Final> = {}): Final {
  const events = logOf(lines);
  const done = [
    ...new Set(events.filter((event) => event.type === "step_done").map((event) => event.details?.key)),
  ];
  return {
    id: ID,
    status: events.at(-1)?.status ?? "",
    attempt: Math.max(0, ...events.map((event) => event.attempt ?? 0)),
    lostDeliveries: 0,
    maxDeliveryAttempts: 3,
    payload: { mark: "m1" },
    result: "all",
    events,
    steps: done.map((key) => ({ key, status: "done", result: `${key}!` })),
    ...more,
  };
}

export const exchange = (
  method: string,
  path: string,
  body: Json,
  answer: Json,
  more: Partial<Exchange> = {},
): Exchange => ({
  kind: "exchange",
  client: "t",
  at: 1,
  until: 2,
  method,
  path,
  key: null,
  body,
  status: 200,
  answer,
  ...more,
});
export const write = (verb: string, body: Json, answer: Json = {}) =>
  exchange("POST", `/v1/intents/${ID}/${verb}`, body, answer);
export const stepDone = (key: string, attempt: number, result = `${key}!`) =>
  exchange(
    "PUT",
    `/v1/intents/${ID}/steps/${key}`,
    { status: "done", attempt, result },
    { step: { status: "done", result } },
  );
export const create = exchange(
  "POST",
  "/v1/intents",
  { payload: { mark: "m1" } },
  { intent_id: ID },
  { key: "k1" },
);
export const told = (attempt: number, more: Partial<Told> = {}): Told => ({
  kind: "told",
  client: "t",
  consumer: `c${attempt}`,
  incarnation: "i",
  at: 1,
  intentId: ID,
  attempt,
  seq: 3,
  doneSteps: [],
  nextStep: "a",
  ...more,
});
export const effect = (
  step: string,
  attempt: number,
  idempotencyKey: string | null = `key-${step}`,
): Effect => ({
  kind: "effect",
  client: "t",
  at: 1,
  intentId: ID,
  step,
  attempt,
  idempotencyKey,
});
export const watched = (seq: number, watcher = "w"): Watched => ({
  kind: "watched",
  watcher,
  at: 1,
  intentId: ID,
  seq,
  type: GOOD[seq - 1]?.split("/")[0] ?? "",
});

/** All that everybody saw of it. */
export const HISTORY: Line[] = [
  create,
  told(1),
  write("start", { attempt: 1 }),
  effect("a", 1),
  stepDone("a", 1),
  effect("b", 1),
  told(2, { seq: 11, doneSteps: ["a"], nextStep: "b" }),
  effect("b", 2),
  stepDone("b", 2),
  write("resolve", { status: "COMPLETED", attempt: 2 }),
  exchange("GET", `/v1/intents/${ID}?wait=5`, {}, { status: "COMPLETED", result: "all" }),
  ...GOOD.map((_, index) => watched(index + 1)),
];

/** The invariants that are violated. */
export const found = (history: readonly Line[], finals: readonly Final[] = [final()]) =>
  [...new Set(judge(history, finals).violations.map((one) => one.invariant))].sort();
/** The good log without entries of a type, or with more of them. */
export const without = (type: string): string[] => GOOD.filter((line) => !line.startsWith(type));
export const insert = (at: number, ...lines: string[]): string[] => [
  ...GOOD.slice(0, at),
  ...lines,
  ...GOOD.slice(at),
];

/** An entry for a log of its own; `story` makes an intent of them. */
export const entry = (type: string, attempt: number, details: Json = {}, status = "IN_PROGRESS"): Json => ({
  type,
  status,
  attempt: attempt || null,
  details,
});
export const logged = (...entries: Json[]): LogEvent[] =>
  entries.map((one, index) => ({ seq: index + 1, ...one }) as LogEvent);
export const BORN = [entry("created", 0, {}, "CREATED"), entry("submitted", 0, {}, "SUBMITTED")];
export const delivered = (attempt: number) => entry("delivered", attempt, { consumer: `c${attempt}` });
export const waits = (key: string, signal: string) => [
  entry("step_waiting", 1, { key, wait: { signal } }),
  entry("waiting", 1, { steps: [key] }, "WAITING"),
];
export const done = (key: string, attempt: number, more: Json = {}) =>
  entry("step_done", attempt, { key, result: `${key}!`, ...more });
export const story = (...entries: Json[]) => {
  const events = logged(...entries);
  const last = events.at(-1);
  const kept = [
    ...new Set(events.filter(({ type }) => type === "step_done").map(({ details }) => details?.key)),
  ];
  return final([], {
    events,
    status: last?.status ?? "",
    attempt: last?.attempt ?? 0,
    steps: kept.map((key) => ({ key, status: "done", result: `${key}!` })),
  });
};
/** A signal has come for the wait; nobody has it yet. */
export const TAKEN = [
  ...BORN,
  delivered(1),
  ...waits("w", "go"),
  entry("signaled", 1, { name: "go", data: "w!" }, "WAITING"),
];
export const begun = (key: string, attempt: number, idempotency_key: string) =>
  entry("step_running", attempt, { key, idempotency_key });
