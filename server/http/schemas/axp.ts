// The shapes of what AXP clients send beyond the intents themselves: policies, inboxes, the mesh, service accounts,
// scenarios, and acting on many intents at once.

import { z } from "zod";
import { STATUSES } from "../../domain/lifecycle.ts";
import type { PolicyPatch } from "../../domain/policy.ts";
import type { Bundle, Reminders } from "../../domain/scenario.ts";
import { PERIODS } from "../../store/queries/agents.ts";
import type { Limits } from "../limits.ts";
import { pieces, raw, SECONDS_MAX } from "./pieces.ts";
import { waitingSchemas } from "./waiting.ts";

const HOUR_MS = 3_600_000;
const HOURS_MAX = 87_600;
const REMINDERS_MAX = 100;

const ms = (seconds: number | null | undefined): number | null =>
  seconds == null ? null : Math.round(seconds * 1000);

/** The first that is there. */
const firstOf = <T>(...values: (T | undefined)[]): T | undefined =>
  values.find((value) => value !== undefined);

export function axpSchemas(limits: Limits) {
  const { name, key, text, address, instant, seconds, uuid, limit } = pieces(limits);
  const { humanTask } = waitingSchemas(limits);
  const cursor = z.string().max(4_000).optional();
  const reason = text.min(1).nullish();
  const delay = z.number().min(0).max(SECONDS_MAX);
  const count = z.int().min(0).max(1_000);
  const reminders = {
    remind_after_seconds: seconds.nullish(),
    remind_interval_seconds: seconds.nullish(),
    max_reminders: z.int().min(0).max(REMINDERS_MAX).nullish(),
    escalate_to: address.nullish(),
  };

  const patch = z.object({
    ...reminders,
    timeout_seconds: seconds.nullable().optional(),
    execution_timeout_seconds: seconds.nullable().optional(),
    attempt_timeout_seconds: seconds.nullable().optional(),
    deadline_at: instant.nullable().optional(),
    expires_at: instant.nullable().optional(),
    ttl_seconds: seconds.optional(),
    max_delivery_attempts: z.int().min(1).max(1_000).optional(),
    max_retries: count.optional(),
    max_retry_count: count.optional(),
    retry_delay_seconds: delay.optional(),
    retry_backoff_seconds: delay.optional(),
    paused: z.boolean().optional(),
  });

  const policy = z
    .object({
      controls_patch: patch.nullish(),
      envelope_patch: patch.nullish(),
      grants_patch: z.unknown().optional(),
      expected_policy_generation: z.int().min(0).nullish(),
      reason,
      actor: text.nullish(),
    })
    .transform((body) => ({
      patch: toPatch({ ...body.envelope_patch, ...body.controls_patch }),
      grants: body.grants_patch != null,
      expectedGeneration: body.expected_policy_generation ?? null,
      reason: body.reason ?? null,
    }));

  const metric = z.number().min(0).max(1e12).optional();
  const step = z.object({
    step_id: key,
    tool_id: name.nullish(),
    assigned_to: address.nullish(),
    requires_approval: z.boolean().nullish(),
    human_task: humanTask.nullish(),
    step_deadline_seconds: seconds.nullish(),
    input: z.unknown().optional(),
    on_success: key.nullish(),
    on_failure: key.nullish(),
    ...reminders,
  });
  const list = <T extends z.ZodType>(element: T) => z.array(element).max(limits.scenarioStepsMax).default([]);

  const scenario = z.object({
    scenario_id: name,
    title: name.nullish(),
    description: text.nullish(),
    idempotency_key: key.nullish(),
    agents: list(
      z.object({
        role: name,
        address,
        display_name: name.nullish(),
        delivery_mode: name.nullish(),
        create_if_missing: z.boolean().nullish(),
      }),
    ),
    humans: list(z.object({ role: name, contact: address.nullish(), display_name: name.nullish() })),
    workflow: z
      .object({
        steps: list(step),
        entry_step: key.nullish(),
        macro_id: name.nullish(),
        parameters: z.unknown().optional(),
      })
      .nullish(),
    intent: z
      .object({
        type: name,
        payload: raw(limits.payloadMaxBytes, "payload")
          .optional()
          .refine((value) => value === undefined || value.text.trimStart().startsWith("{"), {
            error: "must be a JSON object",
          }),
        deadline_at: instant.nullish(),
        ttl_seconds: seconds.nullish(),
        max_delivery_attempts: z.int().min(1).max(1_000).nullish(),
        human_task: humanTask.nullish(),
        reply_to: address.nullish(),
        correlation_id: name.nullish(),
        ...reminders,
      })
      .refine((body) => body.deadline_at == null || body.ttl_seconds == null, {
        path: ["ttl_seconds"],
        error: "give deadline_at or ttl_seconds, not both",
      }),
  });

  const statuses = z.array(z.enum(STATUSES)).min(1);
  const bulkFilter = z.object({
    intent_ids: z.array(uuid).min(1).max(limits.bulkMax).optional(),
    status: z.union([z.enum(STATUSES).transform((one) => [one]), statuses]).optional(),
    to_agent: address.optional(),
    intent_type: name.optional(),
    session: name.optional(),
    parent_intent_id: uuid.optional(),
    code: key.optional(),
    created_from: instant.optional(),
    created_to: instant.optional(),
    paused: z.boolean().optional(),
    metadata: z.record(z.string().max(limits.keyMax), z.string().max(limits.textMax)).optional(),
  });
  const agentId = z.string().min(1).max(limits.pathSegmentMax);

  return {
    params: z.object({ id: uuid }),
    policy,
    inbox: z.object({ owner_agent: address.optional(), limit: limit.default(50), cursor }),
    owner: z.object({ owner_agent: address.optional() }),
    agents: z.object({ limit: limit.default(100), cursor }),
    agentVerb: z.object({ reason }),
    meshAgents: z.object({
      limit: limit.default(100),
      health: z.enum(["healthy", "degraded", "unreachable", "killed", "unknown"]).optional(),
      window: z.enum(PERIODS).default("day"),
    }),
    meshEvents: z.object({ limit: limit.default(50), event_type: name.optional() }),
    meshAgent: z.object({ a: agentId }),
    meshHeartbeat: z.object({
      metrics: z
        .object({
          intents_total: metric,
          intents_succeeded: metric,
          intents_failed: metric,
          avg_latency_ms: z.number().min(0).nullish(),
          cost_usd: metric,
        })
        .nullish(),
    }),
    accounts: z.object({ org_id: text.optional(), workspace_id: text.optional() }),
    accountParams: z.object({ account: agentId }),
    accountKeyParams: z.object({
      account: agentId,
      key_id: z.guid({ error: "must be a key id (a UUID)" }).transform((id) => id.toLowerCase()),
    }),
    account: z.object({
      name: address,
      display_name: text.nullish(),
      description: text.nullish(),
      org_id: text.nullish(),
      workspace_id: text.nullish(),
    }),
    accountKey: z.object({ expires_at: instant.nullish() }),
    scenario,
    bulk: z.object({
      action: z.enum(["cancel", "pause", "unpause", "retry"]),
      filter: bulkFilter.default({}),
      dry_run: z.boolean().default(false),
      reason,
      limit: z.int().min(1).max(limits.bulkMax).default(Math.min(500, limits.bulkMax)),
      cursor,
    }),
    bulkCancel: z
      .object({
        older_than_hours: z.number().min(0).max(HOURS_MAX).default(24),
        status_filter: statuses.default(["SUBMITTED", "DELIVERED", "IN_PROGRESS", "WAITING"]),
        dry_run: z.boolean().default(true),
        reason,
        limit: z.int().min(1).max(limits.bulkMax).default(Math.min(500, limits.bulkMax)),
      })
      .transform((body) => ({ ...body, idleMs: body.older_than_hours * HOUR_MS })),
  };
}
export type AxpSchemas = ReturnType<typeof axpSchemas>;
export type ScenarioBody = z.output<AxpSchemas["scenario"]>;

