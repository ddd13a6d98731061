// A minimal agent for tests: reads the stream as bytes, remembers every frame, and answers nothing by itself.
// Written without the SDK, so that what the server sends is judged on its own.
import { request } from "node:http";
import { call, until } from "../support/server.ts";
import { testimony } from "../support/until.ts";

export interface StreamFrame {
  readonly id?: string;
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came
  readonly data: any;
}

export interface Listener {
  readonly frames: StreamFrame[];
  /** The status when the stream was refused, and the problem it was refused with. */
  readonly refusal: { status: number; body: { code: string }; retryAfter: string | undefined } | undefined;
  readonly ended: boolean;
  readonly consumerId: string;
  deliveries(): StreamFrame[];
  /** The nth frame of an event, waited for. */
  next(event: string, nth?: number): Promise<StreamFrame>;
  /** Cuts the connection, as a killed process does. */
  cut(): void;
  /** Stops reading without closing. */
  stopReading(): void;
  readOn(): void;
}

export interface ListenQuery {
  readonly consumer?: string;
  readonly incarnation?: string;
  readonly capacity?: number;
  readonly ack?: "explicit";
  readonly lease_ttl_seconds?: number;
  readonly intent_types?: string;
}

/** Connects and waits for `stream.open` or for a refusal. */
export async function listen(
  server: { readonly url: string },
  address: string,
  query: ListenQuery = {},
  headers: Record<string, string> = {},
): Promise<Listener> {
  const listener = connect(server, address, query, headers);
  await until("stream.open or a refusal", () => listener.frames.length > 0 || listener.refusal !== undefined);
  return listener;
}

/** The same without waiting. */
export function connect(
  server: { readonly url: string },
  address: string,
  query: ListenQuery = {},
  headers: Record<string, string> = {},
): Listener {
  const search = new URLSearchParams(
    Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
  );
  return openStream(server, `/v1/agents/${address}/intents/stream?${search}`, headers);
}

/** Any stream of frames. */
export function openStream(
  server: { readonly url: string },
  path: string,
  headers: Record<string, string> = {},
): Listener {
  const frames: StreamFrame[] = [];
  let refusal: Listener["refusal"];
  let ended = false;
  let buffer = "";
  const outgoing = request(`${server.url}${path}`, { headers }, (response) => {
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      buffer += chunk;
      if (response.statusCode !== 200) return;
      for (let end = buffer.indexOf("\n\n"); end >= 0; end = buffer.indexOf("\n\n")) {
        const frame = parseFrame(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (frame !== undefined) frames.push(frame);
      }
    });
    response.on("end", () => {
      if (response.statusCode !== 200)
        refusal = {
          status: response.statusCode ?? 0,
          body: JSON.parse(buffer),
          retryAfter: response.headers["retry-after"],
        };
      ended = true;
    });
    response.on("error", () => {
      ended = true;
    });
    stopReading = () => response.pause();
    readOn = () => response.resume();
  });
  let stopReading = () => {};
  let readOn = () => {};
  outgoing.on("error", () => {
    ended = true;
  });
  outgoing.end();
  return {
    frames,
    get refusal() {
      return refusal;
    },
    get ended() {
      return ended;
    },
    get consumerId() {
      return String(frames[0]?.data.consumer_id);
    },
    deliveries: () => frames.filter((frame) => frame.event === "intent.delivered"),
    next: (event, nth = 1) =>
      until(
        `${event} number ${nth}; came: ${frames.map((frame) => frame.event).join(" ")}`,
        () => frames.filter((frame) => frame.event === event)[nth - 1],
      ),
    cut: () => outgoing.destroy(),
    stopReading: () => stopReading(),
    readOn: () => readOn(),
  };
}

function parseFrame(text: string): StreamFrame | undefined {
  let id: string | undefined;
  let event = "message";
  let data = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("id: ")) id = line.slice(4);
    else if (line.startsWith("event: ")) event = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data === "") return undefined;
  return { ...(id === undefined ? {} : { id }), event, data: JSON.parse(data) };
}

export async function send(
  server: { readonly url: string },
  address: string,
  more: Record<string, unknown> = {},
): Promise<string> {
  const answer = await call(server, "POST", "/v1/intents", {
    intent_type: "job.v1",
    to_agent: address,
    payload: {},
    ...more,
  });
  if (answer.status !== 200) throw new Error(`create was refused: ${JSON.stringify(answer.body)}`);
  return answer.body.intent_id;
}

/** Claims one intent and gives its frame. */
export async function claimOne(
  server: { readonly url: string },
  address: string,
  more: Record<string, unknown> = {},
): Promise<StreamFrame["data"]> {
  const answer = await call(server, "POST", `/v1/agents/${address}/claim`, {
    consumer: "claimer",
    wait_seconds: 30,
    ...more,
  });
  if (answer.body.deliveries?.length !== 1)
    throw new Error(`claimed at ${address}: ${JSON.stringify(answer.body)}${await testimony("")}`);
  return answer.body.deliveries[0];
}

export const step = (
  server: { readonly url: string },
  id: string,
  key: string,
  body: Record<string, unknown>,
) => call(server, "PUT", `/v1/intents/${id}/steps/${key}`, body);

export const post = (
  server: { readonly url: string },
  id: string,
  verb: string,
  body: Record<string, unknown> = {},
) => call(server, "POST", `/v1/intents/${id}/${verb}`, body);

export async function view(server: { readonly url: string }, id: string): Promise<StreamFrame["data"]> {
  return (await call(server, "GET", `/v1/intents/${id}`)).body.intent;
}

export async function eventsOf(server: { readonly url: string }, id: string): Promise<StreamFrame["data"][]> {
  const events: StreamFrame["data"][] = [];
  for (;;) {
    const page = await call(server, "GET", `/v1/intents/${id}/events?since=${events.at(-1)?.seq ?? 0}`);
    if (page.body.events.length === 0) return events;
    events.push(...page.body.events);
  }
}

export async function typesOf(server: { readonly url: string }, id: string): Promise<string[]> {
  return (await eventsOf(server, id)).map((event) => String(event.event_type).replace("intent.", ""));
}

/** Waits for a status and gives the view. */
export const inStatus = (
  server: { readonly url: string },
  id: string,
  status: string,
): Promise<StreamFrame["data"]> =>
  until(`${id} is ${status}`, async () => {
    const intent = await view(server, id);
    return intent.status === status && intent;
  });
