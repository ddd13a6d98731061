// The agent's end of a benchmark: listens with the SDK and does the job.

import type { AgentHandle, Handler, PerdureClient } from "@perdure/sdk";
import { type Connection, clientOf } from "../support/clients.ts";
import { now, type Payload, resultOf, STEPS, stepResult } from "../support/job.ts";
import { serve } from "../support/programs.ts";

/** `clock`: the result says when the handler began and ended. */
export type Work = "four-step" | "four-step-declared" | "no-step" | "clock";

export interface Listening {
  readonly connection: Connection;
  readonly addresses: readonly string[];
  /** Of each address. */
  readonly capacity: number;
  readonly work: Work;
}

const handlers: Record<Exclude<Work, "four-step-declared">, Handler<Payload>> = {
  "four-step": async (ctx) => {
    const { number } = ctx.payload;
    const results: { step: number }[] = [];
    for (const step of STEPS) results.push(await ctx.step(`step-${step}`, () => stepResult(number, step)));
    return resultOf(number, results);
  },
  "no-step": ({ payload: { number } }) => ({ number, sum: 0 }),
  clock: () => {
    const started = now();
    return { started, ended: now() };
  },
};

let clients: PerdureClient[] = [];
let agents: AgentHandle[] = [];

function listen(client: PerdureClient, address: string, { work, capacity }: Listening): AgentHandle {
  const options = { capacity, handleSignals: false };
  if (work !== "four-step-declared") return client.listen<Payload>(address, handlers[work], options);
  const steps = STEPS.map((key) => [
    `step-${key}`,
    ({ payload }: { payload: Payload }) => stepResult(payload.number, key),
  ]);
  return client.listen<Payload>(address, Object.fromEntries(steps), options);
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
