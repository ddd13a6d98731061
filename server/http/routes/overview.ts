// What is asked about many intents at once: how many there are, how the last while went, and who listens.

import { z } from "zod";
import { formatAddress, parseAddress } from "../../domain/address.ts";
import { type ConsumerRow, listConsumers } from "../../store/queries/consumers.ts";
import { countIntents } from "../../store/queries/counts.ts";
import { type Bucket, readOverview } from "../../store/queries/overview.ts";
import { cursorCodec, pageOf } from "../pagination.ts";
import { overviewSchemas } from "../schemas/overview.ts";
import type { App, RouteDeps } from "./deps.ts";
import { metadataIn } from "./read.ts";

const consumerCursor = cursorCodec("consumers", z.guid());

const iso = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

const consumerView = (row: ConsumerRow) => ({
  consumer_id: row.id,
  address: formatAddress(row.address),
  consumer: row.name,
  mode: row.mode,
  capacity: row.capacity,
  online: row.online,
  connected: row.connected,
  held: row.heldCount,
  holding: row.held,
  lease_until: iso(row.leaseUntil),
  seen_at: iso(row.seenAt),
  created_at: iso(row.createdAt),
});

const percentiles = ({ p50, p95, p99 }: Pick<Bucket, "p50" | "p95" | "p99">) => ({
  p50_ms: p50,
  p95_ms: p95,
  p99_ms: p99,
});

const bucketView = (bucket: Bucket) => ({
  at: iso(bucket.at),
  created: bucket.created,
  completed: bucket.completed,
  failed: bucket.failed,
  canceled: bucket.canceled,
  timed_out: bucket.timedOut,
  redeliveries: bucket.redeliveries,
  lost: bucket.lost,
  queued_p50_ms: bucket.queued.p50,
  queued_p95_ms: bucket.queued.p95,
  ...percentiles(bucket),
});

export function overviewRoutes(app: App, deps: RouteDeps): void {
  const schemas = overviewSchemas(deps.limits);
  const { store } = deps.engine;

  app.get(
    "/v1/intents/counts",
    {
      config: { needs: "read" },
      schema: {
        querystring: schemas.counts,
        tags: ["intents"],
        summary: "How many intents there are, by status; `capped`: only the newest were counted",
      },
    },
    async (request) => {
      const { query, principal } = request;
      const { namespace, access } = principal;
      const metadata = metadataIn(query);
      const { byStatus, paused, total, capped } = await countIntents(
        store,
        {
          access,
          ...(query.to_agent === undefined
            ? {}
            : { toAgent: parseAddress(query.to_agent, namespace).canonical }),
          ...(query.intent_type === undefined ? {} : { intentType: query.intent_type }),
          ...(query.session === undefined ? {} : { session: query.session }),
          ...(query.parent_intent_id === undefined ? {} : { parentIntentId: query.parent_intent_id }),
          ...(query.code === undefined ? {} : { code: query.code }),
          ...(query.created_from === undefined ? {} : { createdFrom: query.created_from }),
          ...(query.created_to === undefined ? {} : { createdTo: query.created_to }),
          ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
        },
        deps.limits.countMax,
      );
      return { ok: true, counts: byStatus, paused, total, capped };
    },
  );

  app.get(
    "/v1/overview",
    {
      config: { needs: "read" },
      schema: {
        querystring: schemas.overview,
        tags: ["operators"],
        summary: "How the last while went: throughput, latency, failures, redeliveries, and what waits",
        description:
          "`created`, `redeliveries`, `lost` and `queued` are of intents by when they were created; the others by when they ended. Latency is from creation to completion; `queued` is the wait for the first delivery, so far where there was none. `counts` of a failure are by bucket.",
      },
    },
    async (request) => {
      const { window_seconds, buckets, to_agent } = request.query;
      const windowMs = window_seconds * 1000;
      const bucketMs = Math.max(1_000, Math.ceil(windowMs / buckets / 1_000) * 1_000);
      const { access, namespace } = request.principal;
      const overview = await readOverview(store, {
        access,
        windowMs,
        bucketMs,
        toAgent: to_agent === undefined ? null : parseAddress(to_agent, namespace).canonical,
        maxRows: deps.limits.countMax,
      });
      return {
        ok: true,
        at: iso(overview.now),
        window_seconds,
        bucket_seconds: bucketMs / 1000,
        buckets: overview.buckets.map(bucketView),
        latency: percentiles(overview.latency),
        failures: overview.failures,
        queues: overview.queues.map(({ address, waiting, oldestMs, listeners }) => ({
          address: formatAddress(address),
          waiting,
          oldest_seconds: Math.round(oldestMs) / 1000,
          listeners,
        })),
        capped: overview.capped,
      };
    },
  );

  app.get(
    "/v1/consumers",
    {
      config: { needs: "read" },
      schema: {
        querystring: schemas.consumers,
        tags: ["agents"],
        summary: "Listening processes, and those of the last day: what each holds, when it was last heard of",
      },
    },
    async (request) => {
      const { limit, cursor, address } = request.query;
      const { namespace, access } = request.principal;
      const rows = await listConsumers(store, {
        access,
        address: address === undefined ? null : parseAddress(address, namespace).canonical,
        after: cursor === undefined ? null : consumerCursor.decode(cursor),
        limit: limit + 1,
      });
      const page = pageOf(rows, limit, consumerCursor, (row) => row.id);
      return { ok: true, consumers: page.rows.map(consumerView), next_cursor: page.next_cursor };
    },
  );
}
