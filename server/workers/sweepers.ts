// What must happen without anybody asking: timers that are due, leases that ran out, streams that only this replica
// can keep alive, the pulse that polls for all of it.

import { expireConsumer } from "../engine/consumers.ts";
import type { Engine } from "../engine/context.ts";
import { dueIntents, tickIntent } from "../engine/due.ts";
import { settleOutbox } from "../engine/family.ts";
import { forgetReplicas, grantGrace, type Pulse, pulse } from "../engine/pulse.ts";
import { expireIntents } from "../engine/retention.ts";
import {
  expiredConsumers,
  forgetIdleConsumers,
  renewOpenStreams,
  streamsWithoutLease,
} from "../store/consumers.ts";
import { createWorker, type Worker } from "./service.ts";

const BATCH = 100;
const RETENTION_MS = 60_000;
const RETENTION_BATCH = 500;
const RETENTION_PAUSE_MS = 250;
const FORGET_CONSUMERS_MS = 3_600_000;
const HOUSEKEEPING_MS = 300_000;
/** A pulse older than this many intervals, and at least so many milliseconds, counts as dead. */
const FRESH_PULSES = 3;
const FRESH_MIN_MS = 3_000;

export interface SweeperOptions {
  readonly engine: Engine;
  readonly pollMs: number;
  /** How long ended intents are kept that do not say; null: for ever. */
  readonly retentionMs: number | null;
  readonly onError: (error: unknown, worker: string) => void;
  /** Addresses with somebody waiting here. */
  readonly addresses: () => string[];
  readonly wakeAddress: (address: string) => void;
  readonly openStreams: () => { id: string; streamNo: number }[];
  /** A stream here that can be given nothing any more: its agent has to connect again. */
  readonly onLeaseOver: (consumerId: string) => void;
  readonly onDatabase: (up: boolean) => void;
  readonly onPeers: (others: number) => void;
  /** Every stream here now counts as closed: its agent has to connect again. */
  readonly onGrace: () => void;
}

export interface Sweepers {
  readonly timers: Worker;
  readonly leases: Worker;
  readonly renewals: Worker;
  readonly pulse: Worker;
  readonly housekeeping: Worker;
  readonly outbox: Worker;
  readonly retention: Worker;
}

async function sweepTimers(engine: Engine): Promise<number> {
  const ids = await dueIntents(engine, BATCH);
  const happened = await Promise.all(ids.map((id) => tickIntent(engine, id)));
  return happened.filter(Boolean).length;
}

async function sweepLeases(engine: Engine): Promise<number> {
  let ended = 0;
  for (const id of await expiredConsumers(engine.store, BATCH))
    if (await expireConsumer(engine, id)) ended += 1;
  return ended;
}

export function createSweepers(options: SweeperOptions): Sweepers {
  const { engine, onError } = options;
  const timers: Worker = createWorker({
    name: "timers",
    intervalMs: 30_000,
    onError,
    pass: async () => more(await sweepTimers(engine), () => timers.wake()),
  });
  const outage: OutageWatch = { sure: false };
  const leases: Worker = createWorker({
    name: "leases",
    intervalMs: 30_000,
    onError,
    // Until it is sure that somebody served while we were away, nobody is declared dead (D6).
    pass: async () => (outage.sure ? more(await sweepLeases(engine), () => leases.wake()) : 0),
  });
  const renewals = createWorker({
    name: "renewals",
    intervalMs: engine.settings.leaseTtlMs / 3,
    onError,
    pass: async () => {
      const open = options.openStreams();
      await renewOpenStreams(engine.store, open);
      for (const id of await streamsWithoutLease(engine.store, open)) options.onLeaseOver(id);
      return open.length;
    },
  });
  const housekeeping = createWorker({
    name: "housekeeping",
    intervalMs: HOUSEKEEPING_MS,
    onError,
    pass: async () => {
      await forgetReplicas(engine);
      return forgetIdleConsumers(engine.store, FORGET_CONSUMERS_MS, 1_000);
    },
  });
  const outbox: Worker = createWorker({
    name: "outbox",
    intervalMs: 30_000,
    onError,
    pass: async () => more(await settleOutbox(engine, BATCH), () => outbox.wake()),
  });
  const retention: Worker = createWorker({
    name: "retention",
    intervalMs: RETENTION_MS,
    onError,
    pass: async () => {
      const removed = await expireIntents(engine, options.retentionMs, RETENTION_BATCH);
      // Breath between batches: whoever works now comes first.
      if (removed >= RETENTION_BATCH) retention.wake(RETENTION_PAUSE_MS);
      return removed;
    },
  });
  const due = { timers, leases, outbox };
  return {
    timers,
    leases,
    renewals,
    pulse: createPulse(options, outage, due),
    housekeeping,
    outbox,
    retention,
  };
}

interface OutageWatch {
  /** False from boot until another replica's pulse, or our own grace, has covered the time before. */
  sure: boolean;
}

interface DueWorkers {
  readonly timers: Worker;
  readonly leases: Worker;
  readonly outbox: Worker;
}

function createPulse(options: SweeperOptions, outage: OutageWatch, due: DueWorkers): Worker {
  const { engine, pollMs, onError } = options;
  const freshMs = Math.max(FRESH_MIN_MS, pollMs * FRESH_PULSES);
  const bootedAt = performance.now();

  /** Nobody could hear heartbeats or see closes for a while: grace first, sweeping after (D6). */
  async function coverOutage(seen: Pulse): Promise<void> {
    const alone = seen.otherReplicas === 0;
    const slept = seen.sinceMs !== null && seen.sinceMs > engine.settings.heartbeatIntervalMs;
    if (alone && (slept || !outage.sure)) {
      await grantGrace(engine, slept);
      if (slept) options.onGrace();
      outage.sure = true;
    }
    // A pulse that is fresh so long after our boot was made after it: that replica served all the time.
    if (!alone && performance.now() - bootedAt > freshMs) outage.sure = true;
  }

  return createWorker({
    name: "pulse",
    intervalMs: pollMs,
    onError: (error, worker) => {
      options.onDatabase(false);
      onError(error, worker);
    },
    pass: async () => {
      const seen = await pulse(engine, options.addresses(), freshMs);
      options.onPeers(seen.otherReplicas);
      await coverOutage(seen);
      options.onDatabase(true);
      if (seen.leasesOver) due.leases.wake();
      if (seen.timersDue) due.timers.wake();
      if (seen.outboxFull) due.outbox.wake();
      for (const address of seen.readyAddresses) options.wakeAddress(address);
      return seen.readyAddresses.length;
    },
  });
}

/** A full batch means that more is due. */
function more(handled: number, again: () => void): number {
  if (handled >= BATCH) again();
  return handled;
}