interface PatchBody {
  readonly [name: string]: unknown;
  readonly timeout_seconds?: number | null | undefined;
  readonly execution_timeout_seconds?: number | null | undefined;
  readonly attempt_timeout_seconds?: number | null | undefined;
  readonly deadline_at?: number | null | undefined;
  readonly expires_at?: number | null | undefined;
  readonly ttl_seconds?: number | undefined;
  readonly max_delivery_attempts?: number | undefined;
  readonly max_retries?: number | undefined;
  readonly max_retry_count?: number | undefined;
  readonly retry_delay_seconds?: number | undefined;
  readonly retry_backoff_seconds?: number | undefined;
  readonly paused?: boolean | undefined;
  readonly remind_after_seconds?: number | null | undefined;
  readonly remind_interval_seconds?: number | null | undefined;
  readonly max_reminders?: number | null | undefined;
  readonly escalate_to?: string | null | undefined;
}

/** Several clients have several names for one thing. */
function toPatch(body: PatchBody): PolicyPatch {
  const timeout = firstOf(body.attempt_timeout_seconds, body.timeout_seconds, body.execution_timeout_seconds);
  const deadlineAt = firstOf(body.deadline_at, body.expires_at);
  const maxRetries = firstOf(body.max_retries, body.max_retry_count);
  const retryDelay = firstOf(body.retry_delay_seconds, body.retry_backoff_seconds);
  const reminders = {
    ...(body.remind_after_seconds == null
      ? {}
      : { remindAfterMs: Math.round(body.remind_after_seconds * 1000) }),
    ...(body.remind_interval_seconds == null
      ? {}
      : { remindIntervalMs: Math.round(body.remind_interval_seconds * 1000) }),
    ...(body.max_reminders == null ? {} : { maxReminders: body.max_reminders }),
    ...(body.escalate_to === undefined ? {} : { escalateTo: body.escalate_to }),
  };
  return {
    ...(timeout === undefined ? {} : { attemptTimeoutMs: ms(timeout) }),
    ...(deadlineAt === undefined ? {} : { deadlineAt }),
    ...(body.ttl_seconds === undefined ? {} : { ttlMs: Math.round(body.ttl_seconds * 1000) }),
    ...(body.max_delivery_attempts === undefined ? {} : { maxDeliveryAttempts: body.max_delivery_attempts }),
    ...(maxRetries === undefined ? {} : { maxRetries }),
    ...(retryDelay === undefined ? {} : { retryDelayMs: Math.round(retryDelay * 1000) }),
    ...(body.paused === undefined ? {} : { paused: body.paused }),
    ...(Object.keys(reminders).length === 0 ? {} : { reminders }),
  };
}

