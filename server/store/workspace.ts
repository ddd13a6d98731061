// The unit of work of one transaction: the locked rows, the drafts that decisions stage over them, and what has
// to be written in the end. Pure bookkeeping: no SQL, no decisions.

import { maySee } from "../domain/access.ts";
import { type Draft, openDraft } from "../domain/draft.ts";
import type { IntentEvent } from "../domain/event.ts";
import type { Actor, Intent, IntentData, Outcome, Step } from "../domain/intent.ts";
import type { TerminalStatus } from "../domain/lifecycle.ts";
import type { RawJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import type { StateHead, StateVersion } from "../domain/state.ts";
import type { Slot } from "./slots.ts";

export interface IdempotencyRef {
  readonly namespace: string;
  readonly sender: string;
  readonly operation: string;
  readonly key: string;
  readonly fingerprint: string;
}

export interface IdempotencyRecord extends IdempotencyRef {
  /** Null for a write that belongs to no intent. */
  readonly intentId: string | null;
  readonly response: RawJson;
}

/** An intent as the decisions before left it. */
interface Held {
  readonly before: Intent | null;
  intent: Intent;
  steps: Map<string, Step>;
  /** Its steps as they are stored, those that were read. */
  readonly storedSteps: Map<string, Step>;
  /** No step of it is missing here. */
  readonly isWhole: boolean;
  readonly changedSteps: Set<string>;
  outcome: Outcome | null | undefined;
}

/** What a commit changed about one intent, for whoever has to be woken. */
export interface Change {
  readonly before: Intent | null;
  readonly after: Intent;
  /** What the log says of it, in order. */
  readonly events: readonly IntentEvent[];
  /** What it ended with, if that is what happened. */
  readonly outcome?: Outcome;
  /** Created and leased in one commit: all that its first frame says, and the stream to say it through. */
  readonly handedOver?: HandOver;
}

export interface HandOver {
  readonly streamNo: number;
  readonly data: IntentData;
  readonly steps: readonly Step[];
}

export const idempotencyId = (ref: IdempotencyRef): string =>
  JSON.stringify([ref.namespace, ref.sender, ref.operation, ref.key]);

/** A version as it is written, with what is known of its origin. */
export interface NewState {
  readonly namespace: string;
  readonly version: StateVersion;
  readonly intentId: string | null;
  readonly seq: number | null;
  readonly attempt: number | null;
  readonly actor: string;
  /** Versions of the key that are kept; null: all. */
  readonly keep: number | null;
}

/** How another intent ended, if it has. */
export interface End {
  readonly id: string;
  readonly parentId: string | null;
  readonly status: TerminalStatus | null;
  /** Left out where all that one wait asks for is larger than `ENDS_MAX_BYTES`. */
  readonly result: RawJson | null;
  readonly error: RawJson | null;
  /** Of result and error. */
  readonly bytes: number;
}

/** Bytes of results that one wait may carry; beyond, whoever waits fetches them one by one. */
export const ENDS_MAX_BYTES = 1024 * 1024;

export interface Signal {
  readonly no: number;
  readonly data: RawJson;
}

export interface NewSignal extends Signal {
  readonly intentId: string;
  readonly name: string;
  readonly actor: string;
  /** The step whose wait took it in this very commit. */
  readonly takenBy: string | null;
}

/** A signal that was unread before and is taken now. */
export interface TakenSignal {
  readonly intentId: string;
  readonly name: string;
  readonly no: number;
  readonly takenBy: string;
}

interface SignalQueue {
  unread: number;
  readonly queue: Signal[];
}

interface Staged {
  readonly state: NewState[];
  readonly signals: NewSignal[];
  readonly taken: TakenSignal[];
  readonly drafts: Draft[];
  readonly data: IntentData[];
  readonly records: IdempotencyRecord[];
}

const nothingStaged = (): Staged => ({
  drafts: [],
  data: [],
  records: [],
  state: [],
  signals: [],
  taken: [],
});

export const headName = (namespace: string, scope: string, key: string): string =>
  JSON.stringify([namespace, scope, key]);

export class Workspace {
  readonly now: number;
  readonly #held = new Map<string, Held>();
  readonly #records = new Map<string, IdempotencyRecord>();
  readonly newRecords: IdempotencyRecord[] = [];
  readonly newData: IntentData[] = [];
  readonly events: IntentEvent[] = [];
  #slots: Slot[] = [];
  readonly #handedOver = new Map<string, { streamNo: number; data: IntentData }>();
  readonly #heads = new Map<string, StateHead>();
  readonly newState: NewState[] = [];
  readonly #signals = new Map<string, SignalQueue>();
  readonly newSignals: NewSignal[] = [];
  readonly takenSignals: TakenSignal[] = [];
  readonly #ends = new Map<string, End>();
  readonly #pausedSessions = new Set<string>();
  /** Entries of the outbox that are worked off. */
  readonly workedOff: number[] = [];
  readonly timersReset = new Set<string>();
  #staged: Staged = nothingStaged();

  constructor(now: number) {
    this.now = now;
  }

  hold(intent: Intent): void {
    this.#hold(intent, new Map(), false);
  }

  /** The same with all its steps. */
  holdWhole(intent: Intent, steps: ReadonlyMap<string, Step>): void {
    this.#hold(intent, steps, true);
  }

  #hold(intent: Intent, steps: ReadonlyMap<string, Step>, isWhole: boolean): void {
    this.#held.set(intent.id, {
      before: intent,
      intent,
      steps: new Map(steps),
      storedSteps: new Map(steps),
      isWhole,
      changedSteps: new Set(),
      outcome: undefined,
    });
  }

  holdStep(intentId: string, step: Step): void {
    const held = this.#held.get(intentId);
    held?.steps.set(step.key, step);
    held?.storedSteps.set(step.key, step);
  }

  holdRecord(record: IdempotencyRecord): void {
    this.#records.set(idempotencyId(record), record);
  }

  offer(slots: readonly Slot[]): void {
    this.#slots = [...slots];
  }

  /** A free place for an intent of this type at this address, the emptiest consumer first. */
  freeSlot(address: string, intentType: string): Slot | undefined {
    return this.#slots
      .filter((slot) => slot.free > 0 && slot.address === address)
      .filter((slot) => slot.intentTypes === null || slot.intentTypes.includes(intentType))
      .sort((a, b) => b.free - a.free)[0];
  }

  /** The slot is taken by this new intent, whose draft is staged. */
  handOver(slot: Slot, data: IntentData): void {
    slot.free -= 1;
    this.#handedOver.set(data.id, { streamNo: slot.streamNo, data });
  }

  has(intentId: string): boolean {
    return this.#held.has(intentId);
  }

  /** The intent as it stands now, staged decisions of earlier operations included. */
  peek(intentId: string): { readonly intent: Intent; readonly steps: ReadonlyMap<string, Step> } | undefined {
    return this.#held.get(intentId);
  }

  /** The same for this actor: what it may not see is not there. */
  seen(intentId: string, actor: Actor): Intent | undefined {
    const intent = this.#held.get(intentId)?.intent;
    return intent !== undefined && maySee(actor.access, intent) ? intent : undefined;
  }

  /** Every decision over an intent begins here, and so does what its actor may see. */
  open(intentId: string, actor: Actor): Draft {
    const held = this.#held.get(intentId);
    if (held === undefined || this.seen(intentId, actor) === undefined)
      throw new Refusal("not_found", `there is no intent ${intentId}`, { intent_id: intentId });
    return openDraft(held.intent, held.steps, actor, this.now);
  }

  record(ref: IdempotencyRef): IdempotencyRecord | undefined {
    return this.#records.get(idempotencyId(ref));
  }

  /** Stages a decided draft; nothing counts before `settle`. */
  stage(draft: Draft, data?: IntentData): void {
    this.#staged.drafts.push(draft);
    if (data !== undefined) this.#staged.data.push(data);
  }

  /** Writes the intent's timer anew, from its state. */
  resetTimer(intentId: string): void {
    this.timersReset.add(intentId);
  }

  holdHead(namespace: string, scope: string, key: string, head: StateHead): void {
    this.#heads.set(headName(namespace, scope, key), head);
  }

  /** The current version of a key, staged writes of earlier operations included. */
  head(namespace: string, scope: string, key: string): StateHead | undefined {
    return this.#heads.get(headName(namespace, scope, key));
  }

  holdSignals(intentId: string, name: string, unread: number, signal: Signal | null): void {
    const known = this.#queueOf(intentId, name);
    known.unread = unread;
    if (signal !== null) known.queue.push(signal);
  }

  #queueOf(intentId: string, name: string): SignalQueue {
    const id = JSON.stringify([intentId, name]);
    const known = this.#signals.get(id) ?? { unread: 0, queue: [] };
    this.#signals.set(id, known);
    return known;
  }

  unreadSignals(intentId: string, name: string): number {
    return this.#queueOf(intentId, name).unread;
  }

  /** The oldest unread signal of a name. */
  nextSignal(intentId: string, name: string): Signal | undefined {
    return this.#queueOf(intentId, name).queue[0];
  }

  stageSignal(signal: NewSignal): void {
    this.#staged.signals.push(signal);
  }

  stageTaken(taken: TakenSignal): void {
    this.#staged.taken.push(taken);
  }

  holdEnd(end: End): void {
    // Two waits may ask for one: the result is there if it is for either.
    if (this.#ends.get(end.id)?.result == null) this.#ends.set(end.id, end);
  }

  endOf(intentId: string): End | undefined {
    return this.#ends.get(intentId);
  }

  holdSession(namespace: string, name: string, paused: boolean): void {
    if (paused) this.#pausedSessions.add(JSON.stringify([namespace, name]));
  }

  isSessionPaused(namespace: string, name: string): boolean {
    return this.#pausedSessions.has(JSON.stringify([namespace, name]));
  }

  stageState(state: NewState): void {
    this.#staged.state.push(state);
  }

  stageRecord(record: IdempotencyRecord): void {
    this.#staged.records.push(record);
  }

  /** Drops what a refused operation staged. */
  discard(): void {
    this.#staged = nothingStaged();
  }

  /** Makes everything staged by one operation part of the transaction. */
  settle(): void {
    for (const draft of this.#staged.drafts) this.#take(draft);
    this.newData.push(...this.#staged.data);
    for (const state of this.#staged.state) {
      const { scope, key, version, value } = state.version;
      this.#heads.set(headName(state.namespace, scope, key), { version, deleted: value === null });
      this.newState.push(state);
    }
    this.#settleSignals();
    for (const record of this.#staged.records) {
      this.#records.set(idempotencyId(record), record);
      this.newRecords.push(record);
    }
    this.discard();
  }

  #settleSignals(): void {
    for (const signal of this.#staged.signals) {
      this.newSignals.push(signal);
      if (signal.takenBy !== null) continue;
      const known = this.#queueOf(signal.intentId, signal.name);
      known.unread += 1;
      known.queue.push(signal);
    }
    for (const taken of this.#staged.taken) {
      this.takenSignals.push(taken);
      const known = this.#queueOf(taken.intentId, taken.name);
      known.unread -= 1;
      known.queue.splice(0, known.queue.length, ...known.queue.filter((one) => one.no !== taken.no));
    }
  }

  #take(draft: Draft): void {
    const { intent } = draft;
    let held = this.#held.get(intent.id);
    if (held === undefined) {
      held = {
        before: null,
        intent,
        steps: new Map(),
        storedSteps: new Map(),
        isWhole: true,
        changedSteps: new Set(),
        outcome: undefined,
      };
      this.#held.set(intent.id, held);
    }
    held.intent = intent;
    held.steps = draft.steps;
    for (const key of draft.changedSteps) held.changedSteps.add(key);
    if (draft.outcome !== undefined) held.outcome = draft.outcome;
    this.events.push(...draft.events);
  }

  *touched(): Generator<Held> {
    for (const held of this.#held.values()) if (held.before !== held.intent) yield held;
  }

  changes(): Change[] {
    const events = new Map<string, IntentEvent[]>();
    for (const event of this.events) {
      const list = events.get(event.intentId);
      if (list === undefined) events.set(event.intentId, [event]);
      else list.push(event);
    }
    return [...this.touched()].map(({ before, intent, steps, outcome }) => {
      const handed = this.#handedOver.get(intent.id);
      return {
        before,
        after: intent,
        events: events.get(intent.id) ?? [],
        ...(outcome == null ? {} : { outcome }),
        ...(handed === undefined ? {} : { handedOver: { ...handed, steps: [...steps.values()] } }),
      };
    });
  }
}

export type { Held };
