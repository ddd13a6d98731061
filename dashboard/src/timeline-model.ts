// What an intent's log looks like as bars on a time axis: attempts, and each step's tries. Pure: events in, lanes out.

import type { IntentEvent } from "./wire.ts";

export type BarKind =
  | "queued"
  | "attempt"
  | "lost"
  | "released"
  | "failed"
  | "running"
  | "done"
  | "interrupted"
  | "waiting"
  | "ended";

export interface Bar {
  readonly from: number;
  readonly to: number;
  readonly kind: BarKind;
  readonly label: string;
  /** Not over yet. */
  readonly open: boolean;
}

export interface Lane {
  readonly key: string;
  readonly name: string;
  readonly bars: readonly Bar[];
}

export interface Mark {
  readonly at: number;
  readonly kind: "crash" | "redelivery" | "paused" | "signal" | "restored" | "checkpoint" | "end";
  readonly label: string;
}

export interface Timeline {
  readonly from: number;
  readonly to: number;
  readonly attempts: Lane;
  readonly steps: readonly Lane[];
  readonly marks: readonly Mark[];
}

interface OpenBar {
  from: number;
  label: string;
  kind: BarKind;
}

const textOf = (value: unknown, otherwise = ""): string => (typeof value === "string" ? value : otherwise);

class Building {
  readonly attempts: Bar[] = [];
  readonly steps = new Map<string, Bar[]>();
  readonly marks: Mark[] = [];
  #attempt: OpenBar | null = null;
  #queued: number | null = null;
  readonly #running = new Map<string, OpenBar>();

