// Owns: the lines an agent's log says about saved work. Must not: decide anything.
import type { WireStep } from "./deliveries.ts";
import { describeMs } from "./duration.ts";

const KEYS_NAMED = 5;

/** `resuming etl 3/4 (skipped extract, validate; 46 s of work kept)`; undefined when nothing is worth saying. */
export function describeResume(
  intentType: string,
  done: readonly WireStep[],
  total: number | undefined,
  attempt: number,
): string | undefined {
  if (done.length === 0)
    return attempt > 1 ? `starting ${intentType} again (attempt ${attempt}; no step was saved)` : undefined;
  const at = total === undefined ? "" : ` ${Math.min(done.length + 1, total)}/${total}`;
  const keptMs = done.reduce((sum, step) => sum + (step.duration_ms ?? 0), 0);
  const kept = keptMs > 0 ? `; ${describeMs(keptMs)} of work kept` : "";
  return `resuming ${intentType}${at} (skipped ${nameKeys(done)}${kept})`;
}

/** `handed back etl 2/4 (saved extract, validate)`. */
export function describeHandBack(
  intentType: string,
  done: readonly WireStep[],
  total: number | undefined,
): string {
  const count =
    total === undefined
      ? `${done.length} ${done.length === 1 ? "step" : "steps"} done`
      : `${done.length}/${total}`;
  return `handed back ${intentType} ${count}${done.length === 0 ? "" : ` (saved ${nameKeys(done)})`}`;
}

/** `waiting etl 3/4 (for signal approve); work is saved`. */
export function describeWait(
  intentType: string,
  done: number,
  total: number | undefined,
  what: string,
): string {
  const at = total === undefined ? "" : ` ${Math.min(done + 1, total)}/${total}`;
  return `waiting ${intentType}${at} (${what}); work is saved`;
}

function nameKeys(steps: readonly WireStep[]): string {
  if (steps.length <= KEYS_NAMED) return steps.map((step) => step.key).join(", ");
  return `${steps.length} steps, the last one ${steps.at(-1)?.key}`;
}
