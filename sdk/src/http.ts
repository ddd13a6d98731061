// Owns: requests to the server, their retries and their errors. Must not: know what the endpoints mean.
// What may be sent twice is sent again after a lost answer: reads, and writes the server recognises (idempotency key, or an attempt).
import { linkAbort, pause } from "./abort.ts";
import { errorOf, parseBody } from "./answer.ts";
import { Backoff } from "./backoff.ts";
import { type BatchName, type BatchResult, batchResults, batchText } from "./batch.ts";
import { PerdureError } from "./errors.ts";
import { Lane, type Passenger } from "./lane.ts";

export interface HttpOptions {
  baseUrl: string;
  apiKey: string | undefined;
  maxRetries: number;
  fetch: typeof fetch;
  /** Whether writes that come while others are on their way share a request. Default true. */
  coalesce?: boolean;
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
  /** Under this name it may share a request with others. Without one it goes by itself. */
  batch?: BatchName;
  /** The caller knows what it sends, and need not be told again. */
  brief?: boolean;
}

/** A request whose body has been written as JSON, once for all tries and all ways. */
interface Call {
  readonly request: HttpRequest;
  readonly name: BatchName | undefined;
  readonly body: string | undefined;
  readonly length: number;
  readonly idempotencyKey: string | undefined;
  readonly brief: boolean;
}
type NamedCall = Call & { readonly name: BatchName };

const DEFAULT_TIMEOUT_MS = 30_000;
/** In characters of its body. A larger one gains nothing from sharing a request, and would hold up those beside it. */
const LARGE = 65_536;
const BRIEF: Readonly<Record<string, string>> = { prefer: "return=minimal" };
/** Answers about a batch as it is: none of its calls was made, and each has an answer of its own. */
const REFUSED_BATCH = new Set([400, 403, 413, 415, 422]);
/** Statuses of a server, or a proxy before it, that is away for the moment. */
const AWAY = new Set([429, 502, 503, 504]);

export class Http {
  readonly baseUrl: string;
  readonly #options: HttpOptions;
  readonly #closing = new AbortController();
  /** Apart, so that an agent's signs of life wait for no work, and its work for no pile of intents that are being sent. */
  readonly #lanes: Readonly<Record<"life" | "work" | "sending", Lane<NamedCall>>>;
  #batches: boolean;

