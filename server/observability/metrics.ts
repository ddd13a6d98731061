// What an operator needs to see, as plain functions to call and one text to scrape. Labels are bounded sets only:
// never an id, an address or a URL. It measures and decides nothing.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export type LossReason = "lease_expired" | "takeover" | "attempt_timeout" | "step_timeout" | (string & {});
export type StreamKind = "agent" | "intent" | "feed" | (string & {});

export interface Flush {
  readonly operations: number;
  readonly seconds: number;
  /** `retried`: rolled back and folded again; `unknown`: the connection was lost during COMMIT. */
  readonly outcome: "committed" | "retried" | "unknown" | "failed";
}

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  intentsCreated(count?: number): void;
  intentFinished(status: string): void;
  delivered(count?: number): void;
  redelivered(count?: number): void;
  /** An attempt that counted as lost. */
  lost(reason: LossReason, count?: number): void;
  released(count?: number): void;
  staleWriteRefused(): void;
  stepsDone(count?: number): void;
  flushed(flush: Flush): void;
  /** Operations waiting for the next flush. */
  setQueueLength(operations: number): void;
  /** Intents that may be delivered now, and how long the oldest has waited, per priority. */
  setReady(priority: number, intents: number, oldestSeconds: number): void;
  setConsumers(live: number): void;
  /** Answers the function that counts the stream closed; calling it twice counts once. */
  streamOpened(kind: StreamKind): () => void;
  slowReaderDropped(): void;
  httpFinished(method: string, route: string, status: number, seconds: number): void;
  setDatabaseUp(up: boolean): void;
  workerTicked(worker: string, seconds: number, handled: number): void;
}

export interface MetricsOptions {
  /** CPU, memory, event loop and garbage collection of the process. Default true; off in tests. */
  readonly processMetrics?: boolean;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export function createMetrics(options: MetricsOptions = {}): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter({ name: `perdure_${name}`, help, labelNames: [...labelNames], registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name: `perdure_${name}`, help, labelNames: [...labelNames], registers });
  const histogram = <L extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly L[] = [],
  ) => new Histogram({ name: `perdure_${name}`, help, buckets, labelNames: [...labelNames], registers });

  const created = counter("intents_created_total", "Intents durably accepted");
  const finished = counter("intents_finished_total", "Intents that reached a terminal status", ["status"]);
  const deliveries = counter("deliveries_total", "Attempts opened, first deliveries and redeliveries");
  const redeliveries = counter("redeliveries_total", "Attempts opened after an earlier one had ended");
  const losses = counter("deliveries_lost_total", "Attempts that ended as lost", ["reason"]);
  const releases = counter("deliveries_released_total", "Attempts handed back by their agent");
  const stale = counter("stale_writes_refused_total", "Writes refused because their attempt was over");
  const steps = counter("steps_done_total", "Steps newly recorded as done");
  const flushSize = histogram(
    "flush_operations",
    "Operations per transaction",
    [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
  );
  const flushSeconds = histogram(
    "flush_duration_seconds",
    "Time from taking a batch to its answer",
    SECONDS,
    ["outcome"],
  );
  const queue = gauge("queue_operations", "Operations waiting for the next flush");
  const ready = gauge("ready_intents", "Intents that may be delivered now", ["priority"]);
  const oldest = gauge("ready_oldest_seconds", "Age of the oldest intent that may be delivered now", [
    "priority",
  ]);
  const consumers = gauge("consumers_live", "Consumers with a running lease");
  const streams = gauge("streams_open", "Open event streams", ["kind"]);
  const slow = counter(
    "streams_dropped_slow_total",
    "Streams whose socket was dropped because its reader was too slow",
  );
  const http = histogram("http_request_duration_seconds", "Requests answered, streams excluded", SECONDS, [
    "method",
    "route",
    "status",
  ]);
  const database = gauge("database_up", "1 while the database answers");
  const ticks = histogram("worker_tick_duration_seconds", "One pass of a background worker", SECONDS, [
    "worker",
  ]);
  const handled = counter("worker_handled_total", "What background workers acted on", ["worker"]);
  if (options.processMetrics ?? true) collectDefaultMetrics({ register: registry });

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    intentsCreated: (count = 1) => created.inc(count),
    intentFinished: (status) => finished.inc({ status }),
    delivered: (count = 1) => deliveries.inc(count),
    redelivered: (count = 1) => redeliveries.inc(count),
    lost: (reason, count = 1) => losses.inc({ reason }, count),
    released: (count = 1) => releases.inc(count),
    staleWriteRefused: () => stale.inc(),
    stepsDone: (count = 1) => steps.inc(count),
    flushed: ({ operations, seconds, outcome }) => {
      flushSize.observe(operations);
      flushSeconds.observe({ outcome }, seconds);
    },
    setQueueLength: (operations) => queue.set(operations),
    setReady: (priority, intents, oldestSeconds) => {
      ready.set({ priority: String(priority) }, intents);
      oldest.set({ priority: String(priority) }, oldestSeconds);
    },
    setConsumers: (live) => consumers.set(live),
    streamOpened: (kind) => {
      let open = true;
      streams.inc({ kind });
      return () => {
        if (!open) return;
        open = false;
        streams.dec({ kind });
      };
    },
    slowReaderDropped: () => slow.inc(),
    httpFinished: (method, route, status, seconds) =>
      http.observe({ method, route, status: `${Math.floor(status / 100)}xx` }, seconds),
    setDatabaseUp: (up) => database.set(up ? 1 : 0),
    workerTicked: (worker, seconds, count) => {
      ticks.observe({ worker }, seconds);
      handled.inc({ worker }, count);
    },
  };
}
