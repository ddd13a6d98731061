// The shapes of waiting: what a step may wait for, a person's task and decision, signals, checkpoints, sessions.

import { z } from "zod";
import type { HumanTask } from "../../domain/human-task.ts";
import type { WaitRequest } from "../../domain/wait.ts";
import type { Limits } from "../limits.ts";
import { pieces, raw } from "./pieces.ts";

const OUTCOMES = ["approved", "rejected"] as const;
const REMINDERS_MAX = 100;
const FORM_MAX_BYTES = 64 * 1024;

const ms = (seconds: number | null | undefined): number | null =>
  seconds == null ? null : Math.round(seconds * 1000);

export function waitingSchemas(limits: Limits) {
  const { name, text, address, attempt, instant, seconds, uuid, limit, seq } = pieces(limits);
  const cursor = z.string().max(4_000).optional();
  const reason = text.min(1).nullish();

  const humanTask = z
    .object({
      title: name,
      description: text.nullish(),
      task_type: name.nullish(),
      allowed_outcomes: z
        .array(name)
        .min(1)
        .max(50)
        .default([...OUTCOMES]),
      required_comment: z.boolean().default(false),
      assignees: z.array(address).max(50).default([]),
      form_schema: z
        .record(z.string(), z.unknown())
        .refine((value) => JSON.stringify(value).length <= FORM_MAX_BYTES, {
          error: `is larger than ${FORM_MAX_BYTES} bytes`,
        })
        .nullish(),
      remind_after_seconds: seconds.nullish(),
      remind_interval_seconds: seconds.nullish(),
      max_reminders: z.int().min(0).max(REMINDERS_MAX).nullish(),
      escalate_to: address.nullish(),
    })
    .transform(
      (task): HumanTask => ({
        title: task.title,
        description: task.description ?? null,
        taskType: task.task_type ?? null,
        allowedOutcomes: task.allowed_outcomes,
        requiredComment: task.required_comment,
        assignees: task.assignees,
        formSchema: task.form_schema ?? null,
        remindAfterMs: ms(task.remind_after_seconds),
        remindIntervalMs: ms(task.remind_interval_seconds),
        maxReminders: task.max_reminders ?? (task.remind_after_seconds == null ? 0 : 1),
        escalateTo: task.escalate_to ?? null,
      }),
    );

  const wait = z
    .object({
      signal: name.optional(),
      seconds: z.number().min(0).max(315_360_000).optional(),
      until: instant.optional(),
      intents: z.array(uuid).min(1).max(limits.batchMax).optional(),
      human_task: humanTask.optional(),
      timeout_seconds: seconds.nullish(),
    })
    .transform((given, context): WaitRequest => {
      const { signal, until, intents, human_task } = given;
      const kinds = [signal, given.seconds, until, intents, human_task].filter((one) => one !== undefined);
      if (kinds.length !== 1) {
        context.addIssue({
          code: "custom",
          message: "give exactly one of signal, seconds, until, intents and human_task",
        });
        return z.NEVER;
      }
      const timeoutMs = ms(given.timeout_seconds);
      if (signal !== undefined) return { kind: "signal", name: signal, timeoutMs };
      if (human_task !== undefined) return { kind: "human", task: human_task, timeoutMs };
      if (intents !== undefined) return { kind: "intents", ids: [...new Set(intents)], timeoutMs };
      return { kind: "time", until: until ?? null, delayMs: ms(given.seconds) };
    });

  return {
    humanTask,
    wait,
    signalParams: z.object({ id: uuid, name }),
    signal: z.object({ data: raw(limits.payloadMaxBytes, "data").optional() }),
    tasks: z.object({ assignee: address.optional(), limit: limit.default(50), cursor }),
    checkpointParams: z.object({
      id: uuid,
      // A number is a log entry to whoever restores.
      name: name.regex(/[^0-9]/, { error: "must not be a number; that is a place in the log already" }),
    }),
    checkpoint: z.object({
      attempt: attempt.nullish(),
      metadata: z
        .record(z.string().max(limits.keyMax), z.string().max(limits.textMax))
        .refine((value) => JSON.stringify(value).length <= limits.metadataMaxBytes, {
          error: `is larger than ${limits.metadataMaxBytes} bytes`,
        })
        .default({}),
    }),
    restore: z.object({ to: z.union([z.int().min(0).max(2_147_483_647), name]), reason }),
    stepsQuery: z.object({ seq: seq.optional() }),
    sessionParams: z.object({ name }),
    sessions: z.object({ limit: limit.default(50), cursor }),
    sessionVerb: z.object({ reason }),
    idleSessions: z.object({ older_than_seconds: z.coerce.number().min(1).max(3_153_600_000) }),
  };
}
export type WaitingSchemas = ReturnType<typeof waitingSchemas>;