  /** Aborts when the client closes. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  constructor(options: HttpOptions) {
    this.baseUrl = options.baseUrl.replace(/\/+$/, "");
    this.#options = options;
    this.#batches = options.coalesce ?? true;
    const lane = () => new Lane<NamedCall>((passengers, signal) => this.#carry(passengers, signal));
    this.#lanes = { life: lane(), work: lane(), sending: lane() };
  }

  /** Sends and returns the parsed JSON body. Throws PerdureError, or the signal's reason. */
  async send(request: HttpRequest): Promise<any> {
    const repeatable =
      request.method === "GET" || request.method === "DELETE" || request.fenced || request.idempotencyKey;
    const retry = repeatable ? (request.retry ?? "bounded") : "never";
    let call = callOf(request);
    let alone = false;
    const backoff = new Backoff();
    for (let retries = 0; ; ) {
      try {
        this.closing.throwIfAborted();
        return await (alone ? this.#alone(call) : this.#once(call));
      } catch (error) {
        if (request.signal?.aborted) throw request.signal.reason;
        if (retry === "never" || !isWorthRepeating(error)) throw error;
        // What this changes the first try may have changed, and nobody was told.
        call = { ...call, brief: false };
        if (!alone && error.code === "undecided") {
          // Something holds it up. By itself it holds up nobody else.
          alone = true;
          continue;
        }
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
    const closed = new PerdureError("client_closed", "this client has been closed");
    this.#closing.abort(closed);
    for (const lane of Object.values(this.#lanes)) lane.close(closed);
  }

  #once(call: Call): Promise<unknown> {
    if (!this.#batches || !mayShare(call)) return this.#alone(call);
    const ms = call.request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const limits = { ms, late: () => this.#slow(ms), signal: call.request.signal };
    return this.#laneOf(call.name).send(call, limits);
  }

  #laneOf({ op }: BatchName): Lane<NamedCall> {
    if (op === "consumer_heartbeat") return this.#lanes.life;
    return op === "create" || op === "create_many" ? this.#lanes.sending : this.#lanes.work;
  }

  /** Its own request, within its own limits. */
  async #alone(call: Call): Promise<unknown> {
    const ms = call.request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const scope = linkAbort([call.request.signal, this.closing], { ms, reason: () => this.#slow(ms) });
    try {
      return await this.#exchange(call, scope.signal);
    } catch (error) {
      throw this.asError(error, scope.signal);
    } finally {
      scope.release();
    }
  }

  /** Those who share a lane's next request, and settle by themselves where their limits end before. */
  async #carry(passengers: readonly Passenger<NamedCall>[], signal: AbortSignal): Promise<void> {
    try {
      const [only] = passengers;
      if (passengers.length > 1) await this.#together(passengers, signal);
      else if (only !== undefined) only.resolve(await this.#exchange(only.call, signal));
    } catch (error) {
      for (const passenger of passengers) passenger.reject(this.asError(error, signal));
    }
  }

  async #together(passengers: readonly Passenger<NamedCall>[], signal: AbortSignal): Promise<void> {
    if (!this.#batches) return await this.#apart(passengers);
    const calls = passengers.map(({ call }) => call);
    const headers = calls.every(({ brief }) => brief) ? BRIEF : {};
    const url = this.#url("/v1/batch", undefined);
    const response = await this.#write("POST", url, headers, batchText(calls), signal);
    const text = await response.text();
    if (response.ok) {
      const results = batchResults(response, parseBody(response, text), passengers.length);
      passengers.forEach((passenger, index) => void settle(passenger, results[index]));
    } else if (response.status === 404 || response.status === 405) {
      this.#batches = false; // a server from before there were batches
      await this.#apart(passengers);
    } else if (REFUSED_BATCH.has(response.status)) {
      const half = Math.ceil(passengers.length / 2);
      await Promise.all([
        this.#carry(passengers.slice(0, half), signal),
        this.#carry(passengers.slice(half), signal),
      ]);
    } else {
      for (const passenger of passengers) passenger.reject(errorOf(response, text));
    }
  }

  async #apart(passengers: readonly Passenger<NamedCall>[]): Promise<void> {
    await Promise.all(
      passengers.map((passenger) =>
        this.#alone(passenger.call).then(
          (answer) => passenger.resolve(answer),
          (error: unknown) => passenger.reject(error),
        ),
      ),
    );
  }

  async #exchange({ request, body, ...call }: Call, signal: AbortSignal): Promise<unknown> {
    const headers: Record<string, string> = call.brief ? { ...BRIEF } : {};
    if (call.idempotencyKey !== undefined) headers["idempotency-key"] = call.idempotencyKey;
    const url = this.#url(request.path, request.query);
    const response = await this.#write(request.method, url, headers, body, signal);
    const text = await response.text();
    if (!response.ok) throw errorOf(response, text);
    return parseBody(response, text);
  }

  #write(
    method: string,
    url: string,
    more: Record<string, string>,
    body: string | undefined,
    signal: AbortSignal,
  ): Promise<Response> {
    const headers = this.#headers({ accept: "application/json", ...more });
    if (body === undefined) return this.#fetch(url, { method, headers, signal });
    headers["content-type"] = "application/json";
    return this.#fetch(url, { method, headers, signal, body });
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

function callOf(request: HttpRequest): Call {
  const { batch: name, idempotencyKey, brief = false } = request;
  const body = request.body === undefined ? undefined : toText(request.body);
  return { request, name, body, length: body?.length ?? 0, idempotencyKey, brief };
}

function toText(body: unknown): string {
  try {
    return JSON.stringify(body);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PerdureError("validation_failed", `the request cannot be written as JSON: ${why}`, { cause });
  }
}

function mayShare(call: Call): call is NamedCall {
  return call.name !== undefined && call.length <= LARGE;
}

function settle(passenger: Passenger<NamedCall>, result: BatchResult | undefined): void {
  if (result?.error !== undefined) passenger.reject(result.error);
  else passenger.resolve(result?.body);
}
