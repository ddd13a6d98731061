// One run of the real server and of the model beside it: driven over HTTP, and seen as a user sees it.

import { connect, type Listener } from "../delivery/listener.ts";
import { call, until } from "../support/server.ts";
import { adoptChoices, explain, type Told } from "./acceptor.ts";
import { compareSteps, stepTexts } from "./compare.ts";
import { pastOf } from "./log.ts";
import { newModel } from "./model.ts";
import { createBody, refusalOf, requestOf, sharedScope, verdictOf } from "./requests.ts";
import type { Model, ModelConsumer, ModelIntent, Op, Own } from "./shapes.ts";
import { Reader, type SeenStep, type Sight } from "./sight.ts";
import type { SteerableServer } from "./steerable.ts";

const SETTLE_MS = 5_000;
/** Shorter than half the heartbeat interval: a longer jump would count as an outage of the server. */
const TICK_MS = 4_000;

/** One run: addresses and consumers of its own on a shared server, and the model beside it. */
export class System {
  readonly server: SteerableServer;
  model: Model;
  readonly #prefix: string;
  readonly #reader: Reader;
  readonly #listeners = new Map<string, Listener[]>();

  constructor(
    server: SteerableServer,
    run: string,
    consumers: readonly Omit<ModelConsumer, "name" | "incarnation" | "open" | "leaseUntil">[],
  ) {
    this.server = server;
    this.#prefix = run;
    this.#reader = new Reader(server);
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
    const { timers, leases, renewals, pulse, outbox } = this.server.sweepers;
    for (let left = ms; left > 0; left -= TICK_MS) {
      const to = this.model.now + Math.min(left, TICK_MS);
      await this.server.moveClock(to);
      // Twice: a pulse that was under way as the clock moved says nothing of the time since.
      for (const worker of [pulse, pulse, renewals, timers, leases, outbox]) await worker.tick();
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
    let sight: Sight;
    try {
      sight = await until(
        "an explanation",
        async () => {
          // What ends owe to parents and children is worked off by itself; here it need not be waited for.
          await this.server.sweepers.outbox.tick();
          const seen = await this.#look(told);
          const found = explain(this.model, told, seen, inOrder);
          best = found.best;
          if (found.model === null) return false;
          adoptChoices(found.model, seen);
          this.model = found.model;
          return seen;
        },
        SETTLE_MS,
      );
    } catch (cause) {
      if (best === "") throw cause;
      throw new Error(`nothing explains ${JSON.stringify(told)}\nfurthest try: ${best}`, { cause });
    }
    this.#expectKeys(sight);
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

  async #look(told: readonly Told[]): Promise<Sight> {
    // A name that is forgotten leaves no trace in the log.
    if (told.some(({ op }) => op.op === "forget")) this.#reader.forget();
    const created = told.flatMap(({ op }) => (op.op === "create" && op.id !== "" ? [op.id] : []));
    const ids = new Set([...this.model.intents.map((intent) => intent.id), ...created]);
    const [all, shared] = await Promise.all([
      Promise.all([...ids].map((id) => this.#reader.look(id))),
      this.#reader.shared(sharedScope(this.#prefix)),
    ]);
    for (const { id, log } of all)
      for (const { consumer, attempt } of log)
        if (consumer !== null) this.#owners.set(`${id} ${attempt}`, consumer);
    return { intents: new Map(all.map((seen) => [seen.id, seen])), shared };
  }

  /** By intent, step and generation: the key it has been shown with. */
  readonly #keys = new Map<string, string>();

  /** A step keeps its idempotency key as long as it is the same step, and has another as another. */
  #expectKeys(sight: Sight): void {
    for (const intent of this.model.intents)
      this.#expectKeysOf(intent, intent.steps, sight.intents.get(intent.id)?.steps ?? []);
  }

  #expectKeysOf(
    intent: ModelIntent,
    steps: ModelIntent["past"][number]["steps"],
    shown: readonly SeenStep[],
  ): void {
    for (const { key, idempotencyKey } of shown) {
      const generation = steps.find((step) => step.key === key)?.generation;
      if (idempotencyKey === null) continue;
      const name = `${intent.id} ${key} ${generation}`;
      const known = this.#keys.get(name);
      const same = [...this.#keys].find(([other, one]) => one === idempotencyKey && other !== name);
      if ((known !== undefined && known !== idempotencyKey) || same !== undefined)
        throw new Error(
          `generation ${generation} of ${key} has the key ${idempotencyKey}, known is ${known ?? same?.[0]}`,
        );
      this.#keys.set(name, idempotencyKey);
    }
  }

  /** At the end: everything is looked at once more, and so is the past. */
  async verify(): Promise<void> {
    this.#reader.forget();
    await this.#settle([]);
    for (const intent of this.model.intents) {
      await this.#verifyPast(intent);
      await this.#verifyExport(intent);
    }
  }

  async #verifyPast(intent: ModelIntent): Promise<void> {
    for (let seq = intent.log.length; seq > 0; seq -= 2) {
      const { steps } = pastOf(intent, seq);
      const shown = await this.#reader.stepsAt(intent.id, seq);
      const difference = compareSteps(
        stepTexts(this.model, steps),
        shown.map((step) => step.text),
      );
      if (difference !== null)
        throw new Error(`after entry ${seq} (${intent.log[seq - 1]?.type}) of ${intent.id} ${difference}`);
      this.#expectKeysOf(intent, steps, shown);
    }
  }

  async #verifyExport(intent: ModelIntent): Promise<void> {
    const { signals, versions } = await this.#reader.exported(intent.id);
    const expected = new Map<string, string>();
    for (const { state } of intent.past)
      for (const [key, { version, value, deleted }] of Object.entries(state))
        expected.set(`${key}@${version}`, deleted ? "deleted" : JSON.stringify(value));
    expectSame(
      `the versions of ${intent.id}`,
      [...expected].map(([name, value]) => `${name}=${value}`),
      versions.map(
        ({ key, version, value, deleted }) =>
          `${key}@${version}=${deleted ? "deleted" : JSON.stringify(value)}`,
      ),
    );
    expectSame(
      `the signals of ${intent.id}`,
      intent.signals.map(({ no, name, takenBy }) => `${no} ${name} ${takenBy}`),
      signals.map(({ seq, name, taken_by }) => `${seq} ${name} ${taken_by}`),
    );
  }

