// Owns: the client: what senders, operators and agents call. Must not: contain more than the way to the code that does it.
import { compact } from "./absent.ts";
import { Agent, type AgentHandle, type ListenOptions } from "./agent.ts";
import { type Checkpoint, presentCheckpoint } from "./checkpoints.ts";
import { environmentVariable, randomId } from "./environment.ts";
import { PerdureError } from "./errors.ts";
import { Http } from "./http.ts";
import { type OpenTask, presentTask } from "./human-task.ts";
import {
  type Explanation,
  type Intent,
  type IntentEvent,
  type Outcome,
  presentExplanation,
  presentIntent,
  type Status,
  type Wire,
} from "./intents.ts";
import { type Logger, resolveLogger } from "./logger.ts";
import { type ObserveOptions, observeIntent } from "./observe.ts";
import { type FeedEvent, type FeedFilter, type ObserveAllOptions, observeAll } from "./observe-all.ts";
import { Outcomes } from "./outcomes.ts";
import { pages } from "./pages.ts";
import { listSteps, type Steps } from "./plan.ts";
import type { Handler, Work } from "./run.ts";
import { batchKey, type IntentInput, intentToWire } from "./sending.ts";
import { Sessions } from "./sessions.ts";
import { HttpState, type State, type StateScope } from "./state.ts";
import { type WaitOptions, waitAndWatch } from "./wait-for.ts";

export interface ClientOptions {
  /** Default: `PERDURE_URL`, else `http://127.0.0.1:7070`. */
  baseUrl?: string;
  /** Default: `PERDURE_API_KEY`. A server on loopback in development mode needs none. */
  apiKey?: string;
  /** Further tries of a request that may be repeated. Default 6, about 8 seconds. `waitFor`, `observe` and agents try for ever. */
  maxRetries?: number;
  fetch?: typeof fetch;
  /**
   * Writes that come while others are on their way share a request with those that come beside them; each keeps its own answer, time limit
   * and retries. Default true. False: one request each.
   */
  coalesce?: boolean;
  /** Where the few log lines go; false for none. Default the console. */
  logger?: Logger | false;
}

/** Which intents to list; all given conditions hold together. */
export interface ListFilter {
  status?: Status[];
  toAgent?: string;
  intentType?: string;
  session?: string;
  parentIntentId?: string;
  /** The error code of failed ones. */
  code?: string;
  metadata?: Record<string, string>;
  /** Created at or after. */
  since?: Date;
}

const DEFAULT_MAX_RETRIES = 6;

/**
 * A connection to one Perdure server. Every method may throw PerdureError: `unreachable` and `request_timeout` after the retries are used
 * up, else the server's code.
 */
export class PerdureClient {
  readonly #http: Http;
  readonly #outcomes: Outcomes;
  readonly #logger: Logger;
  readonly #agents = new Set<Agent>();
  /** Intents as groups, by the session label they were sent with. */
  readonly sessions: Sessions;

