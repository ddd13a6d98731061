// Work for windows: new intents to whoever waits, what a restarted agent's predecessor had to a newcomer (DELIVERY X1 to X3).
// Each delivery is leased to a consumer of its own, and what its listener will come back with is written down with it.

import { EVERYTHING } from "../domain/access.ts";
import { deliver, lose, release } from "../domain/decide/attempt.ts";
import type { Draft } from "../domain/draft.ts";
import { newId } from "../domain/ids.ts";
import { SERVER } from "../domain/intent.ts";
import { isClaimable, isOverdue } from "../domain/schedule.ts";
import { mayBeTakenOver, nextCursor, type Wanted } from "../domain/window.ts";
import { type ClaimGroup, lockHeads } from "../store/claim.ts";
import { heldBy, lockConsumers } from "../store/consumers.ts";
import { type Transaction, transact } from "../store/transaction.ts";
import {
  type Account,
  handedOut,
  lateDebt,
  lockCursor,
  moveCursor,
  type Owed,
  oweInside,
  renewWindowed,
  saveWindowed,
  type WindowedConsumer,
} from "../store/windows.ts";
import type { Workspace } from "../store/workspace.ts";
import type { Engine } from "./context.ts";

/** A listener that waits at an address. */
export interface Waiting extends Account {
  readonly namespace: string;
  readonly since: number;
  /** Only these types; null takes all. */
  readonly intentTypes: readonly string[] | null;
  readonly wanted: Wanted;
  /** Since when it may take over what went out before; null: it may not. */
  readonly arrivedAt: number | null;
}

/** What was handed out, to the consumer that this made. */
export interface HandedOut {
  readonly consumerId: string;
  readonly intentId: string;
}

export interface WindowDelivery<W extends Waiting = Waiting> extends HandedOut {
  readonly to: W;
  readonly attempt: number;
  /** Its number at this address. */
  readonly cursor: number;
}

export interface WindowClaim<W extends Waiting> {
  readonly delivered: readonly WindowDelivery<W>[];
  /** More could have been taken, had not others held it: worth another look very soon. */
  readonly contested: boolean;
}

/** A transaction failed, and it is not sure that none of this was handed out: its commit was not answered. */
export class Unanswered extends Error {
  readonly perhaps: readonly HandedOut[];

  constructor(perhaps: readonly HandedOut[], cause: unknown) {
    super("it is not known whether deliveries through windows were committed", { cause });
    this.perhaps = perhaps;
  }
}

/** A newcomer looks at so many deliveries of its predecessor, the oldest first. */
const LOOK_BACK = 16;
const STEPS_LOADED = 50;

/** How the log names the agent behind one windowed delivery. */
const nameOf = (consumerId: string): string => `window-${consumerId.slice(-12)}`;

interface Made<W> {
  readonly consumer: WindowedConsumer;
  readonly to: W;
  readonly intentId: string;
  readonly attempt: number;
  readonly arrivedAt: number | null;
}

/** Hands out deliveries of one transaction at one address, and writes down what follows from them. */
class HandingOut<W extends Waiting> {
  readonly #engine: Engine;
  readonly #work: Workspace;
  readonly #cursor: number;
  readonly #made: Made<W>[] = [];

  constructor(engine: Engine, work: Workspace, cursor: number) {
    this.#engine = engine;
    this.#work = work;
    this.#cursor = cursor;
  }

