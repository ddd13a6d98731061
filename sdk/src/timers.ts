// Owns: where the timers of one delivery's work come from. Must not: know what is waited for.

export interface Timers {
  /** Calls back after `ms`, which are waited for their own sake: the pause between two tries. Returns the undoing. */
  delay(ms: number, callback: () => void): () => void;
  /** Calls back after `ms` unless what they bound comes first: the time limit of a step. Returns the undoing. */
  limit(ms: number, callback: () => void): () => void;
}

/** A longer timer fires at once in every runtime. */
const LONGEST_TIMER_MS = 2_147_483_647;

function after(ms: number, callback: () => void): () => void {
  const timer = setTimeout(callback, Math.min(ms, LONGEST_TIMER_MS));
  return () => clearTimeout(timer);
}

export const realTimers: Timers = { delay: after, limit: after };
