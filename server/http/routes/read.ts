// Reading intents: one, a list, its log, its steps, its delivery, its explanation.

import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { followIntent, followInWindow, waitForEnd } from "../../delivery/event-stream.ts";
import { fetchDelivery } from "../../delivery/frames.ts";
import { parseAddress } from "../../domain/address.ts";
import { foldLog } from "../../domain/fold.ts";
import type { Intent } from "../../domain/intent.ts";
import { isTerminal } from "../../domain/lifecycle.ts";
import { Refusal } from "../../domain/refusal.ts";
import { invalid } from "../../errors.ts";
import { isAgentPaused } from "../../store/queries/agents.ts";
import { findConsumer } from "../../store/queries/consumers.ts";
import { readEntries } from "../../store/queries/history.ts";
import {
  findSeenIntent,
  type IntentFilter,
  type IntentRecord,
  listIntents,
} from "../../store/queries/intents.ts";
import { readAttemptEvents, readEvents, readSteps, stepsInDoubt } from "../../store/queries/log.ts";
import { findPending } from "../../store/queries/pending.ts";
import { searchIntents } from "../../store/queries/search.ts";
import { listSorted, type SortOrder } from "../../store/queries/sorted.ts";
import { explain } from "../../wire/explain.ts";
import {
  eventView,
  intentView,
  pastStepView,
  pendingView,
  progressView,
  stepView,
} from "../../wire/views.ts";
import type { Principal } from "../auth.ts";
import { waitSeconds } from "../conventions.ts";
import { cursorCodec, INSTANT_MAX } from "../pagination.ts";
import type { RequestSchemas } from "../schemas/requests.ts";
import {
  type App,
  actorOf,
  countStream,
  listenersAt,
  openFrames,
  type RouteDeps,
  waitOptions,
} from "./deps.ts";

const intentCursor = cursorCodec("intents", z.tuple([z.number().min(0).max(INSTANT_MAX), z.guid()]));
const sortCursor = (order: SortOrder) => cursorCodec(`intents by ${order}`, z.tuple([z.number(), z.guid()]));
const SEQ_MAX = 2_147_483_647;
const eventCursor = cursorCodec("events", z.int().min(0).max(SEQ_MAX));
const ATTEMPT_EVENTS = 200;

/** One that is out of the caller's sight is not there. */
export async function requireIntent(
  deps: RouteDeps,
  { principal }: FastifyRequest,
  id: string,
): Promise<IntentRecord> {
  return found(id, await findSeenIntent(deps.engine.store, id, principal.access));
}

function found(id: string, record: IntentRecord | undefined): IntentRecord {
  if (record === undefined) throw new Refusal("not_found", `there is no intent ${id}`, { intent_id: id });
  return record;
}

/** `{ok, intent, status, result}`: the last two also at the top, where simple clients look. */
export function intentAnswer(record: IntentRecord) {
  const intent = intentView(record);
  return { ok: true, intent, status: intent.status, result: intent.result, error: intent.error };
}

/** With the steps in doubt and whoever is asked, while somebody may still have to look at them. */
async function answerWithDoubts(deps: RouteDeps, record: IntentRecord) {
  const answer = intentAnswer(record);
  const { intent } = record;
  if (isTerminal(intent.status) || intent.stepsCount === 0) return answer;
  const [in_doubt, pending] = await Promise.all([
    stepsInDoubt(deps.engine.store, intent.id),
    intent.status === "WAITING" ? findPending(deps.engine.store, intent.id) : undefined,
  ]);
  const doubts = in_doubt.length === 0 ? {} : { in_doubt };
  return { ...answer, intent: { ...answer.intent, ...doubts, ...pendingView(pending) } };
}

/** `metadata.NAME=VALUE` of a query. */
export const metadataIn = (query: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(query).flatMap(([name, value]) =>
      name.startsWith("metadata.") ? [[name.slice(9), String(value)]] : [],
    ),
  );

type ListQuery = z.output<RequestSchemas["list"]>;

