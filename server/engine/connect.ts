// Consumers that connect (DELIVERY D2, D5). A fleet that comes back at once is let in by a few transactions: all that wait connect in
// one, each with its own outcome. Nobody waits there for a row that somebody else holds; who needs one goes alone.

import { newId } from "../domain/ids.ts";
import { Refusal } from "../domain/refusal.ts";
import { isRefusedByDatabase } from "../store/connection.ts";
import {
  type ConsumerRow,
  type ConsumerWrite,
  type HeldLease,
  heldBy,
  lockConsumersByName,
  markRefused,
  saveConsumers,
} from "../store/consumers.ts";
import { HeldUp } from "../store/held-up.ts";
import { type Transaction, transact } from "../store/transaction.ts";
import { isOver, loseHeld, served } from "./consumers.ts";
import type { Engine } from "./context.ts";

const SUPERSEDED_KEPT = 8;

/** What a consumer says of itself; the rest of its row is decided here. */
export type ConnectInput = Omit<ConsumerWrite, "id" | "isNew" | "streamNo" | "replicaId" | "superseded">;

export interface Connection {
  readonly consumerId: string;
  readonly streamNo: number;
  readonly held: readonly HeldLease[];
  readonly leaseUntil: number;
}

type Admission = "new" | "same" | "takeover" | "in_use" | "superseded";

/** Whether this incarnation may have the name now (D5). */
function admit(row: ConsumerRow | undefined, incarnation: string, leaseOver: boolean): Admission {
  if (row === undefined) return "new";
  if (row.incarnation === incarnation) return "same";
  if (row.superseded.includes(incarnation)) return "superseded";
  if (leaseOver) return "takeover";
  // Nobody served until this lease ended: its owner could not come back in time, whatever was seen of its stream.
  if ((row.lease_until ?? 0) <= row.now) return "in_use";
  const knownClosed = row.closed_stream_no >= row.stream_no;
  const contested = row.refused_at !== null && row.refused_at > row.now - row.lease_ttl_ms;
  return knownClosed && !contested ? "takeover" : "in_use";
}

/** What becomes of one that connects, decided under its lock. */
interface Admitted {
  readonly write: ConsumerWrite;
  /** The same incarnation after its lease ended has lost what it held, exactly as if the sweeper had come first. */
  readonly loses: "takeover" | "lease_expired" | null;
}

function decide(
  engine: Engine,
  input: ConnectInput,
  row: ConsumerRow | undefined,
  isServed: boolean,
): Admitted | Refusal {
  const leaseOver = row !== undefined && isOver(row, isServed);
  const admission = admit(row, input.incarnation, leaseOver);
  if (admission === "superseded") {
    return new Refusal(
      "consumer_superseded",
      `another process has taken the consumer name ${JSON.stringify(input.name)}; stop this one`,
    );
  }
  if (admission === "in_use" && row !== undefined) {
    const waitMs = Math.max(1, (row.lease_until ?? row.now) - row.now);
    return new Refusal(
      "consumer_in_use",
      `the consumer name ${JSON.stringify(input.name)} is in use; wait or choose another name`,
      {
        retry_after_seconds: Math.ceil(waitMs / 1000),
      },
    );
  }
  const superseded =
    row === undefined || admission !== "takeover"
      ? (row?.superseded ?? [])
      : [...row.superseded, row.incarnation].slice(-SUPERSEDED_KEPT);
  const write = {
    ...input,
    id: row?.id ?? newId(),
    isNew: row === undefined,
    streamNo: (row?.stream_no ?? 0) + 1,
    replicaId: engine.replicaId,
    superseded,
  };
  return { write, loses: leaseOver ? "lease_expired" : admission === "takeover" ? "takeover" : null };
}

type Outcome = Connection | Refusal;

/** Undefined for whoever has to go alone: somebody holds its row, or it comes with more than its neighbours should wait for. */
async function connectAll(
  engine: Engine,
  inputs: readonly ConnectInput[],
): Promise<readonly (Outcome | undefined)[]> {
  const alone = inputs.length === 1;
  const { value, changes } = await transact(engine.store, async (tx) => {
    const [found, isServed] = await Promise.all([
      lockConsumersByName(tx, inputs, { freeOnly: !alone }),
      served(tx, engine),
    ]);
    const decided = inputs.map((input, index) => {
      const row = found[index];
      return row === "busy" ? undefined : decide(engine, input, row, isServed);
    });
    const losing = new Map<ConsumerRow, string>();
    decided.forEach((one, index) => {
      const row = found[index];
      if (one === undefined || row === undefined || row === "busy") return;
      if (one instanceof Refusal) {
        if (one.code === "consumer_in_use") markRefused(tx, row.id);
      } else if (one.loses !== null) losing.set(row, one.loses);
    });
    if (!(await loseHeld(engine, tx, losing, alone ? Number.POSITIVE_INFINITY : LOSSES_MAX)))
      return inputs.map(() => undefined);
    return save(tx, decided);
  });
  engine.committed(changes);
  return value;
}

