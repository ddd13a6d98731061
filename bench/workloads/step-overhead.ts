// What recording costs: an intent of 50 steps of 20 ms each, against the same work without steps.

import type { Work } from "../programs/agent.ts";
import { LONG_STEP_MS, LONG_STEPS } from "../support/job.ts";
import { startClients } from "../support/load.ts";
import type { Workload } from "../support/workload.ts";

const UNRECORDED: Work = "long-unrecorded";
const RECORDED: readonly Work[] = [
  "long-wrapped-sync",
  "long-declared-sync",
  "long-wrapped-async",
  "long-declared-async",
];
/** Steps that only compute, as a model's do; what changes the outside world is "sync". */
const STATED: Work = "long-wrapped-async";

const addressOf = (work: Work) => `agent://bench/overhead/${work}`;

export const stepOverhead: Workload = {
  name: "step-overhead",
  about: `one intent of ${LONG_STEPS} steps of ${LONG_STEP_MS} ms each, against the same work without steps; step_overhead_pct is ${STATED}`,
  quick: false,
  open: async (env) => {
    const { baseUrl } = await env.server();
    const connection = { baseUrl, calls: "coalesced" } as const;
    const { initiator, agent } = await startClients(env);
    const works = [UNRECORDED, ...RECORDED];
    await agent.call(
      "listen",
      works.map((work) => ({ connection, addresses: [addressOf(work)], capacity: 1, work })),
    );
    const took = (work: Work) => initiator.call("once", { connection, address: addressOf(work) });
    for (const work of works) await took(work);
    const side = (work: Work) => ({
      name: work,
      measure: async () => {
        // Its own comparison beside each, so that both meet the same machine.
        const [plain, took_ms] = [await took(UNRECORDED), await took(work)];
        return {
          took_ms,
          overhead_pct: (took_ms / plain - 1) * 100,
          overhead_a_step_ms: (took_ms - plain) / LONG_STEPS,
        };
      },
    });
    return works.map(side);
  },
  headlines: (results) => ({ step_overhead_pct: results.median(STATED, "overhead_pct") }),
};
