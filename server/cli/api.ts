// Owns the CLI's own requests: the server's answers as they are, for --json and for calls the SDK has no method for.
// Must not know what endpoints mean. Small on purpose: importing the SDK costs every command its start-up time.
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Connection } from "./connection.ts";
import { UsageError } from "./exit-codes.ts";

// biome-ignore lint/suspicious/noExplicitAny: answers are read field by field where they are shown
export type Json = any;

export type Query = Record<string, string | number | undefined>;

export interface Write {
  /** A string is sent as it is: JSON already. */
  readonly body?: unknown;
  /** Made up when left out, so that a lost answer can be asked for again. */
  readonly idempotencyKey?: string;
  /** The body carries an attempt: repeated for as long as the server is away, because the work is done and only its word counts. */
  readonly fenced?: boolean;
}

/** A refusal, or no answer. Named and shaped like the SDK's error. */
class RequestError extends Error {
  readonly code: string;
  readonly status: number | undefined;
  readonly requestId: string | undefined;
  readonly details: unknown;
  readonly retryAfterMs: number;

  constructor(
    code: string,
    message: string,
    answer: {
      status?: number;
      requestId?: string;
      details?: unknown;
      retryAfterMs?: number;
      cause?: unknown;
    } = {},
  ) {
    super(message, answer.cause === undefined ? undefined : { cause: answer.cause });
    this.name = "PerdureError";
    this.code = code;
    this.status = answer.status;
    this.requestId = answer.requestId;
    this.details = answer.details;
    this.retryAfterMs = answer.retryAfterMs ?? 0;
  }

  /** No answer, or one of a server (or a proxy before it) that is away for the moment. */
  get away(): boolean {
    return this.status === undefined || this.status === 429 || this.status > 500;
  }
}

const ANSWER_TIMEOUT_MS = 30_000;
const RETRIES = 2;
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5_000;

export class Api {
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  readonly #urlFrom: string;

  constructor({ url, urlFrom, apiKey }: Connection) {
    this.baseUrl = url;
    this.apiKey = apiKey;
    this.#urlFrom = urlFrom;
  }

  /** `patient`: for as long as the server is away. */
  get(path: string, query: Query = {}, options: { patient?: boolean } = {}): Promise<Json> {
    return this.#send(
      "GET",
      path + queryString(query),
      {},
      options.patient ? Number.POSITIVE_INFINITY : RETRIES,
    );
  }

  post(path: string, write: Write = {}): Promise<Json> {
    return this.#write("POST", path, write);
  }

  put(path: string, write: Write = {}): Promise<Json> {
    return this.#write("PUT", path, write);
  }

  delete(path: string, query: Query = {}): Promise<Json> {
    const headers = { "idempotency-key": randomUUID() };
    return this.#send("DELETE", path + queryString(query), { headers }, RETRIES);
  }

  /** An answer of any size, piece by piece as it comes. Rejects when it breaks off. */
  async stream(path: string, take: (piece: Uint8Array) => Promise<void>): Promise<void> {
    const { reader, patience } = await repeated(RETRIES, () => this.#open(path));
    for (;;) {
      const { done, value } = await patience.limit(reader.read()).catch((cause: unknown) => {
        const message = `the connection to ${this.baseUrl} was lost: what was printed is not all of it`;
        throw new RequestError("connection_lost", message, { cause });
      });
      if (done) return;
      await take(value);
    }
  }

  #write(method: string, path: string, write: Write): Promise<Json> {
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (!write.fenced) headers["idempotency-key"] = write.idempotencyKey ?? randomUUID();
    const { body = {} } = write;
    const text = typeof body === "string" ? body : JSON.stringify(body);
    return this.#send(
      method,
      path,
      { headers, body: text },
      write.fenced ? Number.POSITIVE_INFINITY : RETRIES,
    );
  }

  #send(
    method: string,
    path: string,
    request: { headers?: Record<string, string>; body?: string },
    retries: number,
  ): Promise<Json> {
    return repeated(retries, () => this.#once(method, path, request));
  }

  async #once(
    method: string,
    path: string,
    request: { headers?: Record<string, string>; body?: string },
  ): Promise<Json> {
    const headers = { ...this.#headers("application/json"), ...request.headers };
    const init: RequestInit = { method, headers, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) };
    if (request.body !== undefined) init.body = request.body;
    const { response, text } = await this.#exchange(path, init);
    if (!response.ok) throw refusalOf(response, text);
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new RequestError(
        "bad_response",
        `${this.baseUrl} answered with something that is not JSON: is it a Perdure server?`,
        {
          status: response.status,
          cause,
        },
      );
    }
  }

  #exchange(path: string, init: RequestInit): Promise<{ response: Response; text: string }> {
    return this.#answered(async () => {
      const response = await fetch(this.baseUrl + path, init);
      return { response, text: await response.text() };
    });
  }

  async #open(path: string) {
    const patience = new Patience();
    const init = {
      headers: this.#headers("application/x-ndjson, application/problem+json"),
      signal: patience.signal,
    };
    const response = await this.#answered(() => patience.limit(fetch(this.baseUrl + path, init)));
    if (!response.ok) throw refusalOf(response, await this.#answered(() => patience.limit(response.text())));
    return { reader: (response.body ?? new Blob([]).stream()).getReader(), patience };
  }

  #headers(accept: string): Record<string, string> {
    return { accept, ...(this.apiKey === undefined ? {} : { "x-api-key": this.apiKey }) };
  }

  /** Says what it means that there is no answer. */
  async #answered<T>(ask: () => Promise<T>): Promise<T> {
    if (!/^https?:\/\/[^/]/.test(this.baseUrl) || !URL.canParse(this.baseUrl)) {
      throw new UsageError(
        `the URL must begin with http:// or https://; ${JSON.stringify(this.baseUrl)} (${this.#urlFrom}) does not`,
      );
    }
    try {
      return await ask();
    } catch (cause) {
      if ((cause as Error).name !== "TimeoutError")
        throw new RequestError("unreachable", `cannot reach ${this.baseUrl}`, { cause });
      throw new RequestError(
        "request_timeout",
        `no answer from ${this.baseUrl} within ${ANSWER_TIMEOUT_MS / 1_000} s`,
        { cause },
      );
    }
  }
}