async function save(
  tx: Transaction,
  decided: readonly (Admitted | Refusal | undefined)[],
): Promise<(Outcome | undefined)[]> {
  const writes = decided.flatMap((one) => (one === undefined || one instanceof Refusal ? [] : [one.write]));
  if (writes.length === 0) return decided.map((one) => one as Refusal | undefined);
  const [saved, held] = await Promise.all([
    saveConsumers(tx, writes),
    heldBy(
      tx,
      writes.flatMap(({ id, isNew }) => (isNew ? [] : [id])),
    ),
  ]);
  const holdings = new Map<string, HeldLease[]>();
  for (const lease of held)
    holdings.set(lease.consumer_id, [...(holdings.get(lease.consumer_id) ?? []), lease]);
  return decided.map((one) => {
    if (one === undefined || one instanceof Refusal) return one;
    const { id, streamNo } = one.write;
    return {
      consumerId: id,
      streamNo,
      held: holdings.get(id) ?? [],
      leaseUntil: saved.get(id) as number,
    };
  });
}

interface Waiting {
  readonly input: ConnectInput;
  readonly key: string;
  readonly resolve: (connection: Connection) => void;
  readonly reject: (error: unknown) => void;
}

/** In one transaction; its rows are held until it has committed. */
const TOGETHER_MAX = 100;
/** What those that come together may lose together. */
const LOSSES_MAX = 200;
/** Fewer than there are connections: claims and heartbeats go on meanwhile. */
const AT_ONCE = 2;

/** Those of one server that want to connect. */
class Arrivals {
  readonly #engine: Engine;
  #waiting: Waiting[] = [];
  /** One at a time of each name. */
  readonly #connecting = new Set<string>();
  #running = 0;
  #scheduled = false;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  connect(input: ConnectInput): Promise<Connection> {
    const key = JSON.stringify([input.namespace, input.address, input.name]);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ input, key, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      // Everybody that arrives in this turn of the event loop.
      setImmediate(() => {
        this.#scheduled = false;
        this.#pump();
      });
    });
  }

  #pump(): void {
    while (this.#running < AT_ONCE) {
      const some = this.#take();
      if (some.length === 0) return;
      this.#running += 1;
      void this.#together(some).finally(() => {
        this.#running -= 1;
        this.#pump();
      });
    }
  }

  #take(): Waiting[] {
    const taken: Waiting[] = [];
    const rest: Waiting[] = [];
    for (const one of this.#waiting) {
      if (taken.length < TOGETHER_MAX && !this.#connecting.has(one.key)) {
        this.#connecting.add(one.key);
        taken.push(one);
      } else rest.push(one);
    }
    this.#waiting = rest;
    return taken;
  }

  async #together(some: readonly Waiting[]): Promise<void> {
    try {
      const outcomes = await connectAll(
        this.#engine,
        some.map(({ input }) => input),
      );
      some.forEach((one, index) => {
        this.#answer(one, outcomes[index]);
      });
    } catch (error) {
      // What holds one up, or is refused of one, is no business of its neighbours.
      const byOne = error instanceof HeldUp || isRefusedByDatabase(error);
      for (const one of some)
        if (byOne && some.length > 1) this.#alone(one);
        else this.#leave(one, () => one.reject(error));
    }
  }

  #answer(one: Waiting, outcome: Outcome | undefined): void {
    if (outcome === undefined) this.#alone(one);
    else if (outcome instanceof Refusal) this.#leave(one, () => one.reject(outcome));
    else this.#leave(one, () => one.resolve(outcome));
  }

  /** May wait long for the row that it needs, and nobody waits with it. */
  #alone(one: Waiting): void {
    void this.#together([one]).then(() => this.#pump());
  }

  #leave({ key }: Waiting, tell: () => void): void {
    this.#connecting.delete(key);
    tell();
  }
}

const arrivals = new WeakMap<Engine, Arrivals>();

export function connectConsumer(engine: Engine, input: ConnectInput): Promise<Connection> {
  const here = arrivals.get(engine) ?? new Arrivals(engine);
  arrivals.set(engine, here);
  return here.connect(input);
}
