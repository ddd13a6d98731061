// The real server under a clock that stands still until it is moved, driven over HTTP, and seen as a user sees it.

import { connect, type Listener } from "../delivery/listener.ts";
import { type Answer, call, startTestServer, type TestServer, until } from "../support/server.ts";
import { adoptChoices, explain, type Seen, type Told } from "./acceptor.ts";
import {
  type CreateBody,
  LEASE_MS,
  type Model,
  type ModelConsumer,
  newModel,
  type Op,
  RETRY_MS,
} from "./model.ts";

export interface SteerableServer extends TestServer {
  /** Milliseconds of the database's clock. */
  now(): number;
  moveClock(to: number): Promise<void>;
}

/** Nothing in the server reads another clock than the database's perdure_now(): replaced here by a row that stands still. */
export async function startSteerableServer(): Promise<SteerableServer> {
  const env = {
    PERDURE_HEARTBEAT_INTERVAL_MS: "10000",
    PERDURE_LEASE_TTL_MS: String(LEASE_MS),
    PERDURE_RECONNECT_GRACE_MS: "2000",
    PERDURE_POLL_INTERVAL_MS: "1000",
  };
  const server = await startTestServer({ env });
  let now = Date.parse("2030-01-01T00:00:00Z");
  const moveClock = async (to: number) => {
    now = to;
    await server.store.pool.query("update test_clock set now = to_timestamp($1::float8 / 1000)", [to]);
  };
  await server.store.pool.query("create table test_clock (now timestamptz not null)");
  await server.store.pool.query("insert into test_clock values (to_timestamp($1::float8 / 1000))", [now]);
  await server.store.pool.query(
    "create or replace function perdure_now() returns timestamptz language sql volatile as 'select now from test_clock'",
  );
  return Object.assign(server, { now: () => now, moveClock });
}

const SETTLE_MS = 5_000;
/** Shorter than half the heartbeat interval: a longer jump would count as an outage of the server. */
const TICK_MS = 4_000;

/** One run: addresses and consumers of its own on a shared server, and the model beside it. */
export class System {
  readonly server: SteerableServer;
  model: Model;
  readonly #prefix: string;
  readonly #listeners = new Map<string, Listener[]>();

  constructor(
    server: SteerableServer,
    run: string,
    consumers: readonly Omit<ModelConsumer, "name" | "incarnation" | "open" | "leaseUntil">[],
  ) {
    this.server = server;
    this.#prefix = run;
    this.model = newModel(server.now());
    this.model.consumers = consumers.map((consumer, n) => ({
      ...consumer,
      name: `${run}c${n}`,
      incarnation: 0,
      open: false,
      leaseUntil: null,
    }));
  }

