// The plan of faults: a pure function of its seed, so that the same seed replays the same faults in the same order, at the
// same times unless the machine is too slow to recover in between.

import { CRASH_POINTS, type CrashPoint } from "../crash-point-names.ts";
import type { Mode } from "../proxy.ts";

export type Fault =
  | { readonly kind: "kill agent"; readonly which: number; readonly awayMs: number }
  /** Stopped while others go on, and woken later: a zombie. */
  | { readonly kind: "stop agent"; readonly which: number; readonly awayMs: number }
  | { readonly kind: "kill initiator"; readonly awayMs: number }
  | { readonly kind: "kill operator"; readonly awayMs: number }
  | { readonly kind: "kill server"; readonly which: number; readonly awayMs: number }
  | {
      readonly kind: "crash server";
      readonly which: number;
      readonly point: CrashPoint;
      readonly nth: number;
    }
  | { readonly kind: "kill postgres" }
  | { readonly kind: "terminate backends"; readonly share: number }
  | { readonly kind: "lose notifications"; readonly awayMs: number }
  | {
      readonly kind: "agent network";
      readonly which: number;
      readonly fault: Mode;
      readonly awayMs: number;
    }
  | { readonly kind: "database network"; readonly fault: Mode; readonly awayMs: number }
  /** Dies while what it has sent to the database is still on its way: whatever it answered before that was a guess. */
  | {
      readonly kind: "kill server behind a slow database";
      readonly which: number;
      readonly delayMs: number;
      readonly awayMs: number;
    }
  | { readonly kind: "clock jump"; readonly ms: number }
  /** The database dies for good. What it had not sent in its last moments is lost, unless it waited for its standby. */
  | { readonly kind: "promote standby"; readonly unsentMs: number };

/** How commits of the database reach its standby. */
export type Replication = "sync" | "async";

export interface Planned {
  readonly atMs: number;
  readonly fault: Fault;
}

export const AGENTS = 3;
/** Unless more are asked for. */
export const SERVERS = 2;
/** Labels of the intents that share a state. */
export const SESSIONS: readonly string[] = ["faults-0", "faults-1", "faults-2"];

/** mulberry32: small, and the same everywhere. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const KINDS: readonly Fault["kind"][] = [
  "kill agent",
  "kill agent",
  "kill agent",
  "stop agent",
  "stop agent",
  "kill initiator",
  "kill operator",
  "kill server",
  "kill server",
  "crash server",
  "crash server",
  "crash server",
  "kill postgres",
  "terminate backends",
  "terminate backends",
  "lose notifications",
  "agent network",
  "agent network",
  "agent network",
  "database network",
  "database network",
  "kill server behind a slow database",
  "kill server behind a slow database",
  "clock jump",
];

/** With a standby there is one promotion: early, since a slow machine plays less of the plan. */
export function planPromotion(plan: readonly Planned[], ms: number, replication: Replication): Planned[] {
  const atMs = Math.round(ms / 3);
  const fault: Fault = { kind: "promote standby", unsentMs: replication === "async" ? 1_500 : 0 };
  const before = plan.filter((planned) => planned.atMs < atMs);
  return [...before, { atMs, fault }, ...plan.slice(before.length)];
}

export function planFaults(seed: number, ms: number, servers = SERVERS): Planned[] {
  const random = randomOf(seed);
  const plan: Planned[] = [];
  // The first second belongs to the work: a fault needs something to hit.
  for (let atMs = 1_000; atMs < ms; ) {
    plan.push({ atMs: Math.round(atMs), fault: faultOf(random, servers) });
    // Every fourth one comes while the one before is still being recovered from.
    atMs += random() < 0.25 ? 50 + random() * 250 : 500 + random() * 1_500;
  }
  return plan;
}

const pickOf = <T>(random: () => number, list: readonly T[]): T =>
  list[Math.floor(random() * list.length)] as T;

function faultOf(random: () => number, servers: number): Fault {
  const kind = pickOf(random, KINDS);
  // Drawn for every fault, used or not: one more kind must not shift the rest of the plan.
  const which = Math.floor(random() * 6);
  const length = random();
  const choice = random();
  const awayMs = Math.round(100 + length * 1_400);
  switch (kind) {
    case "kill agent":
      return { kind, which: which % AGENTS, awayMs };
    case "stop agent":
      // Longer than a lease, mostly: a zombie is one that was replaced.
      return { kind, which: which % AGENTS, awayMs: 1_000 + awayMs * 2 };
    case "kill initiator":
    case "kill operator":
      return { kind, awayMs };
    case "kill server":
      return { kind, which: which % servers, awayMs };
    case "crash server":
      return {
        kind,
        which: which % servers,
        point: CRASH_POINTS[Math.floor(choice * CRASH_POINTS.length)] as CrashPoint,
        nth: 1 + Math.floor(length * 20),
      };
    case "kill postgres":
      return { kind };
    case "kill server behind a slow database":
      return { kind, which: which % servers, delayMs: Math.round(50 + length * 150), awayMs: 100 };
    case "terminate backends":
      return { kind, share: 0.2 + length * 0.8 };
    case "lose notifications":
      return { kind, awayMs };
    case "agent network":
      return { kind, which: which % servers, fault: wireFault(choice, length), awayMs };
    case "database network":
      return { kind, fault: wireFault(choice, length), awayMs };
    // Planned apart: there is one in a run at most.
    case "promote standby":
      return { kind, unsentMs: 0 };
    case "clock jump":
      return { kind, ms: Math.round((choice < 0.5 ? 1 : -1) * (500 + length * 20_000)) };
  }
}

function wireFault(choice: number, length: number): Mode {
  const kinds = ["delay", "cut-mid-frame", "half-open", "blackhole", "reset", "refuse"] as const;
  const kind = kinds[Math.floor(choice * kinds.length)] ?? "reset";
  if (kind === "delay") return { kind, ms: Math.round(5 + length * 200) };
  return kind === "cut-mid-frame" ? { kind, times: 1 + Math.floor(length * 3) } : { kind };
}

export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case "crash server":
      return `crash server ${fault.which} at ${fault.point}, time ${fault.nth}`;
    case "agent network":
    case "database network":
      return `${fault.kind}: ${fault.fault.kind} for ${fault.awayMs} ms`;
    case "clock jump":
      return `the database's clock jumps by ${fault.ms} ms`;
    case "kill agent":
    case "stop agent":
    case "kill server":
    case "kill server behind a slow database":
      return `${fault.kind} ${fault.which}, away for ${fault.awayMs} ms`;
    default:
      return fault.kind;
  }
}
