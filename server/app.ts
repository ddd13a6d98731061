// Builds the whole server from its dependencies: store, engine, delivery, workers, HTTP. Opens no port and reads no
// environment; main.ts does.

import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import Fastify, { type FastifyBaseLogger } from "fastify";
import type { Config } from "./config.ts";
import { AgentStreams } from "./delivery/agent-streams.ts";
import { countChanges } from "./delivery/change-counts.ts";
import { Closings } from "./delivery/closings.ts";
import { Dispatcher } from "./delivery/dispatcher.ts";
import { FeedTail } from "./delivery/feed-tail.ts";
import { Notifications } from "./delivery/notifications.ts";
import { OutcomeStreams } from "./delivery/outcome-streams.ts";
import { OwedCursors } from "./delivery/owed-cursors.ts";
import { Wakeups } from "./delivery/wakeups.ts";
import { Windows } from "./delivery/windows.ts";
import { WriteRenewals } from "./delivery/write-renewals.ts";
import type { Intent } from "./domain/intent.ts";
import { isTerminal } from "./domain/lifecycle.ts";
import { isClaimable, nextDueAt } from "./domain/schedule.ts";
import type { Engine } from "./engine/context.ts";
import { endPulse } from "./engine/pulse.ts";
import { StreamCounts } from "./http/clients.ts";
import { serverOptions } from "./http/conventions.ts";
import { installFoundation } from "./http/foundation.ts";
import { createKeyRing, type KeyRing } from "./http/key-ring.ts";
import { DEFAULT_LIMITS, type Limits } from "./http/limits.ts";
import { registerRoutes } from "./http/routes/all.ts";
import type { App, RouteDeps } from "./http/routes/deps.ts";
import { requestSchemas } from "./http/schemas/requests.ts";
import { closeListener, takeWaiting, trackSockets } from "./http/sockets.ts";
import type { Quota } from "./http/token-buckets.ts";
import type { Logger } from "./observability/logger.ts";
import { createMetrics, type Metrics } from "./observability/metrics.ts";
import { isSharedConnection, openStore, type Store } from "./store/connection.ts";
import { GroupCommit } from "./store/group-commit.ts";
import { entryOf } from "./store/queue-heads.ts";
import type { Change } from "./store/workspace.ts";
import { watchKeys } from "./workers/key-watch.ts";
import { createSweepers, type Sweepers } from "./workers/sweepers.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly databaseUrl: string;
  readonly logger: Logger;
  readonly version: string;
  readonly processMetrics?: boolean;
  /** Also without PERDURE_ADMIN_KEY: the keys are in the database. */
  readonly keysRequired?: boolean;
}

export interface Server {
  readonly app: App;
  readonly engine: Engine;
  readonly store: Store;
  readonly sweepers: Sweepers;
  readonly streams: AgentStreams;
  readonly outcomes: OutcomeStreams;
  readonly windows: Windows;
  readonly wakeups: Wakeups;
  readonly keys: KeyRing;
  /** First pulse (which grants grace after an outage), then the background work. Call before listening. */
  start(): Promise<void>;
  /** Drains: no new work, streams end normally, commits under way finish. Bounded by the caller. */
  stop(): Promise<void>;
}

/** Requests a second of one key: what stops a client that runs wild, not one that works hard. */
const RATE_WITH_KEYS = 5_000;

const DAY_MS = 86_400_000;

/** Waiters poll this many times more rarely than the dispatcher. */
const WAIT_POLLS = 5;

/** What is not a setting keeps its default. */
function limitsOf(config: Config): Limits {
  const names = Object.keys(DEFAULT_LIMITS) as (keyof Limits)[];
  const set = names.map((name) => [name, (config as Partial<Limits>)[name] ?? DEFAULT_LIMITS[name]]);
  return Object.freeze(Object.fromEntries(set)) as Limits;
}

/** Not set, it holds where there are keys: in development on loopback nobody is kept waiting. */
function quotaOf(config: Config, keysRequired: boolean): Quota | null {
  const rate = config.rateLimit ?? (keysRequired ? RATE_WITH_KEYS : 0);
  return rate === 0 ? null : { rate, burst: config.rateBurst };
}

