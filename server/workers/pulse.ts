// The pulse of this replica and what follows from it: grace after an outage before anybody is declared dead (D6), a wake
// for every worker that has something to do.

import type { Engine } from "../engine/context.ts";
import { inheritStreams, type Pulse, pulse } from "../engine/pulse.ts";
import type { OpenStream } from "../store/replicas.ts";
import { createWorker, type Worker } from "./service.ts";

export interface PulseOptions {
  readonly engine: Engine;
  readonly onError: (error: unknown, worker: string) => void;
  /** Addresses with somebody waiting here. */
  readonly addresses: () => string[];
  readonly wakeAddress: (address: string) => void;
  readonly onDatabase: (up: boolean) => void;
  readonly onPeers: (others: number) => void;
  readonly openStreams: () => readonly OpenStream[];
  /** A stream here that counts as closed, whoever closed it: its agent has to connect again. */
  readonly onStreamClosed: (stream: OpenStream) => void;
}

export interface DueWorkers {
  readonly timers: Worker;
  readonly leases: Worker;
  readonly outbox: Worker;
}

export function createPulse(options: PulseOptions, due: DueWorkers): Worker {
  const { engine } = options;
  /** Since we came up beside a replica that had pulsed a moment before: whether it lives is to be seen. */
  let doubted = false;

  async function watchNeighbours(seen: Pulse): Promise<void> {
    if (seen.recovered) doubted = seen.otherReplicas > 0;
    else if (doubted && seen.othersSince) doubted = false;
    else if (doubted && seen.otherReplicas === 0) {
      await inheritStreams(engine);
      doubted = false;
    }
  }

  return createWorker({
    name: "pulse",
    intervalMs: engine.settings.pollIntervalMs,
    onError: (error, worker) => {
      options.onDatabase(false);
      options.onError(error, worker);
    },
    pass: async () => {
      const seen = await pulse(engine, { addresses: options.addresses(), streams: options.openStreams() });
      options.onPeers(seen.otherReplicas);
      for (const stream of seen.closedStreams) options.onStreamClosed(stream);
      await watchNeighbours(seen);
      options.onDatabase(true);
      if (seen.leasesOver) due.leases.wake();
      if (seen.timersDue) due.timers.wake();
      if (seen.outboxFull) due.outbox.wake();
      for (const address of seen.readyAddresses) options.wakeAddress(address);
      return seen.readyAddresses.length;
    },
  });
}
