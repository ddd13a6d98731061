// What must hold between an intent's row and the rows that follow from it: outcome, lease, queue entry, timer, steps.

import type { Violation } from "./log-rules.ts";

export interface StoredRows {
  readonly id: string;
  readonly status: string;
  readonly paused: boolean;
  readonly delayed: boolean;
  readonly conducted: boolean;
  readonly held: boolean;
  readonly strikes: number;
  readonly maxDeliveryAttempts: number;
  readonly attempt: number;
  readonly openSteps: readonly string[];
  readonly stepsDone: number;
  readonly stepsTotal: number;
  /** The status of its outcome row; null without one. */
  readonly outcome: string | null;
  /** Null without such a row, else whether it says the same as the intent. */
  readonly lease: boolean | null;
  readonly queueEntry: boolean | null;
  /** Whether the timer is the one that the intent's times ask for. */
  /** Whether it stands among those that have not ended. */
  readonly live: boolean;
  readonly timerFits: boolean;
  readonly steps: readonly {
    readonly key: string;
    readonly status: string;
    readonly attempt: number | null;
    readonly declared: boolean;
  }[];
}

const TERMINAL = new Set(["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"]);

export function judgeRows(rows: StoredRows): Violation[] {
  const found: Violation[] = [];
  const expect = (holds: boolean, invariant: string, message: string): void => {
    if (!holds) found.push({ invariant, intentId: rows.id, message });
  };
  const over = TERMINAL.has(rows.status);
  expect(
    rows.outcome === (over ? rows.status : null),
    "I3",
    `it is ${rows.status}, and its outcome is ${rows.outcome ?? "missing"}`,
  );
  expect(
    rows.held ? rows.lease === true : rows.lease === null,
    "I6",
    rows.held ? "its lease is missing or another's" : "it has a lease and no owner",
  );
  expect(
    rows.strikes <= rows.maxDeliveryAttempts,
    "I8",
    `${rows.strikes} losses of at most ${rows.maxDeliveryAttempts}`,
  );
  const claimable =
    !rows.held &&
    !rows.conducted &&
    !rows.paused &&
    !rows.delayed &&
    !over &&
    rows.status !== "WAITING" &&
    rows.status !== "CREATED";
  expect(
    claimable ? rows.queueEntry === true : rows.queueEntry === null,
    "I7",
    claimable
      ? "it may be claimed and does not stand in the queue as it should"
      : "it stands in the queue and may not be claimed",
  );
  expect(
    rows.live === !over,
    "I1",
    over ? "it has ended and is listed as live" : "it lives and is not listed so",
  );
  expect(rows.timerFits, "I7", "its timer is not the next instant at which something is due");
  expectSteps(rows, expect);
  return found;
}

function expectSteps(
  rows: StoredRows,
  expect: (holds: boolean, invariant: string, message: string) => void,
): void {
  for (const { key, status, attempt } of rows.steps) {
    if (status !== "running") continue;
    expect(
      rows.held && attempt === rows.attempt,
      "I13",
      `step ${key} runs in attempt ${attempt}, which is not open`,
    );
    expect(rows.openSteps.includes(key), "I13", `step ${key} runs and is not among the open ones`);
  }
  // Without a plan every step counts.
  const counted = rows.stepsTotal === 0 ? rows.steps : rows.steps.filter((step) => step.declared);
  const done = counted.filter((step) => step.status === "done").length;
  expect(done === rows.stepsDone, "I5", `${rows.stepsDone} steps count as done, and ${done} are`);
}
