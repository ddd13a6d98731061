// Owns: one HTTP request to the server, its retries and its errors. Must not: know what the endpoints mean.
// What may be sent twice is sent again after a lost answer: reads, and writes the server recognises (idempotency key, or an attempt).
import { linkAbort, pause } from "./abort.ts";
import { Backoff } from "./backoff.ts";
import { PerdureError } from "./errors.ts";

export interface HttpOptions {
  baseUrl: string;
  apiKey: string | undefined;
  maxRetries: number;
  fetch: typeof fetch;
}

export interface HttpRequest {
  method: "GET" | "POST" | "PUT" | "DELETE";
  /** Begins with a slash; segments already encoded. */
  path: string;
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  idempotencyKey?: string;
  /** The body carries an attempt: the server recognises a repetition. */
  fenced?: boolean;
  /** How often to try again. `forever`: as long as the server is away; its other answers stay bounded. Default `bounded`. */
  retry?: "never" | "bounded" | "forever";
  /** Longest wait for one answer. Default 30 s. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 60_000;
/** Statuses of a server, or a proxy before it, that is away for the moment. */
const AWAY = new Set([429, 502, 503, 504]);

export class Http {
  readonly baseUrl: string;
  readonly #options: HttpOptions;
  readonly #closing = new AbortController();

  /** Aborts when the client closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  constructor(options: HttpOptions) {
    this.baseUrl = options.baseUrl.replace(/\/+$/, "");
    this.#options = options;
  }

  /** Sends and returns the parsed JSON body. Throws PerdureError, or the signal's reason. */
  async send(request: HttpRequest): Promise<any> {
    const repeatable =
      request.method === "GET" || request.method === "DELETE" || request.fenced || request.idempotencyKey;
    const retry = repeatable ? (request.retry ?? "bounded") : "never";
    const backoff = new Backoff();
    for (let retries = 0; ; ) {
      try {
        return await this.#once(request);
      } catch (error) {
        if (request.signal?.aborted) throw request.signal.reason;
        if (retry === "never" || !isWorthRepeating(error)) throw error;
        const unbounded = retry === "forever" && (error.status === undefined || AWAY.has(error.status));
        if (!unbounded && ++retries > this.#options.maxRetries) throw error;
        const scope = linkAbort([request.signal, this.closing]);
        await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), scope.signal).finally(scope.release);
      }
    }
  }

  /**
   * Opens an event stream; the caller reads the body and ends it, and limits the wait, with `signal`. Never retries: only whoever
   * reads a stream knows where to go on.
   */
  async open(
    path: string,
    query: HttpRequest["query"],
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    try {
      const headers = this.#headers({ accept: "text/event-stream" });
      const response = await this.#fetch(this.#url(path, query), { headers, signal });
      if (!response.ok) throw errorOf(response, await response.text());
      if (!response.headers.get("content-type")?.startsWith("text/event-stream") || response.body === null) {
        await response.body?.cancel();
        const { status } = response;
        throw new PerdureError("bad_response", `${this.baseUrl}${path} did not answer with an event stream`, {
          status,
        });
      }
      return response.body;
    } catch (error) {
      throw this.asError(error, signal);
    }
  }

  /** Ends every request in flight with `client_closed`. */
  close(): void {
    this.#closing.abort(new PerdureError("client_closed", "this client has been closed"));
  }

  async #once(request: HttpRequest): Promise<unknown> {
    const timeoutMs = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const limit = { ms: timeoutMs, reason: () => this.#slow(timeoutMs) };
    const scope = linkAbort([request.signal, this.closing], limit);
    try {
      const headers = this.#headers({ accept: "application/json" });
      if (request.body !== undefined) headers["content-type"] = "application/json";
      if (request.idempotencyKey !== undefined) headers["idempotency-key"] = request.idempotencyKey;
      const init: RequestInit = { method: request.method, headers, signal: scope.signal };
      if (request.body !== undefined) init.body = JSON.stringify(request.body);
      const response = await this.#fetch(this.#url(request.path, request.query), init);
      const text = await response.text();
      if (!response.ok) throw errorOf(response, text);
      return parseBody(response, text);
    } catch (error) {
      throw this.asError(error, scope.signal);
    } finally {
      scope.release();
    }
  }

