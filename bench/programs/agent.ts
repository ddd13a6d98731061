// The agent's end of a benchmark: listens with the SDK and does the job.

import type { AgentHandle, Handler, PerdureClient, Steps } from "@perdure/sdk";
import { type Connection, clientOf } from "../support/clients.ts";
import { LONG_STEP_MS, LONG_STEPS, now, type Payload, resultOf, STEPS, stepResult } from "../support/job.ts";
import { serve } from "../support/programs.ts";

/** `long-…`: many steps that take a while, recorded or not. `clock`: the result says when the handler began and ended. */
export type Work =
  | "four-step"
  | "four-step-declared"
  | "no-step"
  | "clock"
  | "long-unrecorded"
  | `long-${"wrapped" | "declared"}-${"sync" | "async"}`;

export interface Listening {
  readonly connection: Connection;
  readonly addresses: readonly string[];
  /** Of each address. */
  readonly capacity: number;
  readonly work: Work;
}

const longKeys = Array.from({ length: LONG_STEPS }, (_, n) => `step-${n}`);
const work = () => new Promise<void>((resolve) => setTimeout(resolve, LONG_STEP_MS));

function longWrapped(durability: "sync" | "async"): Handler {
  return async (ctx) => {
    for (const key of longKeys) await ctx.step(key, work, { durability });
  };
}

function longDeclared(durability: "sync" | "async"): Steps {
  return Object.fromEntries(longKeys.map((key) => [key, { run: work, durability }]));
}

const works: Record<Work, Handler<Payload> | Steps<Payload>> = {
  "four-step": async (ctx) => {
    const { number } = ctx.payload;
    const results: { step: number }[] = [];
    for (const step of STEPS) results.push(await ctx.step(`step-${step}`, () => stepResult(number, step)));
    return resultOf(number, results);
  },
  "four-step-declared": Object.fromEntries(
    STEPS.map((step) => [`step-${step}`, ({ payload }) => stepResult(payload.number, step)]),
  ) satisfies Steps<Payload>,
  "no-step": ({ payload: { number } }) => ({ number, sum: 0 }),
  clock: () => {
    const started = now();
    return { started, ended: now() };
  },
  "long-unrecorded": async () => {
    for (const _ of longKeys) await work();
  },
  "long-wrapped-sync": longWrapped("sync"),
  "long-wrapped-async": longWrapped("async"),
  "long-declared-sync": longDeclared("sync"),
  "long-declared-async": longDeclared("async"),
};

let clients: PerdureClient[] = [];
let agents: AgentHandle[] = [];

function listen(client: PerdureClient, address: string, listening: Listening): AgentHandle {
  const options = { capacity: listening.capacity, handleSignals: false };
  const what = works[listening.work];
  return typeof what === "function"
    ? client.listen(address, what, options)
    : client.listen(address, what, options);
}

const operations = {
  /** Listens, until `stop`, and answers when the server knows all. */
  listen: async (listenings: readonly Listening[]) => {
    for (const listening of listenings) {
      const client = clientOf(listening.connection);
      clients.push(client);
      agents.push(...listening.addresses.map((address) => listen(client, address, listening)));
    }
    await Promise.all(agents.map((agent) => agent.ready));
  },
  stop: async () => {
    const stopped = clients;
    [clients, agents] = [[], []];
    await Promise.all(stopped.map((client) => client.close()));
  },
};

export type AgentOperations = typeof operations;

serve(operations);