interface RemindersBody {
  readonly remind_after_seconds?: number | null | undefined;
  readonly remind_interval_seconds?: number | null | undefined;
  readonly max_reminders?: number | null | undefined;
  readonly escalate_to?: string | null | undefined;
}

const remindersOf = (body: RemindersBody): Reminders => ({
  remindAfterMs: ms(body.remind_after_seconds),
  remindIntervalMs: ms(body.remind_interval_seconds),
  maxReminders: body.max_reminders ?? null,
  escalateTo: body.escalate_to ?? null,
});

/** The bundle as it is compiled. */
export function toBundle(body: ScenarioBody, maxDeliveryAttempts: number): Bundle {
  const { intent, workflow } = body;
  return {
    ...remindersOf(intent),
    id: body.scenario_id,
    title: body.title ?? null,
    intentType: intent.type,
    agents: body.agents,
    humans: body.humans.map(({ role, contact }) => ({ role, contact: contact ?? null })),
    steps: (workflow?.steps ?? []).map((step) => ({
      ...remindersOf(step),
      key: step.step_id,
      toolId: step.tool_id ?? "",
      assignedTo: step.assigned_to ?? null,
      requiresApproval: step.requires_approval === true,
      task: step.human_task ?? null,
      deadlineMs: ms(step.step_deadline_seconds),
      input: step.input,
      onSuccess: step.on_success ?? null,
      onFailure: step.on_failure ?? null,
    })),
    entryStep: workflow?.entry_step ?? null,
    task: intent.human_task ?? null,
    maxDeliveryAttempts: intent.max_delivery_attempts ?? maxDeliveryAttempts,
  };
}
