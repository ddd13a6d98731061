// A stand-in for the request half of AXME's SDKs, from what is known of how they ask: their headers, a JSON content type also
// without a body, their retries, their reading of errors. Written anew; none of it is theirs.

import { randomUUID } from "node:crypto";
import { setTimeout as after } from "node:timers/promises";

export interface AxpClientOptions {
  readonly apiKey?: string;
  /** Sent as Authorization beside the key. */
  readonly actorToken?: string;
  readonly client?: "axme-sdk-typescript" | "axme-sdk-python" | "axme-sdk-go";
  readonly retryBackoffMs?: number;
}

export interface CallOptions {
  readonly idempotencyKey?: string;
  readonly ownerAgent?: string;
  readonly traceId?: string;
}

// biome-ignore lint/suspicious/noExplicitAny: a client without types
type Json = any;

export class AxpError extends Error {
  readonly status: number;
  readonly kind: "auth" | "validation" | "rate_limit" | "server" | "http";
  readonly body: Json;
  constructor(status: number, message: string, body: Json) {
    super(message);
    this.status = status;
    this.kind = kindOf(status);
    this.body = body;
  }
}

function kindOf(status: number): AxpError["kind"] {
  if (status === 401 || status === 403) return "auth";
  if ([400, 409, 413, 422].includes(status)) return "validation";
  if (status === 429) return "rate_limit";
  return status >= 500 ? "server" : "http";
}

/** `error` as a text, else `error.message`, else `message`. */
function messageOf(body: Json, text: string): string {
  if (typeof body?.error === "string") return body.error;
  return body?.error?.message ?? body?.message ?? text;
}

const MAX_RETRIES = 2;

export class AxpClient {
  readonly #base: string;
  readonly #options: AxpClientOptions;
  /** Requests sent, retries included. */
  requests = 0;

  constructor(base: string, options: AxpClientOptions = {}) {
    this.#base = base.replace(/\/+$/, "");
    this.#options = options;
  }

  #headers(call: CallOptions): Record<string, string> {
    const { apiKey = "any", actorToken, client = "axme-sdk-typescript" } = this.#options;
    return {
      "x-api-key": apiKey,
      "Content-Type": "application/json",
      "X-Axme-Client": `${client}/0.2.0`,
      "X-Trace-Id": call.traceId ?? randomUUID(),
      ...(actorToken === undefined ? {} : { Authorization: `Bearer ${actorToken}` }),
      ...(call.idempotencyKey === undefined ? {} : { "Idempotency-Key": call.idempotencyKey }),
      ...(call.ownerAgent === undefined ? {} : { "x-owner-agent": call.ownerAgent }),
    };
  }

  /** GET and DELETE, and writes with a key, are repeated on transport errors, 429 and 5xx. */
  async request(
    method: string,
    path: string,
    body?: Json,
    call: CallOptions = {},
    retryable = method === "GET" || call.idempotencyKey !== undefined,
  ): Promise<Json> {
    const url = new URL(`${this.#base}${path}`);
    if (call.ownerAgent !== undefined) url.searchParams.set("owner_agent", call.ownerAgent);
    for (let left = retryable ? MAX_RETRIES : 0; ; left -= 1) {
      this.requests += 1;
      let response: Response;
      try {
        response = await fetch(url, {
          method,
          headers: this.#headers(call),
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        });
      } catch (error) {
        if (left <= 0) throw error;
        await this.#backOff(null);
        continue;
      }
      if (left > 0 && (response.status === 429 || response.status >= 500)) {
        await this.#backOff(response.headers.get("retry-after"));
        continue;
      }
      const text = await response.text();
      if (response.ok) return JSON.parse(text);
      let told: Json;
      try {
        told = JSON.parse(text);
      } catch {
        told = undefined;
      }
      throw new AxpError(response.status, messageOf(told, text), told);
    }
  }

  async #backOff(retryAfter: string | null): Promise<void> {
    const seconds = Number.parseInt(retryAfter ?? "", 10);
    await after(Number.isNaN(seconds) ? (this.#options.retryBackoffMs ?? 10) : seconds * 1000);
  }

  health = () => this.request("GET", "/health");

  createIntent = (intent: Json, call: CallOptions = {}) =>
    this.request("POST", "/v1/intents", { correlation_id: randomUUID(), ...intent }, call);

  async sendIntent(intent: Json, call: CallOptions = {}): Promise<string> {
    const { intent_id } = await this.createIntent(intent, call);
    if (typeof intent_id !== "string") throw new Error("the answer names no intent");
    return intent_id;
  }

  getIntent = (id: string) => this.request("GET", `/v1/intents/${id}`);

  listEvents = (id: string, since = 0) => this.request("GET", `/v1/intents/${id}/events?since=${since}`);

  resolve = (id: string, body: Json, call: CallOptions = {}) =>
    this.request("POST", `/v1/intents/${id}/resolve`, body, call);

  resume = (id: string, body: Json, call: CallOptions = {}) =>
    this.request("POST", `/v1/intents/${id}/resume`, body, call);

  updateControls = (id: string, body: Json, call: CallOptions = {}) =>
    this.request("POST", `/v1/intents/${id}/controls`, body, call);

  updatePolicy = (id: string, body: Json, call: CallOptions = {}) =>
    this.request("POST", `/v1/intents/${id}/policy`, body, call);

  listInbox = (ownerAgent?: string) =>
    this.request("GET", "/v1/inbox", undefined, ownerAgent === undefined ? {} : { ownerAgent });

  getThread = (id: string, ownerAgent?: string) =>
    this.request("GET", `/v1/inbox/${id}`, undefined, ownerAgent === undefined ? {} : { ownerAgent });

  /** Sent without a body when there are no metrics. */
  heartbeat = (metrics?: Json, call: CallOptions = {}) =>
    this.request("POST", "/v1/mesh/heartbeat", metrics === undefined ? undefined : { metrics }, call, true);

  listAgents = (query = "") => this.request("GET", `/v1/mesh/agents${query}`);

  getAgent = (id: string) => this.request("GET", `/v1/mesh/agents/${id}`);

  kill = (id: string) => this.request("POST", `/v1/mesh/agents/${id}/kill`);

  revive = (id: string) => this.request("POST", `/v1/mesh/agents/${id}/resume`);

  meshEvents = (query = "") => this.request("GET", `/v1/mesh/events${query}`);
}