  #fetch(url: string, init: RequestInit): Promise<Response> {
    const { fetch } = this.#options;
    return fetch(url, init); // called free of its owner: browsers refuse a fetch bound to another object
  }

  #url(path: string, query: HttpRequest["query"]): string {
    const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
    if (pairs.length === 0) return `${this.baseUrl}${path}`;
    return `${this.baseUrl}${path}?${new URLSearchParams(pairs.map(([key, value]): [string, string] => [key, String(value)]))}`;
  }

  #headers(extra: Record<string, string>): Record<string, string> {
    return this.#options.apiKey === undefined ? extra : { "x-api-key": this.#options.apiKey, ...extra };
  }

  #slow(ms: number): PerdureError {
    const message = `no answer from ${this.baseUrl} within ${Math.round(ms / 1_000)} s`;
    return new PerdureError("request_timeout", message, { retryable: true });
  }

  /** What a failed fetch or read stands for: the signal's reason if it aborted, else `unreachable`. */
  asError(error: unknown, signal: AbortSignal): unknown {
    if (PerdureError.is(error)) return error;
    if (signal.aborted) return signal.reason;
    const cause = (error as { cause?: { code?: string; message?: string } })?.cause;
    const why = cause?.code ?? cause?.message ?? (error instanceof Error ? error.message : String(error));
    return new PerdureError("unreachable", `cannot reach ${this.baseUrl}: ${why}`, {
      retryable: true,
      cause: error,
    });
  }
}

/** No answer at all, "not now", or a failing server. An answer that is our own refusal is final. */
export function isWorthRepeating(error: unknown): error is PerdureError {
  if (!PerdureError.is(error) || error.code === "client_closed") return false;
  if (error.status === undefined) return error.retryable;
  return error.status === 429 || (error.status >= 500 && error.status !== 501);
}

/** The error an answer stands for: `application/problem+json` of ours, or whatever a proxy in between made up. */
export function errorOf(response: Pick<Response, "status" | "headers">, text: string): PerdureError {
  const { status, headers } = response;
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) body = parsed as Record<string, unknown>;
  } catch {
    // not ours: the status has to do
  }
  const inner = (typeof body.error === "object" && body.error !== null ? body.error : {}) as Record<
    string,
    unknown
  >;
  const code = asText(body.code) ?? asText(inner.code) ?? codeOfStatus(status);
  const message =
    asText(body.detail) ?? asText(inner.message) ?? asText(body.title) ?? `the server answered ${status}`;
  return new PerdureError(code, message, {
    status,
    retryable: typeof body.retryable === "boolean" ? body.retryable : status === 429 || status >= 500,
    requestId: asText(body.request_id) ?? headers.get("x-request-id") ?? undefined,
    details: inner.details ?? body.errors,
    retryAfterMs: parseRetryAfter(headers.get("retry-after")),
  });
}

/** `Retry-After` (whole seconds or an HTTP date) in milliseconds, at most a minute. */
export function parseRetryAfter(value: string | null, now: number = Date.now()): number | undefined {
  if (value === null) return undefined;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1_000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS) : undefined;
}

function parseBody(response: Response, text: string): unknown {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch (cause) {
    const message = `${response.url || "the server"} answered ${response.status} with something that is not JSON`;
    throw new PerdureError("bad_response", message, { status: response.status, cause });
  }
}

function asText(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function codeOfStatus(status: number): string {
  if (status === 401) return "unauthorized";
  if (status === 403) return "forbidden";
  if (status === 404) return "not_found";
  if (status === 429) return "rate_limited";
  return status >= 500 ? "unavailable" : "bad_response";
}