  /** Runs the operations at the same time, then waits until everything that was seen is explained. */
  async run(ops: readonly Op[]): Promise<void> {
    const told = await Promise.all(ops.map((op) => this.#send(op)));
    await this.#settle(told);
  }

  /** Moves the clock as time passes: in steps, with every background pass at each. */
  async passTime(ms: number): Promise<void> {
    const { timers, leases, renewals, pulse } = this.server.sweepers;
    for (let left = ms; left > 0; left -= TICK_MS) {
      const to = this.model.now + Math.min(left, TICK_MS);
      await this.server.moveClock(to);
      // Twice: a pulse that was under way as the clock moved says nothing of the time since.
      for (const worker of [pulse, pulse, renewals, timers, leases]) await worker.tick();
      await this.#settle([{ op: { op: "clock", to }, verdict: "ok" }]);
    }
  }

  async close(): Promise<void> {
    for (const listeners of this.#listeners.values()) for (const listener of listeners) listener.cut();
    const { rows } = await this.server.store.pool.query(
      "select intent_id from leases l join consumers c on c.id = l.consumer_id where c.name like $1",
      [`${this.#prefix}c%`],
    );
    for (const row of rows) await call(this.server, "POST", `/v1/intents/${row.intent_id}/cancel`, {});
  }

  async #settle(told: readonly Told[]): Promise<void> {
    let best = "";
    const inOrder = told.length === 1 && told[0]?.op.op !== "clock";
    try {
      await until(
        "an explanation",
        async () => {
          const seen = await this.#look(told);
          const found = explain(this.model, told, seen, inOrder);
          best = found.best;
          if (found.model === null) return false;
          adoptChoices(found.model, seen);
          this.model = found.model;
          return true;
        },
        SETTLE_MS,
      );
    } catch (cause) {
      if (best === "") throw cause;
      throw new Error(`nothing explains ${JSON.stringify(told)}\nfurthest try: ${best}`, { cause });
    }
    await this.#expectFrames();
  }

  /** Whoever holds an intent has been told of it, through its newest stream, and nobody else has. */
  async #expectFrames(): Promise<void> {
    for (const consumer of this.model.consumers.filter((one) => one.open)) {
      const listener = this.#listeners.get(consumer.name)?.at(-1);
      const held = this.model.intents.filter((intent) => intent.holder === consumer.name);
      for (const { id, attempt } of held)
        await until(`a frame for ${consumer.name}: ${id}, attempt ${attempt}`, () =>
          listener?.deliveries().some(({ data }) => data.intent_id === id && data.attempt === attempt),
        );
    }
    for (const [name, listeners] of this.#listeners) {
      for (const { data } of listeners.flatMap((listener) => listener.deliveries())) {
        const owner = this.#owners.get(`${data.intent_id} ${data.attempt}`);
        if (owner !== name)
          throw new Error(
            `${name} was told of ${data.intent_id}, attempt ${data.attempt}, which is ${owner}'s`,
          );
      }
    }
  }

  /** By intent and attempt: whom the log says it was delivered to. */
  readonly #owners = new Map<string, string>();

  async #look(told: readonly Told[]): Promise<Map<string, Seen>> {
    const created = told.flatMap(({ op }) => (op.op === "create" && op.id !== "" ? [op.id] : []));
    const ids = new Set([...this.model.intents.map((intent) => intent.id), ...created]);
    const all = await Promise.all([...ids].map((id) => this.#lookAt(id)));
    return new Map(all.map((seen) => [seen.id, seen]));
  }

  async #lookAt(id: string): Promise<Seen> {
    const [{ body: view }, { body: log }, { body: steps }] = await Promise.all([
      call(this.server, "GET", `/v1/intents/${id}`),
      call(this.server, "GET", `/v1/intents/${id}/events?limit=200`),
      call(this.server, "GET", `/v1/intents/${id}/steps`),
    ]);
    const { intent } = view;
    log.events.forEach((event: { seq: number }, n: number) => {
      if (event.seq !== n + 1) throw new Error(`event ${n + 1} of ${id} has seq ${event.seq}`);
    });
    // biome-ignore lint/suspicious/noExplicitAny: the wire is what is being judged
    const entries = log.events.map((event: any) => {
      const type = String(event.event_type).replace("intent.", "");
      const consumer = type === "delivered" ? String(event.details.consumer) : null;
      if (consumer !== null) this.#owners.set(`${id} ${event.attempt}`, consumer);
      return { type, status: event.status, attempt: event.attempt, consumer };
    });
    return {
      id,
      log: entries,
      status: intent.status,
      attempt: intent.attempt,
      strikes: intent.lost_deliveries,
      paused: intent.paused,
      waiting: intent.lifecycle_waiting_reason === "WAITING_FOR_HUMAN",
      availableAt: intent.deliver_at === undefined ? null : Date.parse(intent.deliver_at),
      // biome-ignore lint/suspicious/noExplicitAny: as above
      steps: steps.steps.map((step: any) => ({
        key: step.key,
        status: step.status,
        tries: step.tries,
        doubt: step.interrupted,
        result: step.result ?? null,
      })),
    };
  }

  async #send(op: Op): Promise<Told> {
    if (op.op === "connect") return { op, verdict: await this.#connect(op) };
    if (op.op === "cut") return { op, verdict: await this.#cut(op.c) };
    if (op.op === "create") return await this.#create(op);
    const { method, path, body } = requestOf(op, this.model);
    return { op, verdict: verdictOf(await call(this.server, method, path, body)) };
  }

  async #create(op: Extract<Op, { op: "create" }>): Promise<Told> {
    const known = this.model.keys.find((one) => one.key === op.key);
    const headers = { "idempotency-key": `${this.#prefix}${op.key}` };
    const answer = await call(
      this.server,
      "POST",
      "/v1/intents",
      createBody(op.body, this.#prefix, known?.at ?? this.model.now),
      headers,
    );
    if (answer.status !== 200) return { op, verdict: verdictOf(answer) };
    const replayed = answer.headers.get("idempotent-replayed") === "true";
    const first = known === undefined ? undefined : this.model.intents[known.intent]?.id;
    if (first !== undefined && answer.body.intent_id !== first)
      throw new Error(`key ${op.key} made a second intent`);
    // A replayed create is told by its first id; what the model needs to know is that nothing new came of it.
    const body = { ...op.body, address: `${this.#prefix}${op.body.address}` };
    return { op: { ...op, body, id: answer.body.intent_id }, verdict: replayed ? "replayed" : "ok" };
  }

  async #connect(op: Extract<Op, { op: "connect" }>): Promise<string> {
    const consumer = this.model.consumers[op.c] as ModelConsumer;
    const listener = connect(this.server, consumer.address, {
      consumer: consumer.name,
      incarnation: String(consumer.incarnation + Number(op.restart)),
      capacity: consumer.capacity,
      ...(consumer.explicitAck ? { ack: "explicit" as const } : {}),
    });
    await until(
      "stream.open or a refusal",
      () => listener.frames.length > 0 || listener.refusal !== undefined,
    );
    if (listener.refusal !== undefined) return listener.refusal.body.code;
    this.#listeners.set(consumer.name, [...(this.#listeners.get(consumer.name) ?? []), listener]);
    return "ok";
  }

  async #cut(c: number): Promise<string> {
    const { name } = this.model.consumers[c] as ModelConsumer;
    this.#listeners.get(name)?.at(-1)?.cut();
    await until("the close is seen", async () => {
      const { rows } = await this.server.store.pool.query(
        "select closed_stream_no = stream_no as seen from consumers where name = $1",
        [name],
      );
      return rows[0]?.seen;
    });
    return "ok";
  }
}