  /** False when the intent cannot be delivered any more: paused, canceled or taken meanwhile. `arrivedAt`: what its listener keeps of its right. */
  give(intentId: string, to: W, arrivedAt: number | null): boolean {
    const id = newId();
    const { namespace, address, account } = to;
    const consumer = { id, namespace, address, account, name: nameOf(id) };
    const draft = this.#work.open(intentId, {
      name: consumer.name,
      operator: false,
      access: EVERYTHING,
    });
    if (!isClaimable(draft.intent) || isOverdue(draft.intent, draft.now)) return false;
    deliver(draft, { id, name: consumer.name, explicitAck: false, windowed: true });
    this.#work.stage(draft);
    this.#work.settle();
    this.#made.push({ consumer, to, intentId, attempt: draft.intent.attempt, arrivedAt });
    return true;
  }

  get perhaps(): readonly HandedOut[] {
    return this.#made.map(({ consumer, intentId }) => ({ consumerId: consumer.id, intentId }));
  }

  /** Sends all of it. */
  write(tx: Transaction, address: string): WindowDelivery<W>[] {
    const { settings, replicaId } = this.#engine;
    const delivered: WindowDelivery<W>[] = [];
    if (this.#made.length > 0) {
      const owed: Owed[] = [];
      let seq = this.#cursor;
      for (const { to, intentId, attempt, arrivedAt, consumer } of this.#made) {
        seq = nextCursor(seq, to.since);
        delivered.push({ to, intentId, attempt, cursor: seq, consumerId: consumer.id });
        owed.push({
          address,
          account: consumer.account,
          seq,
          ageMs: 0,
          lastsMs: null,
          arrivedAt,
          cameMs: null,
        });
      }
      moveCursor(tx, address, seq);
      const consumers = this.#made.map((one) => one.consumer);
      saveWindowed(tx, consumers, settings.windowedLeaseMs, replicaId);
      oweInside(tx, owed);
    }
    tx.write(this.#work);
    return delivered;
  }
}

/** In one transaction, whose loss is told with what it may have done. */
async function handingOut<W extends Waiting, T>(
  engine: Engine,
  body: (tx: Transaction, begin: (work: Workspace, cursor: number) => HandingOut<W>) => Promise<T>,
): Promise<T> {
  let out: HandingOut<W> | undefined;
  try {
    const { value, changes } = await transact(engine.store, (tx) => {
      out = undefined;
      return body(tx, (work, cursor) => {
        out = new HandingOut<W>(engine, work, cursor);
        return out;
      });
    });
    engine.committed(changes);
    return value;
  } catch (error) {
    const perhaps = out?.perhaps ?? [];
    throw perhaps.length === 0 ? error : new Unanswered(perhaps, error);
  }
}

/** New intents for listeners at one address, one each, the longest waiting first. */
export async function claimForWindows<W extends Waiting>(
  engine: Engine,
  windows: readonly W[],
): Promise<WindowClaim<W>> {
  const groups = groupAlike(windows);
  const [first] = windows;
  if (first === undefined || groups.length === 0) return { delivered: [], contested: false };
  return handingOut<W, WindowClaim<W>>(engine, async (tx, begin) => {
    const { work, heads, contested } = await lockHeads(
      tx,
      engine.store.queues,
      groups.map((group) => group.claim),
    );
    const cursor = heads.some((ids) => ids.length > 0) ? await lockCursor(tx, first.address) : null;
    if (cursor === null) return { delivered: [], contested: contested.includes(true) };
    const out = begin(work, cursor);
    groups.forEach(({ members }, index) => {
      const free = [...members];
      for (const intentId of heads[index] ?? [])
        if (free[0] !== undefined && out.give(intentId, free[0], free[0].arrivedAt)) free.shift();
    });
    return { delivered: out.write(tx, first.address), contested: contested.includes(true) };
  });
}

interface Group<W> {
  readonly claim: ClaimGroup;
  readonly members: W[];
}

/** Listeners that may take the same intents share one look at the queue. */
function groupAlike<W extends Waiting>(windows: readonly W[]): Group<W>[] {
  const groups = new Map<string, W[]>();
  for (const window of windows) {
    if (!window.wanted.first && !window.wanted.again) continue;
    const key = JSON.stringify([window.intentTypes, window.wanted]);
    groups.set(key, [...(groups.get(key) ?? []), window]);
  }
  return [...groups.values()].flatMap((members) => {
    const [one] = members;
    if (one === undefined) return [];
    const { address, intentTypes, wanted } = one;
    const first = wanted.first && wanted.again ? null : wanted.first;
    return [{ members, claim: { address, intentTypes, first, limit: members.length } }];
  });
}

