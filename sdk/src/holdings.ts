// Owns: which deliveries this process holds, and agreeing on that with the server. Must not: run them or talk to the server itself.
// Frames get lost and repeated, and answers overtake each other; (id, attempt) tells every case apart.
import type { HeartbeatAnswer, Held } from "./deliveries.ts";
import type { Run } from "./run.ts";

/** Deliveries already ended here whose late frames must be ignored. Bounded: a frame this late has long been answered by 409. */
const REMEMBERED = 2_000;

export class Holdings {
  readonly #runs = new Map<string, Run>();
  readonly #ended = new Set<string>();
  readonly #executing = new Set<Promise<void>>();

  get runs(): Run[] {
    return [...this.#runs.values()];
  }

  /** What a heartbeat tells the server. */
  holding(): Held[] {
    return this.runs.map((run) => ({ intent_id: run.attempt.id, attempt: run.attempt.number }));
  }

  /** Whether this delivery was met before, at work or ended, or is older than what is held. */
  knows(id: string, attempt: number): boolean {
    const run = this.#runs.get(id);
    if (run !== undefined && run.attempt.number >= attempt) return true;
    return this.#ended.has(identity(id, attempt));
  }

  /** Takes a delivery in and begins it. A newer attempt of a held intent says that the older one is over. */
  add(run: Run): void {
    const older = this.#runs.get(run.attempt.id);
    // The answer to its last write may be slower than the frame of what came of it.
    older?.attempt.end("it was delivered again", older.settling ? "info" : "warn");
    this.#runs.set(run.attempt.id, run);
    const execution = run.execute().finally(() => this.#executing.delete(execution));
    this.#executing.add(execution);
  }

  /** Forgets a run that is over; `known` when the server agrees, so that its frames may not start it again. */
  remove(run: Run, known: boolean): void {
    const { id, number } = run.attempt;
    if (this.#runs.get(id) === run) this.#runs.delete(id);
    if (!known) return;
    this.#ended.add(identity(id, number));
    if (this.#ended.size > REMEMBERED)
      for (const oldest of [...this.#ended].slice(0, REMEMBERED / 2)) this.#ended.delete(oldest);
  }

  /** Ends the attempt the server says is gone; another attempt of the same intent is not meant. */
  end(held: Held, why: string, level?: "info" | "warn"): void {
    const run = this.#find(held);
    // A terminal write on its way has its own answer, which says more.
    if (run !== undefined && !run.settling) run.attempt.end(why, level);
  }

  pause(held: Held): void {
    this.#find(held)?.attempt.windDown("paused");
  }

  /**
   * Applies a heartbeat's answer and returns deliveries the server thinks are here and that are not. What is missing from the answer is
   * dropped only if it was here when asked: a frame may have arrived in between.
   */
  reconcile(asked: readonly Held[], answer: HeartbeatAnswer): Held[] {
    for (const held of answer.lost ?? []) this.end(held, held.reason ?? "lost");
    for (const held of answer.canceled ?? [])
      this.end(held, held.reason ?? held.status ?? "canceled", "info");
    for (const held of answer.paused ?? []) this.pause(held);
    if (answer.held === undefined) return [];
    for (const held of answer.held) {
      if (held.cancel) this.end(held, "canceled", "info");
      else if (held.pause) this.pause(held);
    }
    const agreed = new Set(answer.held.map((held) => identity(held.intent_id, held.attempt)));
    for (const held of asked) {
      if (!agreed.has(identity(held.intent_id, held.attempt)))
        this.end(held, "the server no longer counts it as held here");
    }
    return answer.held.filter((held) => !held.cancel && !this.knows(held.intent_id, held.attempt));
  }

  /** Settles when nothing is at work any more. */
  async idle(): Promise<void> {
    while (this.#executing.size > 0) await Promise.allSettled(this.#executing);
  }

  #find(held: Held): Run | undefined {
    const run = this.#runs.get(held.intent_id);
    return run?.attempt.number === held.attempt ? run : undefined;
  }
}

function identity(id: string, attempt: number): string {
  return `${id}:${attempt}`;
}