/** Ends a request while the server says nothing for too long. The time we take ourselves does not count. */
class Patience {
  readonly #silence = new AbortController();

  get signal(): AbortSignal {
    return this.#silence.signal;
  }

  async limit<T>(answer: Promise<T>): Promise<T> {
    const over = () => this.#silence.abort(new DOMException("no answer", "TimeoutError"));
    const timer = setTimeout(over, ANSWER_TIMEOUT_MS);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Once more, and again, while the server is away. */
async function repeated<T>(retries: number, ask: () => Promise<T>): Promise<T> {
  for (let tried = 0; ; tried++) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof RequestError) || !error.away || tried >= retries) throw error;
      const backoffMs =
        Math.min(FIRST_DELAY_MS * 2 ** Math.min(tried, 10), LONGEST_DELAY_MS) * (0.5 + Math.random() / 2);
      await delay(Math.max(backoffMs, Math.min(error.retryAfterMs, LONGEST_DELAY_MS)));
    }
  }
}

/** The path of an intent and what lies below it. */
export function intentPath(id: string, ...below: readonly string[]): string {
  return ["/v1/intents", ...[id, ...below].map(encodeURIComponent)].join("/");
}

function queryString(query: Query): string {
  const pairs = Object.entries(query).flatMap(([key, value]): [string, string][] =>
    value === undefined ? [] : [[key, String(value)]],
  );
  return pairs.length === 0 ? "" : `?${new URLSearchParams(pairs)}`;
}

/** The error an answer stands for: a problem+json of ours, or whatever a proxy in between made up. */
function refusalOf(response: Response, text: string): RequestError {
  let problem: Json = {};
  try {
    problem = JSON.parse(text) ?? {};
  } catch {
    // Not ours: the status has to do.
  }
  const { status, headers } = response;
  const fields: { pointer: string; detail: string }[] = Array.isArray(problem.errors) ? problem.errors : [];
  const detail = String(
    problem.detail ?? problem.error?.message ?? problem.title ?? `the server answered ${status}`,
  );
  const more = fields
    .map((field) => `${field.pointer}: ${field.detail}`)
    .filter((line) => !detail.includes(line));
  return new RequestError(String(problem.code ?? "bad_response"), [detail, ...more].join("\n"), {
    status,
    requestId: problem.request_id ?? headers.get("x-request-id") ?? undefined,
    details: problem.error?.details,
    retryAfterMs: Number(headers.get("retry-after")) * 1_000 || 0,
  });
}
