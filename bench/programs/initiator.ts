// The initiator's end of a benchmark: sends intents with the SDK and waits for what comes of them.

import { setTimeout as sleep } from "node:timers/promises";
import type { PerdureClient } from "@perdure/sdk";
import { type Connection, clientOf } from "../support/clients.ts";
import { now, payloadOf } from "../support/job.ts";
import { serve } from "../support/programs.ts";
import { quantile } from "../support/results.ts";

export interface Window {
  readonly inFlight: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
}

export interface LoopFigures {
  readonly completed: number;
  readonly seconds: number;
  readonly per_s: number;
  readonly p50_ms: number;
  readonly p99_ms: number;
}

/** A warm-up lasts until its time is over and each lane has done so many jobs, as at our peers; but no longer than this. */
const WARM_JOBS = 4;
const LONGEST_WARM_UP_MS = 15_000;
/** Lanes move in step: a window that is hardly longer than a job counts whole waves of them, none or two as it happens. */
const WINDOW_JOBS = 4;
const LONGER_WINDOW_MS = 15_000;
const LONGEST_DRAIN_MS = 60_000;
const LARGEST_GAP_MS = 20;
const WARM_UP_ROUNDS = 20;
const OPENING_MS = 3_000;

let number = 0;

/** Keeps `inFlight` jobs running; counts those that end within the window, of which it tells the beginning and the end. */
async function closedLoop(
  { inFlight, warmupSeconds, seconds }: Window,
  job: (lane: number) => Promise<unknown>,
  tell: (what: string) => void,
): Promise<LoopFigures> {
  let counting = false;
  let stopping = false;
  let ended = 0;
  const latencies: number[] = [];
  const lane = async (which: number) => {
    while (!stopping) {
      const began = now();
      await job(which);
      ended += 1;
      if (counting) latencies.push(now() - began);
    }
  };
  const lanes = Promise.all(Array.from({ length: inFlight }, (_, which) => lane(which)));
  // A lane that fails ends the run at once.
  const pass = (ms: number) => Promise.race([sleep(ms), lanes]);
  await pass(warmupSeconds * 1_000);
  for (const late = now() + LONGEST_WARM_UP_MS; ended < WARM_JOBS * inFlight && now() < late; )
    await pass(50);
  tell("begin");
  counting = true;
  const began = now();
  await pass(seconds * 1_000);
  for (const late = now() + LONGER_WINDOW_MS; latencies.length < WINDOW_JOBS * inFlight && now() < late; )
    await pass(50);
  counting = false;
  const took = (now() - began) / 1_000;
  tell("end");
  stopping = true;
  if ((await Promise.race([lanes, sleep(LONGEST_DRAIN_MS, "late")])) === "late")
    throw new Error(`of ${inFlight} in flight not all ended within ${LONGEST_DRAIN_MS} ms`);
  return {
    completed: latencies.length,
    seconds: took,
    per_s: latencies.length / took,
    p50_ms: quantile(latencies, 0.5),
    p99_ms: quantile(latencies, 0.99),
  };
}

/** One client for each way to reach the servers, kept warm over the rounds. */
const clients = new Map<string, PerdureClient>();

function client(connection: Connection): PerdureClient {
  const name = JSON.stringify(connection);
  const known = clients.get(name) ?? clientOf(connection);
  clients.set(name, known);
  return known;
}

const inputOf = (toAgent: string) => {
  number += 1;
  return { intentType: "bench.v1", toAgent, payload: payloadOf(number) };
};

async function resultOf(through: PerdureClient, id: string): Promise<Record<string, number>> {
  const outcome = await through.waitFor(id);
  if (outcome.status !== "COMPLETED")
    throw new Error(`${id} ended ${outcome.status}: ${outcome.error.message}`);
  return outcome.result ?? {};
}

export interface Load extends Window {
  /** The lanes take them in turn, and so the addresses. */
  readonly connections: readonly Connection[];
  readonly addresses: readonly string[];
  /** What the result has to say, so that only work that was done counts. */
  readonly sum?: number;
}

const operations = {
  /** create → waitFor returns, over and over. */
  load: ({ connections, addresses, sum, ...window }: Load, tell: (what: string) => void) => {
    const through = connections.map(client);
    let turn = 0;
    const job = async (lane: number) => {
      const own = through[lane % through.length] as PerdureClient;
      turn += 1;
      const input = inputOf(addresses[turn % addresses.length] as string);
      const { sum: got, number: of } = await resultOf(own, await own.sendIntent(input));
      if (of !== input.payload.number || (sum !== undefined && got !== sum))
        throw new Error(`intent ${input.payload.number} answered ${of}, ${got}`);
    };
    return closedLoop(window, job, tell);
  },

  /** One at a time with pauses: how long until the handler starts, and from its end until `waitFor` returns. */
  latency: async (input: { connection: Connection; address: string; rounds: number }) => {
    const through = client(input.connection);
    const starts: number[] = [];
    const waits: number[] = [];
    for (let round = -WARM_UP_ROUNDS; round < input.rounds; round += 1) {
      const sent = now();
      const id = await through.sendIntent(inputOf(input.address));
      const { started = Number.NaN, ended = Number.NaN } = await resultOf(through, id);
      const back = now();
      await sleep(Math.random() * LARGEST_GAP_MS);
      if (round < 0) continue;
      starts.push(started - sent);
      waits.push(back - ended);
    }
    return { starts, waits };
  },

  /** Only sends, `size` intents in a commit, to an address where nobody listens. */
  submit: (
    input: Window & { connection: Connection; address: string; size: number },
    tell: (what: string) => void,
  ) => {
    const through = client(input.connection);
    const job = () => through.sendIntents(Array.from({ length: input.size }, () => inputOf(input.address)));
    return closedLoop(input, job, tell);
  },

  /** Sends one intent and waits for it; how long that took. */
  once: async (input: { connection: Connection; address: string }) => {
    const through = client(input.connection);
    const began = now();
    await resultOf(through, await through.sendIntent(inputOf(input.address)));
    return now() - began;
  },

  /** Sends many intents and waits for all of them at once. Tells when all waits are open; `end` after the last returned. */
  waits: async (
    input: { connection: Connection; address: string; count: number },
    tell: (what: string) => void,
  ) => {
    const through = client(input.connection);
    const size = Math.min(input.count, 1_000);
    const ids: string[] = [];
    while (ids.length < input.count)
      ids.push(...(await through.sendIntents(Array.from({ length: size }, () => inputOf(input.address)))));
    const results = Promise.all(
      ids.map(async (id) => {
        const { ended = Number.NaN } = await resultOf(through, id);
        return now() - ended;
      }),
    );
    // A wait that is refused ends the run; otherwise they are open once the server has had time to hear of them.
    await Promise.race([sleep(OPENING_MS), results]);
    tell("open");
    const began = now();
    const latencies = await results;
    tell("end");
    const seconds = (now() - began) / 1_000;
    return {
      per_s: ids.length / seconds,
      p50_ms: quantile(latencies, 0.5),
      p99_ms: quantile(latencies, 0.99),
    };
  },
};

export type InitiatorOperations = typeof operations;

serve(operations);