  async #send(op: Op): Promise<Told> {
    if (op.op === "connect") return { op, verdict: await this.#connect(op) };
    if (op.op === "cut") return { op, verdict: await this.#cut(op.c) };
    if (op.op === "create") return await this.#create(op);
    if (op.op === "clock" || isOwn(op)) throw new Error(`nobody can be asked for ${op.op}`);
    const { method, path, body } = requestOf(op, this.model, this.#prefix);
    const answer = await call(this.server, method, path, body);
    const verdict = verdictOf(op, answer);
    // A restore lands at the end of the commit that it names an entry of, and says where that is.
    const landed =
      op.op === "restore" && answer.status === 200 ? { ...op, to: answer.body.restored.seq } : op;
    return { op: landed, verdict };
  }

  async #create(op: Extract<Op, { op: "create" }>): Promise<Told> {
    const known = this.model.keys.find((one) => one.key === op.key);
    const headers = { "idempotency-key": `${this.#prefix}${op.key}` };
    const answer = await call(
      this.server,
      "POST",
      "/v1/intents",
      {
        ...createBody(this.model, op.body, this.#prefix, known?.at ?? this.model.now),
        ...(op.parentAttempt === null ? {} : { parent_attempt: op.parentAttempt }),
      },
      headers,
    );
    if (answer.status !== 200) return { op, verdict: refusalOf(answer) };
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

const isOwn = (op: Op): op is Own => ["deliver", "due", "told", "doomed", "expire"].includes(op.op);

function expectSame(what: string, expected: readonly string[], shown: readonly string[]): void {
  const [own, other] = [expected, shown].map((texts) => [...texts].sort().join(", "));
  if (own !== other) throw new Error(`${what} should be ${own}, but are ${other}`);
}
