// Ten thousand open waits of one client: what they hold in the server's memory, and how fast their ends come through.

import { startClients } from "../support/load.ts";
import { cpuSeconds, residentKb } from "../support/processes.ts";
import type { Workload } from "../support/workload.ts";

const WAITS = 10_000;
const CAPACITY = 256;
const ADDRESS = "agent://bench/waits/clock";

export const waits: Workload = {
  name: "waits",
  about: `${WAITS} waits of one client are open, then an agent begins to work; p50 and p99 are complete → waitFor returns`,
  quick: false,
  open: async (env) => {
    const server = await env.server();
    const { initiator, agent } = await startClients(env);
    const connection = { baseUrl: server.baseUrl, calls: "coalesced" } as const;
    const measure = async () => {
      const idleKb = await residentKb(server.pid);
      let opened = Promise.resolve({ kb: Number.NaN, cpu: Number.NaN });
      const read = async () => ({ kb: await residentKb(server.pid), cpu: await cpuSeconds(server.pid) });
      const figures = await initiator.call(
        "waits",
        { connection, address: ADDRESS, count: WAITS },
        (what) => {
          if (what !== "open") return;
          opened = read();
          void agent.call("listen", [
            { connection, addresses: [ADDRESS], capacity: CAPACITY, work: "clock" },
          ]);
        },
      );
      const [before, after] = [await opened, await read()];
      await agent.call("stop", undefined);
      return {
        ...figures,
        server_cpu_us: ((after.cpu - before.cpu) * 1e6) / WAITS,
        open_wait_kb: (before.kb - idleKb) / WAITS,
      };
    };
    return [{ name: `${WAITS} waits`, measure }];
  },
  headlines: () => ({}),
};
