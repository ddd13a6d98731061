// A primary and its standby: how the one takes over from the other, in the middle of the work.

import type { EmbeddedPostgres } from "../../../server/postgres/embedded.ts";
import { type FaultProxy, openProxy } from "../proxy.ts";
import { openStandby } from "../standby.ts";
import type { Replication } from "./plan.ts";
import { sleep } from "./waiting.ts";

export interface Pair {
  current(): { readonly url: string; readonly pid: number };
  /** `wire` stands before the primary, and afterwards before its successor. */
  promote(wire: FaultProxy, unsentMs: number): Promise<void>;
  stop(): Promise<void>;
}

const portOf = (url: string) => Number(new URL(url).port);

export async function openPair(
  primary: EmbeddedPostgres,
  home: string,
  replication: Replication,
): Promise<Pair> {
  const wal = await openProxy({ host: "127.0.0.1", port: portOf(primary.url) });
  const standby = await openStandby(primary, {
    home,
    port: wal.port,
    synchronous: replication === "sync",
  });
  let promoted = false;
  return {
    current: () => (promoted ? standby : primary),
    async promote(wire, unsentMs) {
      if (promoted) return;
      if (unsentMs > 0) wal.blackhole();
      await sleep(unsentMs);
      process.kill(primary.pid, "SIGKILL");
      // Nobody comes back to it. Its successor is asked before it may write.
      wire.target = { host: "127.0.0.1", port: portOf(standby.url) };
      wire.reset();
      await standby.promote();
      promoted = true;
      await primary.stop();
    },
    async stop() {
      await standby.stop();
      await wal.close();
    },
  };
}
