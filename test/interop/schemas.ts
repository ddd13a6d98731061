// What AXP clients may rely on in our answers, written from the wire's description and not from the code that makes them.
// Anything may stand beside it: only what is missing or of another kind is wrong.

import { z } from "zod";

const time = z.iso.datetime();
const uuid = z.guid();

const STATUSES = [
  "CREATED",
  "SUBMITTED",
  "DELIVERED",
  "ACKNOWLEDGED",
  "IN_PROGRESS",
  "WAITING",
  "COMPLETED",
  "FAILED",
  "CANCELED",
  "TIMED_OUT",
] as const;
const status = z.enum(STATUSES);
const waitingReason = z
  .enum(["WAITING_FOR_HUMAN", "WAITING_FOR_TOOL", "WAITING_FOR_AGENT", "WAITING_FOR_TIME"])
  .nullable();

const pendingWith = z.looseObject({ type: z.enum(["human", "agent"]), name: z.string().min(1) });
const humanTask = z.looseObject({
  title: z.string(),
  allowed_outcomes: z.array(z.string()).optional(),
  assignees: z.array(z.string()).optional(),
});

const intent = z
  .looseObject({
    intent_id: uuid,
    status,
    lifecycle_status: status,
    lifecycle_waiting_reason: waitingReason,
    created_at: time,
    updated_at: time,
    intent_type: z.string(),
    correlation_id: z.string().nullable(),
    from_agent: z.string().min(1),
    to_agent: z.string().min(1),
    payload: z.record(z.string(), z.unknown()),
    result: z.unknown(),
    error: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
    attempt: z.int().min(0),
    delivery_attempt: z.int().min(0),
    lost_deliveries: z.int().min(0),
    max_delivery_attempts: z.int().min(1),
    deadline_at: time.nullable(),
    policy_generation: z.int().min(0),
    paused: z.boolean(),
    session: z.string().nullable(),
    progress: z.looseObject({ done: z.int() }),
    pending_with: pendingWith.optional(),
    human_task: humanTask.optional(),
  })
  .refine((one) => one.status === one.lifecycle_status && one.attempt === one.delivery_attempt);

const event = z.looseObject({
  intent_id: uuid,
  seq: z.int().min(1),
  event_type: z.string().startsWith("intent."),
  status,
  at: time,
  waiting_reason: waitingReason,
  handler: z.string(),
  actor: z.string().min(1),
  attempt: z.int().nullable(),
  details: z.record(z.string(), z.unknown()).nullable(),
  pending_with: pendingWith.optional(),
  human_task: humanTask.optional(),
});

const ok = z.literal(true);
const intentAnswer = { ok, intent, status, result: z.unknown() };
const completion = z.looseObject({
  delivered: z.boolean(),
  reply_to: z.string().optional(),
  thread_id: uuid.optional(),
  reason: z.string().optional(),
});

const stale = z.looseObject({
  ok,
  applied: z.literal(false),
  reason: z.literal("stale_policy_generation"),
  policy_generation: z.int(),
});
const applied = z.looseObject({ ...intentAnswer, applied: z.boolean(), policy_generation: z.int() });

const thread = z.looseObject({
  thread_id: uuid,
  intent_id: uuid,
  status: z.enum(["pending", "active", "done"]),
  owner_agent: z.string().min(3),
  from_agent: z.string().min(3),
  to_agent: z.string().min(3),
  created_at: time,
  updated_at: time,
  timeline: z
    .array(
      z.looseObject({
        event_id: uuid,
        event_type: z.string().min(3),
        actor: z.string().min(2),
        at: time,
        details: z.record(z.string(), z.unknown()),
      }),
    )
    .min(1),
});

