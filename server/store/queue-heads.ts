// Where each queue begins. What was delivered stays in the index until vacuum may remove it, which a forgotten transaction anywhere in the
// database prevents: without these marks every look at a queue would walk over all of it, first. Only ever a shortcut: what is committed
// here lowers a mark, and what nobody here could know of is found by polls that look from the very beginning (engine/pulse.ts).

import type { Intent } from "../domain/intent.ts";
import { encodeArray } from "./binary.ts";

export interface QueueEntry {
  readonly address: string;
  readonly rank: number;
  readonly queueAt: number;
}

export const entryOf = (intent: Intent): QueueEntry => ({
  address: intent.toAgent,
  rank: -intent.priority,
  queueAt: intent.queueAt,
});

/** A part of an address's queue: from (rank, at) on, below the rank `until`. */
interface Span {
  readonly address: string;
  readonly rank: number;
  readonly at: number;
  readonly until: number;
}

/** Another server may commit an entry a little later than it was made: so much before the mark is looked at all the same. */
const LATE_MS = 250;
const LOWEST_RANK = -2_147_483_648;
const ABOVE_ALL_RANKS = 2_147_483_647;
const BEGINNING = 0;
const ADDRESSES_MAX = 10_000;
const RANKS_MAX = 16;

export class QueueHeads {
  /** By address and rank: nothing lives before this instant. */
  readonly #marks = new Map<string, Map<number, number>>();
  readonly #looks = new Set<Look>();

  /** Opened before the queue is read, closed behind it. */
  look(): Look {
    const look = new Look(this.#marks, () => this.#looks.delete(look));
    this.#looks.add(look);
    return look;
  }

  /** An entry that is there, from now on at the latest. */
  add(entry: QueueEntry): void {
    const ranks = this.#marks.get(entry.address);
    const mark = ranks?.get(entry.rank);
    if (mark !== undefined && entry.queueAt < mark) ranks?.set(entry.rank, entry.queueAt);
    for (const look of this.#looks) look.note(entry);
  }

  /** Something may have been committed of which nobody here will hear. */
  forget(): void {
    this.#marks.clear();
    for (const look of this.#looks) look.disbelieve();
  }

  /** What is not known to be empty of these queues: their parts as columns (address, rank, at, until). */
  parts(addresses: readonly string[]): Buffer[] {
    return encodeSpans(
      [...new Set(addresses)].flatMap((address) => spansOf(address, this.#marks.get(address))),
    );
  }

  /** These queues from the very beginning, in the same form. */
  wholes(addresses: readonly string[]): Buffer[] {
    return encodeSpans(addresses.flatMap((address) => spansOf(address, undefined)));
  }
}

/** One look at some queues: what it finds moves the marks, unless an entry was added meanwhile that it could not see. */
export class Look {
  readonly #marks: Map<string, Map<number, number>>;
  readonly #onClose: () => void;
  readonly #added: QueueEntry[] = [];
  #believed = true;

  constructor(marks: Map<string, Map<number, number>>, onClose: () => void) {
    this.#marks = marks;
    this.#onClose = onClose;
  }

  note(entry: QueueEntry): void {
    this.#added.push(entry);
  }

  disbelieve(): void {
    this.#believed = false;
  }

  /** The first entries of some ranks, as this look found them. */
  close(firsts: readonly QueueEntry[]): void {
    this.#onClose();
    if (this.#believed) for (const first of firsts) this.#raise(first);
  }

  #raise({ address, rank, queueAt }: QueueEntry): void {
    let mark = queueAt - LATE_MS;
    for (const added of this.#added)
      if (added.address === address && added.rank === rank) mark = Math.min(mark, added.queueAt);
    // Nothing is lost with a mark but time.
    if (this.#marks.size >= ADDRESSES_MAX && !this.#marks.has(address)) this.#marks.clear();
    const ranks = this.#marks.get(address) ?? new Map<number, number>();
    if (ranks.size >= RANKS_MAX && !ranks.has(rank)) ranks.clear();
    this.#marks.set(address, ranks.set(rank, mark));
  }
}

/** The gaps lie before each rank's mark; what is left between them is looked at. */
function spansOf(address: string, marks: ReadonlyMap<number, number> | undefined): Span[] {
  const ranks = [...(marks ?? [])].sort(([a], [b]) => a - b);
  const starts = [[LOWEST_RANK, BEGINNING] as const, ...ranks];
  return starts.map(([rank, at], index) => ({
    address,
    rank,
    at,
    until: starts[index + 1]?.[0] ?? ABOVE_ALL_RANKS,
  }));
}

const encodeSpans = (spans: readonly Span[]): Buffer[] => [
  encodeArray(
    "text",
    spans.map((span) => span.address),
  ),
  encodeArray(
    "int4",
    spans.map((span) => span.rank),
  ),
  encodeArray(
    "timestamptz",
    spans.map((span) => span.at),
  ),
  encodeArray(
    "int4",
    spans.map((span) => span.until),
  ),
];

/** The parts of queues as a table `s`, of the four parameters from `$first` on. */
export const partsFrom = (first: number): string =>
  `unnest($${first}::text[], $${first + 1}::int4[], $${first + 2}::timestamptz[], $${first + 3}::int4[]) as s(address, rank, at, until)`;

/** Of the queue `r`, what lies within the part `s`. */
export const WITHIN_PART =
  "r.to_agent = s.address and (r.rank, r.queue_at) >= (s.rank, s.at) and r.rank < s.until";