function conditionsOf(query: ListQuery, { namespace, access }: Principal): IntentFilter {
  const metadata = metadataIn(query);
  return {
    access,
    ...(query.status === undefined ? {} : { status: query.status }),
    ...(query.to_agent === undefined ? {} : { toAgent: parseAddress(query.to_agent, namespace).canonical }),
    ...(query.intent_type === undefined ? {} : { intentType: query.intent_type }),
    ...(query.session === undefined ? {} : { session: query.session }),
    ...(query.parent_intent_id === undefined ? {} : { parentIntentId: query.parent_intent_id }),
    ...(query.code === undefined ? {} : { code: query.code }),
    ...(query.created_from === undefined ? {} : { createdFrom: query.created_from }),
    ...(query.created_to === undefined ? {} : { createdTo: query.created_to }),
    ...(query.id_tail === undefined ? {} : { idTail: query.id_tail.toLowerCase().replaceAll("-", "") }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
    ...(query.paused === undefined ? {} : { paused: query.paused }),
  };
}

/** In the order of creation. */
function listFilter(query: ListQuery, principal: Principal): IntentFilter {
  const [createdAt, id] = query.cursor === undefined ? [] : intentCursor.decode(query.cursor);
  return {
    ...conditionsOf(query, principal),
    oldestFirst: query.order === "oldest",
    ...(createdAt === undefined || id === undefined ? {} : { after: { createdAt, id } }),
  };
}

async function pastSteps(deps: RouteDeps, intent: Intent, seq: number) {
  if (seq > intent.seq) throw invalid("?seq", `the log ends at ${intent.seq}`);
  const { steps } = foldLog(await readEntries(deps.engine.store.pool, intent.id, seq), seq);
  const inOrder = [...steps.values()].sort(
    (a, b) => (a.position ?? Number.POSITIVE_INFINITY) - (b.position ?? Number.POSITIVE_INFINITY),
  );
  return { ok: true, seq, steps: inOrder.map((step) => pastStepView(intent.id, step)) };
}

const LIST_DESCRIPTION = `\`text\` looks for a text in ids, types, addresses, sessions, metadata, payloads and errors. There is no index for that:
a request looks through a bounded number of intents, and \`next_cursor\` goes on behind them, so that a page may be empty and not the last.

\`order\` is that of creation, or one of four that have no index: \`recently_changed\`, and of those that have not ended, unless \`status\` asks
for others, \`longest_unchanged\`, \`priority\` (the highest first) and \`deadline\` (the soonest first, of those that have one). These sort a
bounded number of intents, those created last (for \`longest_unchanged\` those created first): \`sorted {among, capped}\` says of how many, and
whether there are more.`;

async function searched(deps: RouteDeps, filter: IntentFilter, { text = "", limit, include }: ListQuery) {
  const { searchMax } = deps.limits;
  const { records, next } = await searchIntents(deps.engine.store, filter, { text, limit, searchMax });
  return {
    ok: true,
    intents: records.map((record) => intentView(record, { payload: include === "payload" })),
    next_cursor: next === null ? null : intentCursor.encode([next.createdAt, next.id]),
  };
}

const isSort = (order: ListQuery["order"]): order is SortOrder => order !== "newest" && order !== "oldest";

async function sorted(deps: RouteDeps, query: ListQuery, order: SortOrder, principal: Principal) {
  if (query.text !== undefined)
    throw invalid("?order", "a text is looked for from the newest or the oldest on");
  const cursor = sortCursor(order);
  const [key, id] = query.cursor === undefined ? [] : cursor.decode(query.cursor);
  const page = await listSorted(deps.engine.store, conditionsOf(query, principal), {
    order,
    behind: key === undefined || id === undefined ? null : { key, id },
    limit: query.limit,
    maxBytes: deps.limits.pageMaxBytes,
    sortMax: deps.limits.sortMax,
  });
  return {
    ok: true,
    intents: page.records.map((record) => intentView(record, { payload: query.include === "payload" })),
    next_cursor: page.next === null ? null : cursor.encode([page.next.key, page.next.id]),
    sorted: { among: page.sorted, capped: page.capped },
  };
}

const FOLLOW_DESCRIPTION = `After \`since\` or \`Last-Event-ID\`, held open until the last event. With \`wait_seconds\` (1 to 60) a window: it ends
behind the last event, or with \`stream.timeout {ok, next_seq}\` when its time is up; with \`X-Axme-Client: axme-sdk-typescript/…\` also
behind the first events, because that client reads no earlier. A window without events is held, also after the last one.`;

/** AXME's TypeScript SDK reads a body only once it is whole. */
const readsAtEnd = ({ headers }: FastifyRequest): boolean =>
  String(headers["x-axme-client"] ?? "").startsWith("axme-sdk-typescript/");

export function readRoutes(app: App, deps: RouteDeps): void {
  const { schemas, engine } = deps;
  const { db } = engine.store;
  const tags = ["intents"];

  app.get(
    "/v1/intents",
    {
      config: { needs: "read" },
      schema: {
        querystring: schemas.list,
        tags,
        summary: "List intents, the newest first",
        description: LIST_DESCRIPTION,
      },
    },
    async (request) => {
      const { principal, query } = request;
      if (isSort(query.order)) return sorted(deps, query, query.order, principal);
      if (query.text !== undefined) return searched(deps, listFilter(query, principal), query);
      const { records, more } = await listIntents(engine.store, {
        ...listFilter(query, principal),
        limit: query.limit,
        maxBytes: deps.limits.pageMaxBytes,
      });
      const last = records.at(-1)?.intent;
      const payload = query.include === "payload";
      return {
        ok: true,
        intents: records.map((record) => intentView(record, { payload })),
        next_cursor: more && last !== undefined ? intentCursor.encode([last.createdAt, last.id]) : null,
      };
    },
  );

  app.get(
    "/v1/intents/:id",
    {
      config: { needs: "read" },
      schema: {
        params: schemas.params.intent,
        querystring: schemas.waitQuery,
        tags,
        summary: "One intent; ?wait=N holds the answer until it has ended",
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const wait = waitSeconds(request, request.query.wait);
      if (wait === 0) return answerWithDoubts(deps, await requireIntent(deps, request, id));
      countStream(deps, request, reply);
      const waiting = waitOptions(deps, request, reply, wait);
      return answerWithDoubts(deps, found(id, await waitForEnd(engine, deps.wakeups, id, waiting)));
    },
  );

  app.get(
    "/v1/intents/:id/events",
    {
      config: { needs: "read" },
      schema: {
        params: schemas.params.intent,
        querystring: schemas.eventsQuery,
        tags,
        summary: "The log after a seq",
      },
    },
    async (request) => {
      const { id } = request.params;
      const { limit, cursor } = request.query;
      const since = cursor === undefined ? request.query.since : eventCursor.decode(cursor);
      const { intent } = await requireIntent(deps, request, id);
      const events = await readEvents(engine.store, id, since, limit, deps.limits.pageMaxBytes);
      const last = events.at(-1)?.seq ?? intent.seq;
      // A page may end early, by its bytes.
      const next_cursor = last < intent.seq ? eventCursor.encode(last) : null;
      return { ok: true, events: events.map(eventView), next_cursor };
    },
  );

  app.get(
    "/v1/intents/:id/events/stream",
    {
      exposeHeadRoute: false,
      config: { needs: "read" },
      schema: {
        params: schemas.params.intent,
        querystring: schemas.followQuery,
        tags,
        summary: "The log as server-sent events, until the intent has ended",
        description: FOLLOW_DESCRIPTION,
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      countStream(deps, request, reply);
      await requireIntent(deps, request, id);
      const last = Number(request.headers["last-event-id"]);
      const since =
        Number.isSafeInteger(last) && last >= 0 && request.headers["last-event-id"] !== undefined
          ? Math.min(last, SEQ_MAX)
          : (request.query.since ?? 0);
      const gone = new AbortController();
      const { wait_seconds: seconds } = request.query;
      const end = seconds === undefined ? undefined : () => gone.abort();
      const frames = openFrames(deps, request, reply, "intent", end);
      frames.onClose(() => gone.abort());
      const follow = { since, pollMs: deps.pollMs, signal: gone.signal };
      try {
        if (seconds === undefined) await followIntent(engine, deps.wakeups, id, frames, follow);
        else
          await followInWindow(engine, deps.wakeups, id, frames, {
            ...follow,
            waitMs: seconds * 1_000,
            endsAfterBatch: readsAtEnd(request),
            onError: (error) => request.log.warn({ err: error }, "a window is held without the database"),
          });
      } catch (error) {
        request.log.warn({ err: error }, "an event stream ended early; its reader resumes from its cursor");
      } finally {
        frames.end();
      }
    },
  );

  app.get(
    "/v1/intents/:id/steps",
    {
      config: { needs: "read" },
      schema: {
        params: schemas.params.intent,
        querystring: schemas.stepsQuery,
        tags,
        summary: "Steps and progress; ?seq=N as they were after that log entry",
      },
    },
    async (request) => {
      const { intent } = await requireIntent(deps, request, request.params.id);
      const { seq } = request.query;
      if (seq !== undefined) return pastSteps(deps, intent, seq);
      const steps = await readSteps(engine.store, intent.id);
      return { ok: true, steps: steps.map((step) => stepView(intent, step)), progress: progressView(intent) };
    },
  );

  app.get(
    "/v1/intents/:id/delivery",
    {
      config: { needs: ["act", "operate"] },
      schema: {
        params: schemas.params.intent,
        querystring: schemas.deliveryQuery,
        tags: ["agents"],
        summary: "The whole working set of the open delivery",
      },
    },
    async (request) => ({
      ok: true,
      delivery: await fetchDelivery(
        engine,
        request.params.id,
        request.query.attempt ?? null,
        actorOf(request),
      ),
    }),
  );

  app.get(
    "/v1/intents/:id/explain",
    {
      config: { needs: "read" },
      schema: { params: schemas.params.intent, tags, summary: "What is happening, and what happens next" },
    },
    async (request) => {
      const record = await requireIntent(deps, request, request.params.id);
      const { intent } = record;
      const [events, steps, holder, agentPaused] = await Promise.all([
        readAttemptEvents(db, intent.id, ATTEMPT_EVENTS),
        readSteps(engine.store, intent.id),
        intent.consumerId === null ? undefined : findConsumer(db, intent.consumerId),
        isAgentPaused(engine.store, intent.toAgent),
      ]);
      return {
        ok: true,
        ...explain(record, events, steps, holder, {
          listeners: listenersAt(deps, intent.toAgent),
          agentPaused,
        }),
      };
    },
  );
}
