// What commits add to the metrics. It knows which event counts as what, and nothing of how it is counted.

import type { Change } from "../store/workspace.ts";

export interface ChangeCounters {
  delivered(): void;
  redelivered(): void;
  lost(reason: string): void;
  released(): void;
  stepsDone(): void;
  staleWriteRefused(): void;
  intentFinished(status: string): void;
}

export function countChanges(metrics: ChangeCounters, changes: readonly Change[]): void {
  for (const { events } of changes) {
    for (const event of events) {
      switch (event.type) {
        case "intent.delivered":
          metrics.delivered();
          if ((event.attempt ?? 1) > 1) metrics.redelivered();
          break;
        case "intent.lost":
          metrics.lost(String((event.details as { reason?: unknown } | null)?.reason ?? "unknown"));
          break;
        case "intent.released":
          metrics.released();
          break;
        case "intent.step_done":
          metrics.stepsDone();
          break;
        case "intent.stale_write_refused":
          metrics.staleWriteRefused();
          break;
        case "intent.completed":
        case "intent.failed":
        case "intent.canceled":
        case "intent.timed_out":
          metrics.intentFinished(event.status);
          break;
        default:
      }
    }
  }
}
