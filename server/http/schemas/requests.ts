// The shapes of requests: validated here, described in OpenAPI from here. Values only; no use case, no database.

import { z } from "zod";
import { ON_INTERRUPT } from "../../domain/intent.ts";
import { STATUSES } from "../../domain/lifecycle.ts";
import { RawJson } from "../../domain/raw-json.ts";
import { SORT_ORDERS } from "../../store/queries/sorted.ts";
import { WAIT_SECONDS_MAX } from "../conventions.ts";
import { withFieldPrefix } from "../fields.ts";
import type { Limits } from "../limits.ts";
import { pieces, raw, SECONDS_MAX } from "./pieces.ts";
import { stateSchemas } from "./state.ts";
import { waitingSchemas } from "./waiting.ts";

const flag = z.stringbool();

/** The longest window of work, or of an intent's events. */
const WINDOW_SECONDS_MAX = 60;
/** Far from where a number is no whole number any more. */
const CURSOR_MAX = 1_000_000_000_000_000;

/** Of a text that is searched for. */
const SEARCH_MAX = 200;

const isObjectText = (value: unknown) =>
  value === undefined || (value instanceof RawJson && value.text.trimStart().startsWith("{"));

export function requestSchemas(limits: Limits) {
  const { name, key, text, address, attempt, instant, seconds, uuid, limit, seq } = pieces(limits);
  const waiting = waitingSchemas(limits);
  const onInterrupt = z.enum(ON_INTERRUPT);

  const retry = z
    .object({
      max_retries: z.int().min(0).max(1_000),
      initial_delay_ms: z.int().min(0).max(86_400_000).default(1_000),
      factor: z.number().min(1).max(100).default(2),
      max_delay_ms: z.int().min(0).max(604_800_000).default(300_000),
    })
    .transform((r) => ({
      maxRetries: r.max_retries,
      initialDelayMs: r.initial_delay_ms,
      factor: r.factor,
      maxDelayMs: r.max_delay_ms,
    }));

  const plan = z
    .array(
      z.union([
        key,
        z.object({
          key,
          title: text.optional(),
          on_interrupt: onInterrupt.optional(),
          timeout_seconds: seconds.optional(),
          retry: retry.optional(),
        }),
      ]),
    )
    .max(limits.stepsMax)
    .transform((steps) =>
      steps.map((step) =>
        typeof step === "string"
          ? { key: step, title: null, onInterrupt: null, timeoutMs: null, retry: null }
          : {
              key: step.key,
              title: step.title ?? null,
              onInterrupt: step.on_interrupt ?? null,
              timeoutMs: step.timeout_seconds === undefined ? null : Math.round(step.timeout_seconds * 1000),
              retry: step.retry ?? null,
            },
      ),
    )
    .refine((steps) => new Set(steps.map((step) => step.key)).size === steps.length, {
      error: "step keys must be different",
    });

  const failure = z.union([
    text.min(1).transform((message) => ({ code: "failed", message })),
    z
      .object({
        code: key.default("failed"),
        message: text.default("the handler failed"),
        details: raw(limits.resultMaxBytes, "details").optional(),
      })
      .transform(({ code, message, details }) => ({
        code,
        message,
        ...(details === undefined || details.text === "null" ? {} : { details }),
      })),
  ]);

  const create = z
    .object({
      intent_type: name,
      to_agent: address,
      payload: raw(limits.payloadMaxBytes, "payload").optional(),
      correlation_id: name.optional(),
      from_agent: address.optional(),
      reply_to: address.nullish(),
      deadline_at: instant.nullish(),
      ttl_seconds: seconds.nullish(),
      deliver_at: instant.nullish(),
      max_delivery_attempts: z.int().min(1).max(1_000).nullish(),
      attempt_timeout_seconds: seconds.nullish(),
      priority: z.int().min(-1_000_000).max(1_000_000).default(0),
      steps: plan.optional(),
      session: name.nullish(),
      parent_intent_id: uuid.nullish(),
      parent_attempt: attempt.nullish(),
      parent_step: key.nullish(),
      human_task: waiting.humanTask.nullish(),
      detached: z.boolean().default(false),
      retry: retry.nullish(),
      on_interrupt: onInterrupt.nullish(),
      retention: z
        .object({
          keep: z.union([z.enum(["all", "latest"]), z.int().min(1).max(1_000_000)]).nullish(),
          max_age_seconds: seconds.nullish(),
        })
        .nullish(),
      metadata: z.record(z.string().max(limits.keyMax), z.string().max(limits.textMax)).default({}),
    })
    .refine((body) => isObjectText(body.payload), { path: ["payload"], error: "must be a JSON object" })
    .refine(
      (body) => body.parent_intent_id != null || (body.parent_attempt == null && body.parent_step == null),
      {
        path: ["parent_intent_id"],
        error: "is needed with parent_attempt and parent_step",
      },
    )
    .refine((body) => body.human_task == null || body.steps === undefined || body.steps.length === 0, {
      path: ["steps"],
      error: "an intent is a person's task or has steps, not both",
    })
    .refine((body) => body.deadline_at == null || body.ttl_seconds == null, {
      path: ["ttl_seconds"],
      error: "give deadline_at or ttl_seconds, not both",
    })
    .refine((body) => JSON.stringify(body.metadata).length <= limits.metadataMaxBytes, {
      path: ["metadata"],
      error: `metadata is larger than ${limits.metadataMaxBytes} bytes`,
    });

  const statuses = z
    .string()
    .transform((list) =>
      list
        .split(",")
        .map((one) => one.trim())
        .filter((one) => one !== ""),
    )
    .pipe(z.array(z.enum(STATUSES)).min(1, { error: "is empty; name a status, or leave it out" }));
  const windowSeconds = z.coerce.number().min(1).max(WINDOW_SECONDS_MAX);
  const wait = z.coerce.number().min(0).max(WAIT_SECONDS_MAX).optional();
  const reason = text.min(1).nullish();

  return {
    params: {
      intent: z.object({ id: uuid }),
      step: z.object({ id: uuid, key }),
      consumer: z.object({ id: uuid }),
    },
    create,
    createBatch: z.object({ intents: z.array(create).min(1).max(limits.batchMax) }),
    batch: z.object({
      ops: z
        .array(
          z.object({
            op: z.string().max(limits.nameMax),
            intent_id: z.string().optional(),
            consumer_id: z.string().optional(),
            watcher: z.string().optional(),
            key: z.string().optional(),
            idempotency_key: z
              .string()
              .regex(/^[\x20-\x7e]+$/, { error: "must be printable ASCII characters" })
              .optional(),
            body: z.unknown().optional(),
          }),
        )
        .min(1)
        .max(limits.batchMax),
    }),
    waitQuery: z.object({ wait, owner_agent: address.optional() }),
    eventsQuery: z.object({
      since: seq.default(0),
      limit: limit.default(200),
      cursor: z.string().max(1_000).optional(),
    }),
    followQuery: z.object({ since: seq.optional(), wait_seconds: windowSeconds.optional() }),
    list: withFieldPrefix(
      z
        .object({
          status: statuses.optional(),
          to_agent: address.optional(),
          intent_type: name.optional(),
          session: name.optional(),
          parent_intent_id: uuid.optional(),
          code: key.optional(),
          created_from: instant.optional(),
          created_to: instant.optional(),
          id_tail: z
            .string()
            .min(6)
            .max(36)
            .regex(/^[0-9a-fA-F-]+$/)
            .optional(),
          paused: flag.optional(),
          text: text
            .min(1)
            .max(SEARCH_MAX)
            .refine((value) => !value.includes("\0"), { error: "must not contain NUL" })
            .optional(),
          order: z.enum(["newest", "oldest", ...SORT_ORDERS]).default("newest"),
          include: z.enum(["payload"]).optional(),
          limit: limit.default(50),
          cursor: z.string().max(1_000).optional(),
        })
        .catchall(text.refine((value) => !value.includes("\0"), { error: "must not contain NUL" })),
      "metadata.",
    ),
    start: z.object({
      attempt,
      steps: plan.nullish(),
      ack_only: z.boolean().default(false),
      begin_next: z.boolean().default(true),
      force: z.boolean().default(false),
    }),
    step: z.object({
      status: z.enum(["running", "done", "failed", "waiting"]),
      attempt,
      wait: waiting.wait.nullish(),
      input: raw(limits.payloadMaxBytes, "input").optional(),
      result: raw(limits.resultMaxBytes, "result").optional(),
      error: failure.optional(),
      retryable: z.boolean().default(true),
      on_interrupt: onInterrupt.optional(),
      timeout_seconds: seconds.optional(),
      retry: retry.optional(),
      begin_next: z.union([z.literal(true), z.literal(false), key]).nullish(),
      complete_intent: z.boolean().default(true),
      state: stateSchemas(limits).ofStep.nullish(),
    }),
    decide: z.object({
      done: raw(limits.resultMaxBytes, "done").optional(),
      retry: z.literal(true).optional(),
      fail: z.union([z.literal(true), failure]).optional(),
    }),
    release: z.object({ attempt, not_run: z.array(key).max(limits.stepsMax).default([]), reason: reason }),
    touch: z.object({ attempt }),
    progress: z.object({
      attempt,
      message: text.nullish(),
      percent: z.number().min(0).max(100).nullish(),
      data: raw(limits.resultMaxBytes, "data").optional(),
      output: z.string().max(limits.resultMaxBytes).nullish(),
      output_offset: z.int().min(0).nullish(),
    }),
    resolve: z.object({
      status: z.enum(["COMPLETED", "FAILED", "CANCELED"]),
      attempt: attempt.nullish(),
      result: raw(limits.resultMaxBytes, "result").optional(),
      error: failure.nullish(),
      reason,
      retryable: z.boolean().default(false),
      retry_after_seconds: z.number().min(0).max(SECONDS_MAX).nullish(),
      expected_policy_generation: z.int().min(0).nullish(),
      actor: text.nullish(),
    }),
    operate: z.object({ reason }),
    retry: z.object({ deadline_at: instant.nullish(), ttl_seconds: seconds.nullish(), reason }),
    deliveryQuery: z.object({ attempt: z.coerce.number().int().min(0).optional() }),
    agentStream: z.object({
      consumer: name.optional(),
      incarnation: name.optional(),
      capacity: z.coerce.number().int().min(1).max(limits.capacityMax).default(1),
      lease_ttl_seconds: z.coerce.number().min(1).max(86_400).optional(),
      intent_types: z
        .string()
        .max(limits.textMax)
        .transform((list) => list.split(",").filter((one) => one !== ""))
        .pipe(z.array(name).max(100))
        .optional(),
      ack: z.enum(["explicit"]).optional(),
      since: z.coerce.number().int().min(0).max(CURSOR_MAX).optional(),
      wait_seconds: windowSeconds.optional(),
      status: statuses.optional(),
      owner_agent: address.optional(),
    }),
    claim: z.object({
      consumer: name.optional(),
      incarnation: name.optional(),
      max: z.int().min(1).max(limits.capacityMax).default(1),
      wait_seconds: z.number().min(0).max(WAIT_SECONDS_MAX).default(0),
      lease_seconds: z.number().min(1).max(86_400).default(30),
      holding: z
        .array(z.object({ intent_id: uuid, attempt }))
        .max(limits.capacityMax)
        .default([]),
      intent_types: z.array(name).max(100).nullish(),
    }),
    heartbeat: z.object({
      incarnation: name.nullish(),
      holding: z
        .array(z.object({ intent_id: uuid, attempt }))
        .max(limits.capacityMax)
        .default([]),
      capacity: z.int().min(0).max(limits.capacityMax).nullish(),
    }),
    flag,
    ...waiting,
  };
}
export type RequestSchemas = ReturnType<typeof requestSchemas>;
export type CreateBody = z.output<RequestSchemas["create"]>;