/** `expected`: its debt turned up late, so that it is no newcomer. `nothing`: what went out before it came is over, or stays where it is. */
export type TakeOver<W extends Waiting> = WindowDelivery<W> | "expected" | "nothing";

/** One delivery that went out before the newcomer came ends as lost, and is its own from now on. */
export async function takeOver<W extends Waiting>(engine: Engine, newcomer: W): Promise<TakeOver<W>> {
  const { arrivedAt } = newcomer;
  if (arrivedAt === null || !newcomer.wanted.again) return "nothing";
  return handingOut<W, TakeOver<W>>(engine, async (tx, begin) => {
    const cameAt = await firstArrival(tx, newcomer, arrivedAt);
    if (cameAt === null) return "expected";
    const consumers = await handedOut(tx, newcomer, cameAt, LOOK_BACK);
    if (consumers.length === 0) return "nothing";
    // Whoever else holds one of them is ending it.
    const rows = await lockConsumers(tx, consumers, true);
    const held = await heldBy(
      tx,
      rows.map((row) => row.id),
    );
    const owners = new Map(held.map((lease) => [lease.consumer_id, lease.intent_id]));
    const work = await tx.load({
      intents: [...owners.values()],
      steps: [...owners.values()].map((intentId) => ({ intentId, keys: [], undone: STEPS_LOADED })),
      records: [],
    });
    const cursor = await lockCursor(tx, newcomer.address);
    if (cursor === null) return "nothing";
    const out = begin(work, cursor);
    for (const consumerId of consumers)
      if (loseTo(engine, work, consumerId, owners.get(consumerId), newcomer, out)) break;
    return out.write(tx, newcomer.address)[0] ?? "nothing";
  });
}

/** When it came as a newcomer, over windows of which nobody could ask who came; null: it was expected all the time. */
async function firstArrival(tx: Transaction, newcomer: Waiting, arrivedAt: number): Promise<number | null> {
  let cameAt: number | null = arrivedAt;
  while (cameAt !== null) {
    const debt = await lateDebt(tx, newcomer, newcomer.since, cameAt);
    if (debt === undefined) return cameAt;
    cameAt = debt.arrived_at;
  }
  return null;
}

/** True when the newcomer's one takeover is used up. */
function loseTo<W extends Waiting>(
  engine: Engine,
  work: Workspace,
  consumerId: string,
  intentId: string | undefined,
  newcomer: W,
  out: HandingOut<W>,
): boolean {
  const intent = intentId === undefined ? undefined : work.peek(intentId)?.intent;
  if (intent?.consumerId !== consumerId || !takes(newcomer, intent.intentType)) return false;
  if (!mayBeTakenOver(intent, work.now, engine.settings)) return false;
  const draft = work.open(intent.id, SERVER);
  lose(draft, "takeover", engine.settings, nameOf(consumerId));
  work.stage(draft);
  work.settle();
  // Where its interrupted steps ask somebody first, nobody has it next.
  out.give(intent.id, newcomer, null);
  return true;
}

const takes = ({ intentTypes }: Waiting, type: string): boolean =>
  intentTypes === null || intentTypes.includes(type);

/** A delivery of which its listener could not be told: nothing was lost, and nobody is to blame. */
export function handBack(engine: Engine, { intentId, consumerId }: HandedOut): Promise<boolean> {
  return engine.commits.submit({
    name: "hand_back",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: STEPS_LOADED }],
    decide(work) {
      if (!work.has(intentId)) return false;
      const draft: Draft = work.open(intentId, SERVER);
      if (draft.intent.consumerId !== consumerId) return false;
      release(draft, [], "listener_gone");
      work.stage(draft);
      return true;
    },
  });
}

export interface WindowedAgents {
  /** The key's digest, as its windows are accounted for. */
  readonly account: string;
  /** Canonical; null: wherever this key has taken work. */
  readonly address: string | null;
}

/** A sign of life: every windowed delivery that these agents hold has its whole lease again. Answers how many there are. */
export const renewWindowedLeases = (engine: Engine, { account, address }: WindowedAgents): Promise<number> =>
  renewWindowed(engine.store, account, address);