/** Everything behind the routes, wired: commits wake streams, the dispatcher, timers and other replicas. */
function buildEngine(options: ServerOptions, metrics: Metrics) {
  const { config, logger } = options;
  const store = openStore({
    connectionString: options.databaseUrl,
    poolMax: config.dbPoolMax,
    lockTimeoutMs: config.dbLockTimeoutMs,
    idleTransactionMs: config.dbIdleTransactionMs,
    queryTimeoutMs: config.dbQueryTimeoutMs,
    hotRowsMax: config.hotRowsMax,
    onError: (error) => logger.warn({ err: error }, "an idle database connection broke; it is replaced"),
  });
  const wakeups = new Wakeups();
  const streams = new AgentStreams();
  const committed = (changes: Change[]) => wakeups.committed(changes);
  const commits = new GroupCommit(store, {
    queueMax: config.queueMax,
    queueMaxBytes: config.queueMaxBytes,
    onCommit: committed,
    onFlush: ({ operations, ms }) =>
      metrics.flushed({ operations, seconds: ms / 1000, outcome: "committed" }),
    onError: (error, operations) => {
      metrics.flushed({ operations, seconds: 0, outcome: "retried" });
      logger.warn({ err: error, operations }, "a commit failed and is tried again on fresh rows");
    },
  });
  const engine: Engine = {
    store,
    commits,
    committed,
    replicaId: randomUUID(),
    freeSlots: (address, count) => streams.free(address, count),
    settings: config,
  };
  // Before the dispatcher: it looks at once for whoever has room, and for what there is to do.
  wakeups.observe((changes) => streams.follow(changes));
  wakeups.observe((changes) => {
    for (const { after } of changes) if (isClaimable(after)) store.queues.add(entryOf(after));
  });
  const dispatcher = new Dispatcher(engine, streams, wakeups, {
    onError: (error) => logger.warn({ err: error }, "a claim failed; the next poll repeats it"),
  });
  wakeups.observe((changes) => countChanges(metrics, changes));
  const renewals = new WriteRenewals(engine, streams, (error) =>
    logger.warn({ err: error }, "a lease could not be renewed by a write; the next write repeats it"),
  );
  wakeups.observe((changes) => renewals.follow(changes));
  const windows = new Windows(engine, wakeups, (error) =>
    logger.warn({ err: error }, "a claim for windows failed; the next look repeats it"),
  );
  return { store, wakeups, streams, engine, dispatcher, windows };
}

const owesSomebody = (intent: Intent): boolean =>
  isTerminal(intent.status) && (intent.parentId !== null || intent.hasChildren);