function createBody(body: CreateBody, prefix: string, now: number) {
  return {
    intent_type: "model.v1",
    to_agent: `${prefix}${body.address}`,
    payload: {},
    steps: Array.from({ length: body.steps }, (_, n) => `s${n + 1}`),
    priority: body.priority,
    max_delivery_attempts: body.maxDeliveries,
    on_interrupt: body.onInterrupt,
    ...(body.maxRetries === 0
      ? {}
      : { retry: { max_retries: body.maxRetries, initial_delay_ms: RETRY_MS, factor: 2 } }),
    ...(body.ttlMs === null ? {} : { ttl_seconds: body.ttlMs / 1000 }),
    ...(body.delayMs === null ? {} : { deliver_at: new Date(now + body.delayMs).toISOString() }),
    ...(body.attemptTimeoutMs === null ? {} : { attempt_timeout_seconds: body.attemptTimeoutMs / 1000 }),
  };
}

type Sent = Exclude<Op, { op: "create" | "connect" | "cut" | "clock" | "deliver" | "due" | "expire" }>;

function requestOf(op: Op, model: Model): { method: string; path: string; body: unknown } {
  const sent = op as Sent;
  const base = `/v1/intents/${model.intents[sent.i]?.id}`;
  const post = (verb: string, body: unknown) => ({ method: "POST", path: `${base}/${verb}`, body });
  const put = (key: string, body: unknown) => ({ method: "PUT", path: `${base}/steps/${key}`, body });
  switch (sent.op) {
    case "start":
      return post("start", { attempt: sent.attempt, begin_next: sent.beginNext });
    case "running":
      return put(sent.key, { status: "running", attempt: sent.attempt });
    case "done":
      return put(sent.key, {
        status: "done",
        attempt: sent.attempt,
        result: sent.result,
        begin_next: sent.beginNext,
      });
    case "failed":
      return put(sent.key, {
        status: "failed",
        attempt: sent.attempt,
        retryable: sent.retryable,
        error: { code: "step_error", message: "step" },
      });
    case "complete":
      return post("resolve", { status: "COMPLETED", attempt: sent.attempt, result: sent.result });
    case "fail":
      return post("resolve", {
        status: "FAILED",
        attempt: sent.attempt,
        retryable: sent.retryable,
        error: { code: "handler_error", message: "handler" },
      });
    case "release":
      return post("release", { attempt: sent.attempt, not_run: sent.notRun });
    case "decide":
      return post(
        `steps/${sent.key}/decide`,
        sent.answer === "done" ? { done: "decided" } : { [sent.answer]: true },
      );
    default:
      return post(sent.op, {});
  }
}

function verdictOf(answer: Answer): string {
  if (answer.status === 200) return "ok";
  if (answer.status >= 500)
    throw new Error(`the server answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return String(answer.body.code);
}
