// The two ways to measure: a closed loop with so many jobs in flight, and one job at a time with pauses.

import { setTimeout as sleep } from "node:timers/promises";
import { now } from "./job.mjs";

const DRAIN_MS = 30_000;
const LARGEST_GAP_MS = 20;
// A peer is warm when the time is over and each lane has done so many jobs: some take seconds over their first.
const WARM_JOBS_PER_LANE = 4;
const WARM_LIMIT_MS = 60_000;

/** The value below which `q` of the samples lie. */
export function quantile(samples, q) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? null;
}

const rounded = (value, digits = 2) => (value === null ? null : Number(value.toFixed(digits)));

export const summary = (samples) => ({
  p50_ms: rounded(quantile(samples, 0.5)),
  p99_ms: rounded(quantile(samples, 0.99)),
});

/** Seconds of CPU used by each part while `body` ran. */
async function withCpu(readCpu, body) {
  const before = await readCpu();
  const value = await body();
  const after = await readCpu();
  const cpu = {};
  for (const [part, seconds] of Object.entries(after)) {
    cpu[part] = seconds === null || before[part] === null ? null : rounded(seconds - before[part]);
  }
  return { cpu, value };
}

async function within(promise, ms, what) {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${what} took longer than ${ms} ms`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/**
 * Keeps `inFlight` jobs running and counts those that end within the window.
 * @param {(number: number) => Promise<number | void>} runJob resolves when the job is done; a number is how many jobs that was
 */
export async function closedLoop({ inFlight, seconds, warmup, readCpu, runJob }) {
  let next = 0;
  let ended = 0;
  let counting = false;
  let stopping = false;
  let completed = 0;
  let samples = [];
  const lane = async () => {
    while (!stopping) {
      const number = next++;
      const began = now();
      const jobs = (await runJob(number)) ?? 1;
      ended += 1;
      if (!counting) continue;
      completed += jobs;
      samples.push(now() - began);
    }
  };
  const lanes = Promise.all(Array.from({ length: inFlight }, lane));
  const timed = async (ms) => {
    // A lane that fails ends the run at once.
    await Promise.race([sleep(ms), lanes]);
  };
  await timed(warmup * 1000);
  for (const end = now() + WARM_LIMIT_MS; ended < WARM_JOBS_PER_LANE * inFlight && now() < end; ) await timed(20);
  const { cpu, value: elapsed } = await withCpu(readCpu, async () => {
    counting = true;
    const began = now();
    await timed(seconds * 1000);
    counting = false;
    return (now() - began) / 1000;
  });
  stopping = true;
  await within(lanes, DRAIN_MS, "the jobs still in flight");
  return { seconds: rounded(elapsed, 3), completed, per_s: rounded(completed / elapsed, 1), ...summary(samples), cpu };
}

/**
 * @param {(number: number) => Promise<number>} startedAt runs a job and gives the time at which its handler began
 */
export async function lightLoad({ rounds, readCpu, startedAt, warmupRounds = 10 }) {
  const samples = [];
  const began = now();
  const round = async (number) => {
    const created = now();
    const latency = (await startedAt(number)) - created;
    await sleep(Math.random() * LARGEST_GAP_MS);
    return latency;
  };
  for (let number = 0; number < warmupRounds; number += 1) await round(number);
  const { cpu } = await withCpu(readCpu, async () => {
    for (let number = 0; number < rounds; number += 1) samples.push(await round(warmupRounds + number));
  });
  const seconds = (now() - began) / 1000;
  return { seconds: rounded(seconds, 3), completed: rounds, per_s: rounded(rounds / seconds, 1), ...summary(samples), cpu };
}