export async function buildServer(options: ServerOptions): Promise<Server> {
  const { config, logger } = options;
  const metrics = createMetrics({ processMetrics: options.processMetrics ?? true });
  const { store, wakeups, streams, engine, dispatcher, windows } = buildEngine(options, metrics);
  const draining = new AbortController();
  // Every open stream and wait listens on it, by the thousands.
  setMaxListeners(0, draining.signal);
  let databaseUp = true;
  // A commit here wakes its waiters itself; they look again only for what another replica's lost hint hid.
  const pollMs = config.notify === "on" ? config.pollIntervalMs * WAIT_POLLS : config.pollIntervalMs;

  const limits = limitsOf(config);
  const feed = new FeedTail({
    store,
    maxEntries: limits.feedEventsMax,
    onError: (error) =>
      logger.warn({ err: error }, "the feed lost what another server wrote; its readers are told"),
  });
  wakeups.observe((changes) => feed.follow(changes));
  const notifications =
    config.notify === "on"
      ? new Notifications({
          store,
          connectionString: options.databaseUrl,
          replicaId: engine.replicaId,
          proveEveryMs: config.heartbeatIntervalMs,
          onIntent: (id) => wakeups.intents.wake(id),
          onEnded: (ids) => outcomes.hear(ids),
          onLog: (range) => feed.hear(range),
          onAddress: (address) => dispatcher.wake(address),
          isHere: (consumerId) => streams.get(consumerId) !== undefined,
          onTold: (consumerId, frame) => streams.tell(consumerId, frame),
          onAll: () => {
            feed.lose();
            dispatcher.wakeAll();
            wakeups.intents.wakeAll();
            void outcomes.sweep().catch(() => undefined);
          },
          onError: (error) => logger.warn({ err: error }, "notifications are interrupted; polling goes on"),
        })
      : null;
  wakeups.observe((changes) => notifications?.follow(changes));
  const outcomes = new OutcomeStreams(engine, {
    watchesMax: limits.watchesPerClientMax,
    onError: (error) => logger.warn({ err: error }, "outcomes could not be read; they are read again"),
  });
  wakeups.observe((changes) => outcomes.follow(changes));

  const sweepers = createSweepers({
    engine,
    retentionMs: config.retentionDays === 0 ? null : config.retentionDays * DAY_MS,
    onError: (error, worker) =>
      logger.warn(
        { err: error, worker },
        isSharedConnection(error)
          ? "DATABASE_URL leads to a pooler that shares its connections (transaction mode): set it to session mode, or connect to PostgreSQL"
          : "a background pass failed; the next one repeats it",
      ),
    addresses: () => [...new Set([...streams.addresses(), ...wakeups.addresses.keys])],
    wakeAddress: (address) => dispatcher.wake(address),
    openStreams: () =>
      streams.all().map(({ consumerId, streamNo, leaseTtlMs }) => ({ id: consumerId, streamNo, leaseTtlMs })),
    onLeaseOver: (id) => streams.end(id, "lease_over"),
    onDatabase: (up) => {
      databaseUp = up;
      metrics.setDatabaseUp(up);
    },
    onOutage: () => streams.endAll("database"),
    onPeers: (others) => {
      notifications?.setOthers(others);
      outcomes.setOthers(others);
    },
    outcomesLookMs: pollMs,
    lookAtOutcomes: () => outcomes.look(),
    onStreamClosed: ({ id, streamNo }) => streams.end(id, "recovered", streamNo),
  });
  // The other side of an end is told at once here, and by the poll whatever happens.
  wakeups.observe((changes) => {
    if (changes.some(({ after }) => owesSomebody(after))) sweepers.outbox.wake();
  });
  // A hint, so that a delay of 100 ms does not wait for the next poll; the clock that decides is the database's.
  wakeups.observe((changes) => {
    for (const { after } of changes) {
      const due = nextDueAt(after);
      if (due !== null && due - after.updatedAt < config.pollIntervalMs)
        sweepers.timers.wake(Math.max(0, due - after.updatedAt) + 2);
    }
  });

  const keysRequired = config.adminKey !== undefined || options.keysRequired === true;
  const keys = createKeyRing(store);
  const keyWatch = watchKeys(keys, (error, worker) =>
    logger.warn({ err: error, worker }, "keys could not be looked at; the next pass repeats it"),
  );
  const app = Fastify({
    ...serverOptions(limits),
    loggerInstance: logger as FastifyBaseLogger,
  }) as unknown as App;
  await installFoundation(app as never, {
    limits,
    auth: {
      adminKey: config.adminKey ?? null,
      keysRequired,
      ring: keys,
      corsOrigins: config.corsOrigins,
    },
    store,
    quota: quotaOf(config, keysRequired),
    version: options.version,
    metrics,
  });
  const deps: RouteDeps = {
    engine,
    wakeups,
    streams,
    closings: new Closings(engine, {
      leaseEndsIn: (ms) => sweepers.leases.wake(ms),
      onError: (error) =>
        logger.warn({ err: error }, "the end of streams could not be noted; their leases run out instead"),
    }),
    outcomes,
    dispatcher,
    windows,
    owed: new OwedCursors(engine),
    feed,
    limits,
    schemas: requestSchemas(limits),
    metrics,
    keys,
    maxDeliveryAttempts: config.maxDeliveryAttempts,
    keepVersions: config.stateVersionsKept === 0 ? null : config.stateVersionsKept,
    pollMs,
    keepAliveMs: config.keepAliveMs,
    streamMaxAgeMs: config.streamMaxAgeMs,
    draining: draining.signal,
    leaseEndsIn: (ms) => sweepers.leases.wake(ms),
    isReady: () => databaseUp,
    streamCounts: new StreamCounts(),
    keyed: keysRequired,
  };
  registerRoutes(app, deps, { version: options.version, dashboard: config.dashboard === "on" });

  const sockets = trackSockets(app.server);
  const workers = [...Object.values(sweepers), ...keyWatch];
  return {
    app,
    engine,
    store,
    sweepers,
    streams,
    outcomes,
    windows,
    wakeups,
    keys,
    async start() {
      await sweepers.pulse.tick();
      for (const worker of workers) worker.start();
    },
    async stop() {
      await takeWaiting();
      // First: whoever is sent off now comes back at once, and has to find another server.
      const closed = closeListener(app.server);
      draining.abort();
      await Promise.all([dispatcher.stop(), windows.stop()]);
      await Promise.all(workers.map((worker) => worker.stop()));
      await sockets.drain();
      await Promise.all([app.close(), closed]);
      await engine.commits.close();
      await notifications?.stop();
      await endPulse(engine).catch((error) => logger.warn({ err: error }, "the database is away at the end"));
      await store.end();
    },
  };
}
