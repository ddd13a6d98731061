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

/** fetch that writes down what was asked, and what was answered once all of it is here. */
export function recordingFetch(client: string, record: (line: Line) => void): typeof fetch {
  return async (input, init) => {
    const url = new URL(String(input));
    const headers = new Headers(init?.headers);
    const asked = {
      kind: "exchange" as const,
      client,
      at: Date.now(),
      method: init?.method ?? "GET",
      path: url.pathname + url.search,
      key: headers.get("idempotency-key"),
      body: typeof init?.body === "string" ? (JSON.parse(init.body) as Json) : null,
    };
    const isWrite = asked.method !== "GET";
    if (isWrite) record({ ...asked, until: null, status: null, answer: null });
    const response = await fetch(input, init);
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
      const consumer = url.searchParams.get("consumer");
      if (consumer === null || response.body === null) return response;
      const incarnation = url.searchParams.get("incarnation") ?? "";
      const watched = response.body.pipeThrough(
        frameReader((told) => record({ ...told, client, consumer, incarnation })),
      );
      return new Response(watched, { status: response.status, headers: response.headers });
    }
    const text = await response.text();
    if (isWrite || url.searchParams.has("wait")) {
      const answer = text === "" ? null : (JSON.parse(text) as Json);
      record({ ...asked, until: Date.now(), status: response.status, answer });
    }
    return new Response(text, { status: response.status, headers: response.headers });
  };
}

function frameReader(tell: (told: Omit<Told, "client" | "consumer" | "incarnation">) => void) {
  const decoder = new TextDecoder();
  let text = "";
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const frame = text.slice(0, end);
        text = text.slice(end + 2);
        const data = /^data: (.*)$/m.exec(frame)?.[1];
        if (/^event: intent.delivered$/m.test(frame) && data !== undefined)
          tell(toldOf(JSON.parse(data) as Json));
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
