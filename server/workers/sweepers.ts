// What must happen without anybody asking: timers that are due, leases that ran out, streams that only this replica
// can keep alive. The pulse that polls for all of it has a file of its own.

import { expireConsumer } from "../engine/consumers.ts";
import type { Engine } from "../engine/context.ts";
import { tickIntent } from "../engine/due.ts";
import { settleOutbox } from "../engine/family.ts";
import { forgetReplicas } from "../engine/pulse.ts";
import { expireIntents } from "../engine/retention.ts";
import {
  expiredConsumers,
  forgetIdleConsumers,
  renewOpenStreams,
  streamsWithoutLease,
} from "../store/consumers.ts";
import { forgetSilentAgents } from "../store/queries/agents.ts";
import { dueIntents } from "../store/queries/timers.ts";
import type { OpenStream } from "../store/replicas.ts";
import { forgetOwed, forgetSpent } from "../store/windows.ts";
import { createPulse, type PulseOptions } from "./pulse.ts";
import { createWorker, type Worker } from "./service.ts";

const BATCH = 100;
/** The shortest lease that a stream may ask for. */
const SHORTEST_TTL_MS = 1_000;
const RETENTION_MS = 60_000;
const RETENTION_BATCH = 500;
const RETENTION_PAUSE_MS = 250;
const FORGET_CONSUMERS_MS = 3_600_000;
const FORGET_BATCH = 1_000;
const HOUSEKEEPING_MS = 300_000;

interface LeasedStream extends OpenStream {
  readonly leaseTtlMs: number;
}

export interface SweeperOptions extends PulseOptions {
  /** How long ended intents are kept that do not say; null: for ever. */
  readonly retentionMs: number | null;
  /** How often to look whether what is watched here has ended elsewhere. */
  readonly outcomesLookMs: number;
  readonly lookAtOutcomes: () => Promise<number>;
  readonly openStreams: () => readonly LeasedStream[];
  /** A stream here that can be given nothing any more: its agent has to connect again. */
  readonly onLeaseOver: (consumerId: string) => void;
}

export interface Sweepers {
  readonly timers: Worker;
  readonly leases: Worker;
  readonly renewals: Worker;
  readonly shortRenewals: Worker;
  readonly pulse: Worker;
  readonly watch: Worker;
  readonly housekeeping: Worker;
  readonly outbox: Worker;
  readonly retention: Worker;
  readonly outcomes: Worker;
}

async function sweepTimers(engine: Engine): Promise<number> {
  const ids = await dueIntents(engine.store, BATCH);
  const happened = await Promise.all(ids.map((id) => tickIntent(engine, id)));
  return happened.filter(Boolean).length;
}

/** One that cannot be ended now, because somebody holds its row, keeps no other from its end. */
async function sweepLeases({ engine, onError }: SweeperOptions): Promise<number> {
  let ended = 0;
  await forgetSpent(engine.store, FORGET_BATCH);
  for (const id of await expiredConsumers(engine.store, BATCH)) {
    try {
      if (await expireConsumer(engine, id)) ended += 1;
    } catch (error) {
      onError(error, "leases");
    }
  }
  return ended;
}

/** Every claim of an unnamed shell leaves a name behind: as many are forgotten in a pass as came since the last. */
async function forgetAllIdle(engine: Engine): Promise<number> {
  let forgotten = 0;
  for (;;) {
    const some = await forgetIdleConsumers(engine.store, FORGET_CONSUMERS_MS, FORGET_BATCH);
    forgotten += some;
    if (some < FORGET_BATCH) return forgotten;
  }
}

export function createSweepers(options: SweeperOptions): Sweepers {
  const { engine, onError } = options;
  const timers: Worker = createWorker({
    name: "timers",
    intervalMs: 30_000,
    onError,
    pass: async () => more(await sweepTimers(engine), () => timers.wake()),
  });
  const leases: Worker = createWorker({
    name: "leases",
    intervalMs: 30_000,
    onError,
    pass: async () => more(await sweepLeases(options), () => leases.wake()),
  });
  const renewals = createRenewals(options);
  const shortRenewals = createShortRenewals(options);
  const housekeeping = createWorker({
    name: "housekeeping",
    intervalMs: HOUSEKEEPING_MS,
    onError,
    pass: async () => {
      await forgetReplicas(engine);
      await forgetOwed(engine.store);
      await forgetSilentAgents(engine.store, FORGET_BATCH);
      return forgetAllIdle(engine);
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
  const outcomes = createWorker({
    name: "outcomes",
    intervalMs: options.outcomesLookMs,
    onError,
    pass: options.lookAtOutcomes,
  });
  const due = { timers, leases, outbox };
  return {
    timers,
    leases,
    renewals,
    shortRenewals,
    ...createPulse(options, due),
    housekeeping,
    outbox,
    retention,
    outcomes,
  };
}

async function renew(options: SweeperOptions, streams: readonly LeasedStream[]): Promise<number> {
  await renewOpenStreams(options.engine.store, streams);
  for (const id of await streamsWithoutLease(options.engine.store, streams)) options.onLeaseOver(id);
  return streams.length;
}

function createRenewals(options: SweeperOptions): Worker {
  return createWorker({
    name: "renewals",
    intervalMs: options.engine.settings.leaseTtlMs / 3,
    onError: options.onError,
    pass: () => renew(options, options.openStreams()),
  });
}

/** Streams whose agents asked for a shorter lease than usual: each three times in its lease. */
function createShortRenewals(options: SweeperOptions): Worker {
  let passes = 0;
  return createWorker({
    name: "short-renewals",
    intervalMs: SHORTEST_TTL_MS / 3,
    onError: options.onError,
    pass: () => {
      passes += 1;
      const due = options.openStreams().filter(({ leaseTtlMs }) => {
        const every = Math.max(1, Math.floor(leaseTtlMs / SHORTEST_TTL_MS));
        return leaseTtlMs < options.engine.settings.leaseTtlMs && passes % every === 0;
      });
      return renew(options, due);
    },
  });
}

/** A full batch means that more is due. */
function more(handled: number, again: () => void): number {
  if (handled >= BATCH) again();
  return handled;
}
