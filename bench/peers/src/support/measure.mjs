// The two ways to measure: a closed loop with so many jobs in flight, and one job at a time with pauses.

import { setTimeout as sleep } from "node:timers/promises";
import { now } from "./job.mjs";

const DRAIN_MS = 3_000;
const LARGEST_GAP_MS = 20;
// A peer is warm when the time is over and each lane has done so many jobs: some take seconds over their first.
const WARM_JOBS_PER_LANE = 4;
const WARM_LIMIT_MS = 15_000;

/** The value below which `q` of the samples lie. */
export function quantile(samples, q) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? null;
}

const rounded = (value, digits = 2) => (value === null ? null : Number(value.toFixed(digits)));

const summary = (samples) => ({
  p50_ms: rounded(quantile(samples, 0.5)),
  p99_ms: rounded(quantile(samples, 0.99)),
});

/** `cpu_ms_per_job` is what all parts together used: the figure that a busy machine falsifies least. */
export function figures({ completed, seconds, samples, cpu }) {
  const used = cpu.client_s === null || cpu.server_s === null ? null : cpu.client_s + cpu.server_s;
  return {
    seconds: rounded(seconds, 3),
    completed,
    per_s: rounded(completed / seconds, 1),
    ...summary(samples),
    cpu,
    cpu_ms_per_job: used === null || completed === 0 ? null : rounded((used * 1000) / completed, 3),
  };
}

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

/** What is still in flight has no part in the result: a peer that is slow to end it is not waited for long. */
async function drained(lanes) {
  lanes.catch(() => {});
  const timer = new AbortController();
  const late = sleep(DRAIN_MS, "late", { signal: timer.signal }).catch(() => {});
  if ((await Promise.race([lanes, late])) === "late") console.error("jobs that were still in flight are left undone");
  timer.abort();
}

/**
 * Keeps `inFlight` jobs running and counts those that end within the window.
 * @param {object} given
 * @param {(number: number) => Promise<number | void>} given.runJob resolves when the job is done; a number is how many jobs that was
 * @param {() => Promise<number>} [given.countDone] counts them where this cannot be known from outside
 */
export async function closedLoop({ inFlight, seconds, warmup, readCpu, runJob, countDone }) {
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
    const before = await countDone?.();
    counting = true;
    const began = now();
    await timed(seconds * 1000);
    counting = false;
    if (before !== undefined) completed = (await countDone()) - before;
    return (now() - began) / 1000;
  });
  stopping = true;
  await drained(lanes);
  return figures({ completed, seconds: elapsed, samples, cpu });
}

/**
 * @param {(number: number) => Promise<number>} startedAt runs a job and gives the time at which its handler began
 */
export async function lightLoad({ rounds, readCpu, startedAt, warmupRounds = 10 }) {
  const samples = [];
  const round = async (number) => {
    const created = now();
    const latency = (await startedAt(number)) - created;
    await sleep(Math.random() * LARGEST_GAP_MS);
    return latency;
  };
  for (let number = 0; number < warmupRounds; number += 1) await round(number);
  const began = now();
  const { cpu } = await withCpu(readCpu, async () => {
    for (let number = 0; number < rounds; number += 1) samples.push(await round(warmupRounds + number));
  });
  return figures({ completed: rounds, seconds: (now() - began) / 1000, samples, cpu });
}