const health = z.enum(["healthy", "degraded", "unreachable", "killed", "unknown"]);
const meshAgent = z.looseObject({
  address_id: z.string().regex(/^[^/]+$/),
  address: z.string().startsWith("agent://"),
  display_name: z.string(),
  health_status: health,
  last_heartbeat_at: time.nullable(),
  created_at: time,
  intents_period: z.number(),
  cost_period: z.number(),
  metadata: z.record(z.string(), z.unknown()).nullable(),
});
const meshEvent = z.looseObject({
  event_id: uuid,
  address: z.string(),
  event_type: z.string(),
  details: z.record(z.string(), z.unknown()).nullable(),
  actor_id: z.string().nullable(),
  created_at: time,
});
const account = z.looseObject({
  service_account_id: z.string().min(3),
  org_id: z.string(),
  workspace_id: z.string(),
  name: z.string().min(2),
  status: z.string(),
  created_by_actor_id: z.string().min(1),
  created_at: time,
  updated_at: time,
});
const count = z.int().min(0);

export const SCHEMAS = {
  health: z.looseObject({ ok }),
  create: z.looseObject({ ok, intent_id: uuid, status, created_at: time, listeners: z.int() }),
  get: z.looseObject(intentAnswer),
  list: z.looseObject({ ok, intents: z.array(z.looseObject({ intent_id: uuid, status })) }),
  events: z
    .looseObject({ ok, events: z.array(event) })
    .refine(({ events }) =>
      events.every((one, index) => index === 0 || one.seq > (events[index - 1]?.seq ?? 0)),
    ),
  resolve: z.looseObject({ ...intentAnswer, event, completion_delivery: completion }),
  resume: z.union([applied, stale]),
  policy: z.union([applied, stale]),
  tasks: z.looseObject({
    ok,
    tasks: z.array(
      z.looseObject({
        intent_id: uuid,
        intent_type: z.string(),
        status,
        from_agent: z.string(),
        assigned_at: time,
        due_at: time.nullable(),
        human_task: humanTask,
      }),
    ),
  }),
  inbox: z.looseObject({ ok, threads: z.array(thread) }),
  thread: z.looseObject({ ok, thread }),
  heartbeat: z.looseObject({ ok, health_status: health }),
  meshAgents: z.looseObject({
    ok,
    agents: z.array(meshAgent),
    summary: z.object({ total: count, healthy: count, degraded: count, unreachable: count, killed: count }),
  }),
  meshAgent: z.looseObject({ ok, agent: meshAgent, events: z.array(meshEvent) }),
  meshVerb: z.looseObject({ ok, address_id: z.string(), health_status: health }),
  meshEvents: z.looseObject({ ok, events: z.array(meshEvent) }),
  accounts: z.looseObject({ ok, service_accounts: z.array(account) }),
  account: z.looseObject({ ok, service_account: account }),
  accountKey: z.looseObject({
    ok,
    key: z.looseObject({
      key_id: z.string().min(3),
      service_account_id: z.string().min(3),
      key_hint: z.string().min(4),
      status: z.enum(["active", "revoked"]),
      created_at: time,
      expires_at: time.nullable(),
    }),
  }),
  scenario: z.looseObject({
    ok,
    intent_id: uuid,
    compile_id: z.string().min(3),
    scenario_id: z.string(),
    status,
    agents_provisioned: z.array(z.unknown()),
  }),
  validation: z.looseObject({ ok, errors: z.array(z.string()), warnings: z.array(z.string()) }),
  bulkCancel: z.union([
    z.looseObject({ ok, dry_run: z.literal(true), would_cancel: count, intent_ids: z.array(uuid) }),
    z.looseObject({ ok, dry_run: z.literal(false), canceled: count, intent_ids: z.array(uuid) }),
  ]),
  problem: z.looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int().min(400),
    detail: z.string().min(1),
    code: z.string().regex(/^[a-z_]+$/),
    request_id: z.string(),
    retryable: z.boolean(),
    errors: z.array(z.looseObject({ pointer: z.string(), detail: z.string() })).optional(),
    error: z.looseObject({ code: z.string(), message: z.string().min(1), details: z.unknown() }),
  }),
} as const;

/** The answer, once it is what clients may rely on. */
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
export function valid(schema: keyof typeof SCHEMAS, answer: unknown): any {
  const parsed = SCHEMAS[schema].safeParse(answer);
  if (!parsed.success)
    throw new Error(
      `not a valid ${schema}: ${z.prettifyError(parsed.error)}\n${JSON.stringify(answer, null, 1)}`,
    );
  return answer;
}
