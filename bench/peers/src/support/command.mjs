// The one command line all peers share.

import { parseArgs } from "node:util";

export const LATENCY_ROUNDS = 200;

const OPTIONS = {
  workload: { type: "string" },
  "in-flight": { type: "string", default: "64" },
  seconds: { type: "string", default: "5" },
  warmup: { type: "string", default: "1" },
  rounds: { type: "string", default: String(LATENCY_ROUNDS) },
  setting: { type: "string", default: "best" },
  "database-url": { type: "string" },
};

function positive(name, text, { orZero = false } = {}) {
  const value = Number(text);
  if (Number.isFinite(value) && (value > 0 || (orZero && value === 0))) return value;
  throw new Error(`--${name} must be a positive number, not ${JSON.stringify(text)}`);
}

function oneOf(name, value, allowed) {
  if (allowed.includes(value)) return value;
  throw new Error(`--${name} must be one of ${allowed.join(", ")}, not ${JSON.stringify(value)}`);
}

/** @param {{workloads: string[], settings: string[]}} allowed */
export function readCommand(allowed) {
  const { values } = parseArgs({ options: OPTIONS });
  if (values["database-url"] === undefined) throw new Error("--database-url is missing");
  const workload = oneOf("workload", values.workload, allowed.workloads);
  return {
    workload,
    setting: oneOf("setting", values.setting, allowed.settings),
    inFlight: workload === "latency" ? 1 : positive("in-flight", values["in-flight"]),
    seconds: positive("seconds", values.seconds),
    warmup: positive("warmup", values.warmup, { orZero: true }),
    rounds: positive("rounds", values.rounds),
    databaseUrl: values["database-url"],
  };
}
