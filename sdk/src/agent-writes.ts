// Owns: every write an agent makes about one delivery, as requests. Must not: decide anything.
// All of them pass through here and carry the attempt, so that they can be repeated, and coalesced into batches, in one place.
import type { BatchName } from "./batch.ts";
import type { Started, StepAnswer } from "./deliveries.ts";
import type { Http } from "./http.ts";
import type { Wire } from "./intents.ts";

export class AgentWrites {
  readonly intentId: string;
  readonly attempt: number;
  readonly #http: Http;

  constructor(http: Http, intentId: string, attempt: number) {
    this.#http = http;
    this.intentId = intentId;
    this.attempt = attempt;
  }

  /** `brief`: of the steps, only those that this changes are told. */
  start(
    body: { steps?: Wire[]; begin_next: boolean },
    signal: AbortSignal,
    { brief }: { brief: boolean },
  ): Promise<Started> {
    return this.#send("POST", "start", body, signal, this.#named("start"), brief);
  }

  step(key: string, body: Wire, signal: AbortSignal): Promise<StepAnswer> {
    return this.#send("PUT", `steps/${encodeURIComponent(key)}`, body, signal, this.#named("step", key));
  }

  /** Sends an intent of the handler's own; the key tells a repetition from another attempt. */
  child(body: Wire, idempotencyKey: string, signal: AbortSignal): Promise<Wire> {
    return this.#create("create", "/v1/intents", body, idempotencyKey, signal);
  }

  children(intents: Wire[], idempotencyKey: string, signal: AbortSignal): Promise<Wire> {
    return this.#create("create_many", "/v1/intents/batch", { intents }, idempotencyKey, signal);
  }

  checkpoint(name: string, signal: AbortSignal): Promise<Wire> {
    return this.#send("PUT", `checkpoints/${encodeURIComponent(name)}`, {}, signal);
  }

  resolve(body: Wire, signal: AbortSignal): Promise<Wire> {
    return this.#post("resolve", body, signal);
  }

  release(body: { not_run?: string[]; reason: string }, signal: AbortSignal): Promise<Wire> {
    return this.#post("release", body, signal);
  }

  /** A courtesy: one try. Output is worth some more: its offset tells a repetition. */
  progress(body: Wire, signal: AbortSignal): Promise<Wire> {
    const path = `/v1/intents/${encodeURIComponent(this.intentId)}/progress`;
    const full = { ...body, attempt: this.attempt };
    const retry = body.output === undefined ? "never" : "bounded";
    return this.#http.send({
      method: "POST",
      path,
      body: full,
      fenced: true,
      retry,
      timeoutMs: 5_000,
      signal,
      batch: this.#named("progress"),
    });
  }

  #create(
    op: "create" | "create_many",
    path: string,
    body: Wire,
    idempotencyKey: string,
    signal: AbortSignal,
  ): Promise<any> {
    const batch = { op };
    return this.#http.send({ method: "POST", path, body, idempotencyKey, retry: "forever", signal, batch });
  }

  #post(verb: "resolve" | "release", body: Wire, signal: AbortSignal): Promise<any> {
    return this.#send("POST", verb, body, signal, this.#named(verb));
  }

  /** For as long as the server is away: the work is done, and only the server's word ends the attempt. */
  #send(
    method: "POST" | "PUT",
    verb: string,
    body: Wire,
    signal: AbortSignal,
    batch?: BatchName,
    brief = true,
  ): Promise<any> {
    return this.#http.send({
      method,
      path: `/v1/intents/${encodeURIComponent(this.intentId)}/${verb}`,
      body: { ...body, attempt: this.attempt },
      fenced: true,
      retry: "forever",
      signal,
      brief,
      ...(batch === undefined ? {} : { batch }),
    });
  }

  #named(op: BatchName["op"], key?: string): BatchName {
    return key === undefined ? { op, intent_id: this.intentId } : { op, intent_id: this.intentId, key };
  }
}
