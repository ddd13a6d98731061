// What clients saw, written down as they see it, so that a killed process leaves its story. One JSON object per line.

import { appendFileSync, readFileSync } from "node:fs";

/** One request and what came of it. Without a status nobody knows what came of it. */
export interface Exchange {
  readonly kind: "exchange";
  readonly client: string;
  readonly at: number;
  readonly until: number | null;
  readonly method: string;
  readonly path: string;
  readonly key: string | null;
  readonly body: Json | null;
  readonly status: number | null;
  readonly answer: Json | null;
}

/** The intent that a request is about. */
export const idIn = (path: string): string => path.split("/")[3] ?? "";

/** A frame of an agent's stream. */
export interface Told {
  readonly kind: "told";
  readonly client: string;
  readonly consumer: string;
  readonly incarnation: string;
  readonly at: number;
  readonly intentId: string;
  readonly attempt: number;
  readonly seq: number;
  readonly doneSteps: readonly string[];
  readonly nextStep: string | null;
}

/** A step's effect on the outside world. */
export interface Effect {
  readonly kind: "effect";
  readonly client: string;
  readonly at: number;
  readonly intentId: string;
  readonly step: string;
  readonly attempt: number;
  /** Null: recorded behind the work, so that it may be repeated and changes nothing. */
  readonly idempotencyKey: string | null;
}

/** An event that a watcher was shown; `watcher` goes on over reconnects with its cursor. */
export interface Watched {
  readonly kind: "watched";
  readonly watcher: string;
  readonly at: number;
  readonly intentId: string;
  readonly seq: number;
  readonly type: string;
}

// biome-ignore lint/suspicious/noExplicitAny: whatever the wire carried
export type Json = Record<string, any>;
export type Line = Exchange | Told | Effect | Watched;

export function readHistory(file: string): Line[] {
  let text = "";
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return [];
  }
  // The last line of a killed process may be half a line.
  return text.split("\n").flatMap((line) => {
    try {
      return line === "" ? [] : [JSON.parse(line) as Line];
    } catch {
      return [];
    }
  });
}

/** A synchronous append: what is written survives SIGKILL of the writer. */
export function openHistory(file: string): (line: Line) => void {
  return (line) => appendFileSync(file, `${JSON.stringify(line)}\n`);
}

type Asked = Omit<Exchange, "until" | "status" | "answer">;

/** fetch that writes down what was asked, and what was answered once all of it is here. */
export function recordingFetch(client: string, record: (line: Line) => void): typeof fetch {
  return async (input, init) => {
    const url = new URL(String(input));
    const headers = new Headers(init?.headers);
    const request: Asked = {
      kind: "exchange",
      client,
      at: Date.now(),
      method: init?.method ?? "GET",
      path: url.pathname + url.search,
      key: headers.get("idempotency-key"),
      body: typeof init?.body === "string" ? (JSON.parse(init.body) as Json) : null,
    };
    const isWrite = request.method !== "GET";
    const calls = callsIn(request);
    if (isWrite) for (const asked of calls) record({ ...asked, until: null, status: null, answer: null });
    const response = await fetch(input, init);
    if (response.headers.get("content-type")?.startsWith("text/event-stream"))
      return watched(response, url, client, record);
    const text = await response.text();
    if (isWrite || url.searchParams.has("wait")) {
      const answer = text === "" ? null : (JSON.parse(text) as Json);
      const minimum = headers.get("prefer")?.includes("return=minimal") === true;
      const whole = { status: response.status, body: answer };
      // What is undecided may be done or not, as if nothing had been answered.
      const results: { status: number | null; body: Json | null }[] =
        calls[0] === request || !response.ok ? calls.map(() => whole) : (answer?.results ?? []);
      calls.forEach((asked, index) => {
        const { status, body } = results[index] ?? { status: null, body: null };
        const told = minimum ? withEcho(asked, body) : body;
        record({ ...asked, until: Date.now(), status, answer: told });
      });
    }
    return new Response(text, { status: response.status, headers: response.headers });
  };
}

/** What a batch stands for, call by call; another request is its only one. */
function callsIn(request: Asked): Asked[] {
  if (request.path !== "/v1/batch") return [request];
  return ((request.body?.ops ?? []) as Json[]).map((op) => ({
    ...request,
    method: op.op === "step" ? "PUT" : "POST",
    path: pathOf(op),
    key: op.idempotency_key ?? null,
    body: op.body ?? {},
  }));
}

function pathOf({ op, intent_id, consumer_id, watcher, key }: Json): string {
  if (op === "create") return "/v1/intents";
  if (op === "create_many") return "/v1/intents/batch";
  if (op === "step") return `/v1/intents/${intent_id}/steps/${encodeURIComponent(key)}`;
  if (op === "watch") return `/v1/outcomes/${watcher}/watch`;
  return op === "consumer_heartbeat"
    ? `/v1/consumers/${consumer_id}/heartbeat`
    : `/v1/intents/${intent_id}/${op}`;
}

/** Who asked for little was told that what it had sent is what there is. */
function withEcho({ body }: Asked, answer: Json | null): Json | null {
  const { step } = answer ?? {};
  if (step?.status !== "done" || body?.status !== "done" || "result" in step) return answer;
  return { ...answer, step: { ...step, result: body.result ?? null } };
}

/** An agent's stream, or one of outcomes, whose reader is told what a read would tell. */
function watched(response: Response, url: URL, client: string, record: (line: Line) => void): Response {
  const consumer = url.searchParams.get("consumer");
  const isOutcomes = url.pathname === "/v1/outcomes/stream";
  if ((consumer === null && !isOutcomes) || response.body === null) return response;
  const incarnation = url.searchParams.get("incarnation") ?? "";
  const body = response.body.pipeThrough(
    frameReader({
      "intent.delivered": (data) =>
        record({ ...toldOf(data), client, consumer: consumer ?? "", incarnation }),
      "intent.outcome": (data) => record(readOf(data, client)),
    }),
  );
  return new Response(body, { status: response.status, headers: response.headers });
}

function readOf(data: Json, client: string): Exchange {
  const now = Date.now();
  const path = `/v1/intents/${data.intent_id}?wait=`;
  // One that is too large to be told is fetched, which is written down by itself.
  const answer = data.fetch === true ? null : data;
  const status = answer === null ? null : 200;
  return {
    kind: "exchange",
    client,
    at: now,
    until: now,
    method: "GET",
    path,
    key: null,
    body: null,
    status,
    answer,
  };
}

function frameReader(tell: Readonly<Record<string, (data: Json) => void>>) {
  const decoder = new TextDecoder();
  let text = "";
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const frame = text.slice(0, end);
        text = text.slice(end + 2);
        const data = /^data: (.*)$/m.exec(frame)?.[1];
        const event = /^event: (.*)$/m.exec(frame)?.[1] ?? "";
        if (data !== undefined) tell[event]?.(JSON.parse(data) as Json);
      }
      controller.enqueue(chunk);
    },
  });
}

function toldOf(data: Json): Omit<Told, "client" | "consumer" | "incarnation"> {
  const steps = (data.steps ?? []) as Json[];
  return {
    kind: "told",
    at: Date.now(),
    intentId: data.intent_id,
    attempt: data.attempt,
    seq: data.seq ?? 0,
    doneSteps: steps.filter((step) => step.status === "done").map((step) => step.key),
    nextStep: data.next_step?.key ?? null,
  };
}
