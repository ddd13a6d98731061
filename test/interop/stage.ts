// What the tests of AXME's clients share: a server with short times, agents that end with the test, and the stored rows judged in the end.

import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { judgeWindows, type WindowTold } from "../judge/windows.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { startWholeBodyAgent } from "./clients/whole-body-agent.ts";
import type { AgentOptions, Delivery, WindowAgent } from "./clients/windows.ts";

export const HOLD_OFF_MS = 300;

/** Leases, and the time to come back in, outlast every test, unless one ends them. */
export const WINDOW_TIMES = {
  PERDURE_WINDOWED_HOLD_OFF_MS: String(HOLD_OFF_MS),
  PERDURE_WINDOWED_RETURN_MS: "30000",
  PERDURE_WINDOWED_LEASE_MS: "600000",
};

export let server: TestServer;
const agents: WindowAgent[] = [];

export function useServer(env: Readonly<Record<string, string>> = {}): void {
  beforeAll(async () => {
    server = await startTestServer({ env: { ...WINDOW_TIMES, ...env } });
  });
  afterEach(() => {
    for (const agent of agents) agent.kill();
  });
  afterAll(async () => {
    try {
      await judgeAll(server, agents.splice(0));
    } finally {
      await server.close();
    }
  });
}

/** The stored rows by their rules, and what the agents were told by theirs. */
export async function judgeAll(
  { databaseUrl, store }: TestServer,
  told: readonly WindowAgent[],
): Promise<void> {
  expect((await verifyDatabase(databaseUrl)).violations).toEqual([]);
  const { rows } = await store.pool.query(
    "select intent_id, seq, type, attempt, details from events order by intent_id, seq",
  );
  const lines = told.flatMap((agent, n) =>
    agent.deliveries.map(
      ({ intentId, seq, status, data }): WindowTold => ({
        client: String(n),
        intentId,
        seq,
        status,
        attempt: data.attempt,
      }),
    ),
  );
  expect(judgeWindows(lines, rows)).toEqual([]);
}

/** An agent that is killed with its test. */
export function agent(
  address: string,
  more: Partial<AgentOptions> = {},
  start: (options: AgentOptions) => WindowAgent = startWholeBodyAgent,
): WindowAgent {
  const started = start({ url: server.url, address, ...more });
  agents.push(started);
  return started;
}

/** What such an agent does: looks at the intent, works, and says its result without an attempt. */
export const working =
  (url: string, work: (delivery: Delivery) => unknown = () => ({ done: true })) =>
  async (delivery: Delivery): Promise<void> => {
    const { body } = await call({ url }, "GET", `/v1/intents/${delivery.intentId}`);
    if (body.intent.status === "COMPLETED") return;
    const result = await work(delivery);
    await call({ url }, "POST", `/v1/intents/${delivery.intentId}/resolve`, { status: "COMPLETED", result });
  };

/** Work that never ends: the agent is killed in it. */
export const never = (): Promise<never> => new Promise(() => {});

/** Its windowed lease is over, and so is what it held. */
export async function endLeases({ store, sweepers }: TestServer = server): Promise<void> {
  await store.pool.query("update consumers set lease_until = perdure_now() where mode = 'windowed'");
  // Twice: a pass that was under way says nothing of the time since.
  for (const worker of [sweepers.leases, sweepers.leases]) await worker.tick();
}
