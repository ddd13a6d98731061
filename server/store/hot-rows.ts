// Intents at work as this server last committed them, with all their steps, so that they need not be read again for each decision. They
// are locked before every decision all the same, and the lock tells whether the row is still the one that was written here: its
// transaction and where that was, its seq and its time. Whatever changes a step changes its intent's row, so that row speaks for all of them.

import type { Intent, Step } from "../domain/intent.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import type { ClockRow } from "./clock.ts";
import type { StepNeeds } from "./load.ts";
import type { Workspace } from "./workspace.ts";

export interface HotRow {
  readonly intent: Intent;
  /** All of them; those that are done without what was recorded. */
  readonly steps: ReadonlyMap<string, Step>;
  /** `xmin` of the intent's row. */
  readonly writtenBy: number;
  /** Where that transaction was: `ClockRow.postgres`. */
  readonly postgres: string;
}

/** What the lock says of a row. */
export interface LockedRow {
  readonly id: string;
  readonly written_by: number;
  readonly seq: number;
  readonly updated_at: number;
}

/** Of transaction ids a row keeps this much. */
const XMIN_RANGE = 0x1_0000_0000n;
/** An intent with more steps costs more to keep than to read. */
const STEPS_KEPT = 100;

export class HotRows {
  readonly #rows = new Map<string, HotRow>();
  readonly #max: number;

  /** @param max intents kept; 0: none */
  constructor(max: number) {
    this.#max = max;
  }

  /** Undefined where something is needed that is not kept. */
  find(intentId: string, needs: readonly StepNeeds[]): HotRow | undefined {
    const row = this.#rows.get(intentId);
    if (row === undefined) return undefined;
    const isEnough = needs.every(
      ({ keys, undone }) => undone !== "all" && keys.every((key) => row.steps.get(key)?.status !== "done"),
    );
    return isEnough ? row : undefined;
  }

  /** Forgets the ones that others changed; whether there were any. */
  forgetStale(
    used: ReadonlyMap<string, HotRow>,
    locked: readonly LockedRow[],
    { postgres }: Pick<ClockRow, "postgres">,
  ): boolean {
    const found = new Map(locked.map((row) => [row.id, row]));
    let stale = false;
    for (const [id, { intent, writtenBy, postgres: writtenIn }] of used) {
      const row = found.get(id);
      const isSame =
        writtenIn === postgres &&
        row?.written_by === writtenBy &&
        row.seq === intent.seq &&
        row.updated_at === intent.updatedAt;
      if (isSame) continue;
      this.#rows.delete(id);
      stale = true;
    }
    return stale;
  }

  /** After the commit of a workspace: keeps what it made and what was kept before, as they are now. */
  follow(work: Workspace, { xid, postgres }: Pick<ClockRow, "xid" | "postgres">): void {
    if (this.#max === 0) return;
    const writtenBy = Number(BigInt(xid) % XMIN_RANGE);
    for (const { before, intent, steps, changedSteps, isWhole } of work.touched()) {
      const { id } = intent;
      const known = this.#rows.get(id);
      this.#rows.delete(id);
      if (isTerminal(intent.status) || intent.stepsCount > STEPS_KEPT) continue;
      if (isWhole) this.#keep(id, { intent, steps: withoutRecords(steps), writtenBy, postgres });
      // Somebody else's transaction, a delivery for example, changed only the intent.
      else if (
        known !== undefined &&
        known.intent.seq === before?.seq &&
        known.postgres === postgres &&
        changedSteps.size === 0
      )
        this.#keep(id, { intent, steps: known.steps, writtenBy, postgres });
    }
  }

  #keep(id: string, row: HotRow): void {
    this.#rows.set(id, row);
    if (this.#rows.size <= this.#max) return;
    const [oldest] = this.#rows.keys();
    if (oldest !== undefined) this.#rows.delete(oldest);
  }

  /** After a connection broke: transaction ids may begin anew, where a backup was restored or a standby took over. */
  clear(): void {
    this.#rows.clear();
  }
}

function withoutRecords(steps: ReadonlyMap<string, Step>): Map<string, Step> {
  const kept = new Map<string, Step>();
  for (const [key, step] of steps)
    kept.set(
      key,
      step.status === "done" && step.result !== null ? { ...step, result: null, input: null } : step,
    );
  return kept;
}