  constructor(options: ClientOptions = {}) {
    this.#logger = resolveLogger(options.logger);
    this.#http = new Http({
      baseUrl: options.baseUrl ?? environmentVariable("PERDURE_URL") ?? "http://127.0.0.1:7070",
      apiKey: options.apiKey ?? environmentVariable("PERDURE_API_KEY"),
      maxRetries: options.maxRetries ?? DEFAULT_MAX_RETRIES,
      fetch: options.fetch ?? ((...request) => fetch(...request)),
      coalesce: options.coalesce ?? true,
    });
    this.#outcomes = new Outcomes(this.#http);
    this.sessions = new Sessions(this.#http);
  }

  /**
   * Sends an intent and answers its id once it is durable. A lost answer is repeated safely. With an `idempotencyKey` of your own the same
   * call again, also from another process, answers the first id; another body under the same key is `idempotency_mismatch`.
   */
  async sendIntent<P>(input: IntentInput<P>): Promise<string> {
    const answer = await this.#post("/v1/intents", intentToWire(input), input.idempotencyKey, "create");
    return answer.intent_id;
  }

  /**
   * Sends up to 1,000 intents in one commit, all or none, and answers their ids in order. Where the inputs carry idempotency keys, the keys
   * together name the list: the same list again answers the first ids.
   */
  async sendIntents<P>(inputs: IntentInput<P>[]): Promise<string[]> {
    if (inputs.length === 0) return [];
    const intents = inputs.map((input) => intentToWire(input));
    const answer = await this.#post("/v1/intents/batch", { intents }, batchKey(inputs), "create_many");
    return answer.intent_ids ?? answer.intents.map((intent: Wire) => intent.intent_id);
  }

  /**
   * Waits until the intent has ended, over lost connections and server restarts, and answers how: the current truth, also after an
   * operator's retry. Throws `wait_timeout` (the intent goes on), `not_found`, the signal's reason, or what `onProgress` throws.
   */
  waitFor<R = any>(id: string, options: WaitOptions = {}): Promise<Outcome<R>> {
    return waitAndWatch<R>({ http: this.#http, outcomes: this.#outcomes, logger: this.#logger }, id, options);
  }

  /**
   * The intent's events after `since`, each once and in order, as they happen. Ends after the terminal event. Resumes by itself after a
   * lost connection; to go on in another process pass the last `seq` as `since`.
   */
  observe(id: string, options: ObserveOptions = {}): AsyncIterable<IntentEvent> {
    return observeIntent(this.#http, this.#logger, id, options);
  }

  /**
   * What happens from now on to all intents that this key sees, over one connection, until it is stopped. Resumes by itself after a lost
   * connection; where the server has forgotten what happened meanwhile, `onGap` is told.
   */
  observeAll(filter: FeedFilter = {}, options: ObserveAllOptions = {}): AsyncIterable<FeedEvent> {
    return observeAll(this.#http, filter, options);
  }

  /**
   * Listens at an address for work. With a handler, it runs once per delivery and uses `ctx.step`. With an object of steps, each is run in
   * order and recorded; the last one's value is the result. Reconnects for ever. Throws `validation_failed` at once for impossible steps.
   */
  listen<P = any>(address: string, handler: Handler<P>, options?: ListenOptions): AgentHandle;
  listen<P = any>(address: string, steps: Steps<P>, options?: ListenOptions): AgentHandle;
  listen(address: string, handlerOrSteps: Handler | Steps, options: ListenOptions = {}): AgentHandle {
    const work: Work =
      typeof handlerOrSteps === "function"
        ? { handler: handlerOrSteps }
        : { steps: listSteps(handlerOrSteps) };
    const agent: Agent = new Agent({
      http: this.#http,
      logger: this.#logger,
      address,
      work,
      options,
      onStopped: () => this.#agents.delete(agent),
    });
    this.#agents.add(agent);
    return agent;
  }

  /** The intent as it is now. Throws `not_found`. */
  async getIntent<P = any, R = any>(id: string): Promise<Intent<P, R>> {
    const answer = await this.#http.send({ method: "GET", path: intentPath(id) });
    return presentIntent<P, R>(answer.intent);
  }

  /** Intents, newest first, page by page as they are read. */
  async *listIntents(filter: ListFilter = {}): AsyncGenerator<Intent, void, void> {
    for await (const wire of pages(this.#http, "/v1/intents", listQuery(filter), "intents"))
      yield presentIntent(wire);
  }

  /** Ends the intent as CANCELED, whoever works on it. Throws `intent_terminal` when it has ended otherwise. */
  cancel(id: string, options: { reason?: string } = {}): Promise<Intent> {
    return this.#verb(id, "cancel", compact({ reason: options.reason }));
  }

  /** Puts a FAILED, CANCELED or TIMED_OUT intent back to work, with the steps done kept and its counters reset. */
  retry(id: string): Promise<Intent> {
    return this.#verb(id, "retry", {});
  }

  /** No further step begins until `unpause`; the step at work is finished and recorded. */
  pause(id: string): Promise<Intent> {
    return this.#verb(id, "pause", {});
  }

  /** Undoes `pause`. */
  unpause(id: string): Promise<Intent> {
    return this.#verb(id, "unpause", {});
  }

  /** The intent's named points, the newest first. Throws `not_found`. */
  async checkpoints(id: string): Promise<Checkpoint[]> {
    const answer = await this.#http.send({ method: "GET", path: `${intentPath(id)}/checkpoints` });
    return answer.checkpoints.map(presentCheckpoint);
  }

  /**
   * Takes the intent back to a checkpoint, or to a seq of its log (0: to its start), whatever its status: what was done by then is kept,
   * later steps run again with new idempotency keys. Nothing is erased, so this can be undone. Throws `checkpoint_not_found`, and
   * `validation_failed` for a seq that is not in the log.
   */
  restore(id: string, to: string | number): Promise<Intent> {
    return this.#verb(id, "restore", { to });
  }

  /**
   * Gives a handler's `ctx.waitForSignal(name)` its data, any JSON value. Kept until a wait takes it, in order, so it may be sent early.
   * Throws `intent_terminal` when the intent has ended, and `too_many_signals` when nobody takes them.
   */
  async signal(id: string, name: string, data?: unknown): Promise<void> {
    if (!name) throw new PerdureError("validation_failed", "a signal's name is needed");
    await this.#post(`${intentPath(id)}/signals/${encodeURIComponent(name)}`, compact({ data }));
  }

  /** Tasks that wait for people's decision, those of one assignee or all, page by page as they are read. */
  async *listTasks(filter: { assignee?: string } = {}): AsyncGenerator<OpenTask, void, void> {
    const query = { assignee: filter.assignee };
    for await (const wire of pages(this.#http, "/v1/me/tasks", query, "tasks")) yield presentTask(wire);
  }

  /**
   * Decides the task that the intent waits for; `step` names it where there could be another. The first decision counts: the same again is
   * fine, another one throws `already_decided`. Throws `no_human_task` when nothing waits for people, and `validation_failed` (`details`
   * say where) for an outcome that is not allowed, a missing comment, or data that do not satisfy the form.
   */
  async decide(
    id: string,
    decision: { outcome: string; comment?: string; data?: unknown },
    options: { step?: string } = {},
  ): Promise<Intent> {
    const { outcome, comment, data } = decision;
    const body = compact({ task_result: compact({ outcome, comment, data }), step: options.step });
    return await this.#verb(id, "resume", body);
  }

  /** Why the intent is where it is, who holds it, which deliveries were lost, and what happens next. */
  async explain(id: string): Promise<Explanation> {
    return presentExplanation(await this.#http.send({ method: "GET", path: `${intentPath(id)}/explain` }));
  }

  /**
   * Settles a step in doubt of an intent that waits for it (`onInterrupt: "ask"`): it is done with this result, it runs again, or it fails
   * the intent. Throws `step_not_in_doubt`.
   */
  async resolveStep(id: string, key: string, answer: { done: unknown } | "retry" | "fail"): Promise<Intent> {
    const body = typeof answer === "string" ? { [answer]: true } : { done: answer.done ?? null };
    const reply = await this.#post(`${intentPath(id)}/steps/${encodeURIComponent(key)}/decide`, body);
    return presentIntent(reply.intent);
  }

  /** State as anybody may read it and an operator may write it; inside a handler use `ctx.state`. */
  state(scope: StateScope): State {
    return new HttpState(this.#http, scope);
  }

  /** Stops this client's agents (they finish their steps and hand back), then ends every request, wait and observation. */
  async close(): Promise<void> {
    await Promise.all([...this.#agents].map((agent) => agent.stop()));
    this.#http.close();
  }

  async #verb(id: string, verb: string, body: Wire): Promise<Intent> {
    const answer = await this.#post(`${intentPath(id)}/${verb}`, body);
    return presentIntent(answer.intent);
  }

  /** The key makes it safe to repeat after a lost answer; it is the same over all tries of one call. */
  #post(
    path: string,
    body: Wire,
    idempotencyKey: string = randomId(),
    op?: "create" | "create_many",
  ): Promise<any> {
    const batch = op === undefined ? {} : { batch: { op } };
    return this.#http.send({ method: "POST", path, body, idempotencyKey, ...batch });
  }
}

function intentPath(id: string): string {
  if (!id) throw new PerdureError("validation_failed", "an intent id is needed");
  return `/v1/intents/${encodeURIComponent(id)}`;
}

function listQuery(filter: ListFilter): Record<string, string | number | undefined> {
  const query: Record<string, string | number | undefined> = {
    status: filter.status?.join(","),
    to_agent: filter.toAgent,
    intent_type: filter.intentType,
    session: filter.session,
    parent_intent_id: filter.parentIntentId,
    code: filter.code,
    created_from: filter.since?.toISOString(),
    include: "payload",
  };
  for (const [key, value] of Object.entries(filter.metadata ?? {})) query[`metadata.${key}`] = value;
  return query;
}