  take(event: IntentEvent): void {
    const at = Date.parse(event.at);
    const details = event.details ?? {};
    const key = textOf(details.key);
    switch (event.event_type) {
      case "intent.created":
        this.#queued = at;
        for (const step of Array.isArray(details.steps) ? details.steps : []) this.#lane(stepName(step));
        return;
      case "intent.in_progress":
        for (const step of Array.isArray(details.steps) ? details.steps : []) this.#lane(stepName(step));
        return;
      case "intent.delivered":
        this.#endQueue(at);
        this.#attempt = {
          from: at,
          kind: "attempt",
          label: `Attempt ${event.attempt} on ${textOf(details.consumer, "an agent")}`,
        };
        if ((event.attempt ?? 1) > 1)
          this.#mark(at, "redelivery", `Delivered again, attempt ${event.attempt}`);
        return;
      case "intent.lost":
        this.#mark(at, "crash", `Attempt ${event.attempt} was lost: ${textOf(details.reason, "unknown")}`);
        this.#endAttempt(at, "lost", `lost: ${textOf(details.reason, "unknown")}`);
        return;
      case "intent.released":
        this.#endAttempt(at, "released", `handed back: ${textOf(details.reason, "released")}`);
        return;
      case "intent.retry_scheduled":
        this.#endAttempt(at, "failed", "failed, to be tried again");
        return;
      case "intent.waiting":
        this.#endAttempt(at, "done", "suspended: it waits");
        this.#queued = null;
        return;
      case "intent.resumed":
        this.#queued = at;
        return;
      case "intent.step_running":
        this.#endStep(key, at, "interrupted", "begun again");
        this.#running.set(key, {
          from: at,
          kind: "running",
          label: `${key}, try ${String(details.tries ?? 1)}${details.interrupted === true ? ", after an interruption" : ""}`,
        });
        this.#lane(key);
        return;
      case "intent.step_waiting":
        this.#endStep(key, at, "done", "waits");
        this.#running.set(key, { from: at, kind: "waiting", label: `${key} waits` });
        this.#lane(key);
        return;
      case "intent.step_done":
        if (!this.#running.has(key)) this.#running.set(key, { from: at, kind: "running", label: key });
        this.#endStep(key, at, "done", "done");
        return;
      case "intent.step_failed":
        this.#endStep(key, at, "failed", "failed");
        return;
      case "intent.step_interrupted":
        this.#endStep(key, at, "interrupted", "interrupted: it may or may not have happened");
        return;
      case "intent.signaled":
        this.#mark(at, "signal", `Signal ${textOf(details.name)}`);
        return;
      case "intent.paused":
        this.#mark(at, "paused", "Paused");
        return;
      case "intent.unpaused":
        this.#mark(at, "paused", "Unpaused");
        return;
      case "intent.checkpoint_named":
        this.#mark(at, "checkpoint", `Checkpoint ${textOf(details.name)}`);
        return;
      case "intent.retried":
      case "intent.restored":
        this.#endAttempt(at, "released", "ended by an operator");
        this.#queued = at;
        this.#mark(at, "restored", event.event_type === "intent.retried" ? "Retried" : "Restored");
        return;
      case "intent.completed":
      case "intent.failed":
      case "intent.canceled":
      case "intent.timed_out":
        this.#endQueue(at);
        this.#endAttempt(
          at,
          event.event_type === "intent.completed" ? "done" : "failed",
          event.event_type.slice(7),
        );
        for (const open of [...this.#running.keys()])
          this.#endStep(open, at, "ended", "ended with the intent");
        this.#mark(at, "end", `Ended: ${event.event_type.slice(7).replace("_", " ")}`);
        return;
      default:
    }
  }

  /** What is not over yet lasts until now. */
  close(now: number): void {
    if (this.#queued !== null)
      this.attempts.push({ from: this.#queued, to: now, kind: "queued", label: "In the queue", open: true });
    if (this.#attempt !== null) this.attempts.push({ ...this.#attempt, to: now, open: true });
    for (const [key, bar] of this.#running) this.#lane(key).push({ ...bar, to: now, open: true });
  }

  #lane(key: string): Bar[] {
    const lane = this.steps.get(key) ?? [];
    this.steps.set(key, lane);
    return lane;
  }

  #mark(at: number, kind: Mark["kind"], label: string): void {
    this.marks.push({ at, kind, label });
  }

  #endQueue(at: number): void {
    if (this.#queued !== null)
      this.attempts.push({ from: this.#queued, to: at, kind: "queued", label: "In the queue", open: false });
    this.#queued = null;
  }

  #endAttempt(at: number, kind: BarKind, how: string): void {
    if (this.#attempt !== null)
      this.attempts.push({
        from: this.#attempt.from,
        to: at,
        kind,
        label: `${this.#attempt.label}: ${how}`,
        open: false,
      });
    this.#attempt = null;
    if (kind !== "done") this.#queued ??= at;
  }

  #endStep(key: string, at: number, kind: BarKind, how: string): void {
    const open = this.#running.get(key);
    if (open === undefined) return;
    this.#running.delete(key);
    const told = open.kind === "waiting" && kind === "done" ? "waiting" : kind;
    this.#lane(key).push({
      from: open.from,
      to: at,
      kind: told,
      label: `${open.label}: ${how}`,
      open: false,
    });
  }
}

const stepName = (step: unknown): string =>
  typeof step === "string" ? step : textOf((step as { key?: unknown } | null)?.key);

export function timelineOf(events: readonly IntentEvent[], now: number, ended: boolean): Timeline {
  const building = new Building();
  for (const event of events) building.take(event);
  const from = events.length === 0 ? now : Date.parse(events[0]?.at ?? "");
  const last = events.length === 0 ? now : Date.parse(events.at(-1)?.at ?? "");
  const to = Math.max(ended ? last : now, from + 1);
  if (!ended) building.close(to);
  return {
    from,
    to,
    attempts: {
      key: "attempts",
      name: "Attempts",
      bars: building.attempts.filter((bar) => bar.to > bar.from || bar.kind !== "queued"),
    },
    steps: [...building.steps].map(([key, bars]) => ({ key: `step ${key}`, name: key, bars })),
    marks: building.marks,
  };
}

export interface Scale {
  /** 0 to 1. */
  readonly at: (ms: number) => number;
  readonly breaks: readonly { readonly from: number; readonly to: number }[];
}

const BREAK_SHARE = 0.06;
/** Idle time is cut out when it is longer than this share of the whole. */
const WORTH_CUTTING = 0.2;

/** A scale on which long times without any attempt at work take little room. */
export function scaleOf(timeline: Timeline, cutIdle: boolean): Scale {
  const { from, to } = timeline;
  const total = to - from;
  const breaks = cutIdle
    ? idleTimes(timeline).filter((one) => one.to - one.from > total * WORTH_CUTTING)
    : [];
  const cut = breaks.reduce((sum, one) => sum + one.to - one.from, 0);
  const room = 1 - breaks.length * BREAK_SHARE;
  const at = (ms: number): number => {
    let busy = 0;
    let position = from;
    let passed = 0;
    for (const one of breaks) {
      if (ms <= one.from) break;
      busy += one.from - position;
      passed += Math.min(1, (ms - one.from) / (one.to - one.from));
      position = Math.min(ms, one.to);
    }
    if (ms > position) busy += ms - position;
    return Math.max(0, Math.min(1, (busy / Math.max(1, total - cut)) * room + passed * BREAK_SHARE));
  };
  return { at, breaks };
}

function idleTimes({ from, to, attempts }: Timeline): { from: number; to: number }[] {
  const busy = attempts.bars.filter(({ kind }) => kind !== "queued").sort((a, b) => a.from - b.from);
  const idle: { from: number; to: number }[] = [];
  let end = from;
  for (const bar of busy) {
    if (bar.from > end) idle.push({ from: end, to: bar.from });
    end = Math.max(end, bar.to);
  }
  if (to > end) idle.push({ from: end, to });
  return idle;
}

const STEPS_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5, 72e5, 216e5,
  432e5, 864e5, 6048e5,
];

/** Instants for the axis, counted from the beginning. */
export function ticksOf({ from, to }: Timeline, most: number): number[] {
  const step = STEPS_MS.find((ms) => (to - from) / ms <= most) ?? to - from;
  const ticks: number[] = [];
  for (let at = 0; at <= to - from; at += step) ticks.push(from + at);
  return ticks;
}
