// The forms of a resume, in the order in which they are judged: a person's decision, a plain "go on", an end that says so,
// and a bare object, which is the result. An AXP client may name the members of its result as it likes, so that a name means
// something only in the form that knows it.

import { z } from "zod";
import { RawJson } from "../../domain/raw-json.ts";
import { withFieldPrefix } from "../fields.ts";
import type { Limits } from "../limits.ts";
import { pieces, raw } from "./pieces.ts";

/** Members that say how to go on, and nothing that could be a result. */
const CONTROLS: ReadonlySet<string> = new Set([
  "approve_current_step",
  "actor",
  "reason",
  "policy",
  "step",
  "next_handler",
  "owner_agent",
  "attempt",
  "expected_policy_generation",
]);

const ENDS = { complete: "COMPLETED", fail: "FAILED" } as const;

interface Guard {
  /** The caller's attempt at the intent; null for clients that know none. */
  readonly attempt: number | null;
  readonly expectedGeneration: number | null;
}

export type ResumeForm = Guard &
  (
    | {
        readonly form: "decision";
        readonly step: string | null;
        readonly outcome: string;
        readonly comment: string | null;
        readonly data: RawJson | null;
      }
    | { readonly form: "go_on"; readonly step: string | null; readonly reason: string | null }
    | {
        readonly form: "end";
        readonly status: "COMPLETED" | "FAILED";
        /** Members that are no part of the result. */
        readonly strip: readonly string[];
      }
  );

type Members = Readonly<Record<string, unknown>>;

export function resumeSchema(limits: Limits) {
  const { name, key, text, attempt } = pieces(limits);
  const taskResult = withFieldPrefix(
    z
      .object({
        outcome: name,
        comment: text.nullish(),
        data: raw(limits.resultMaxBytes, "data").optional(),
      })
      .catchall(z.unknown()),
    "",
  );
  const decision = z.object({ task_result: taskResult, step: key.nullish() });
  const goOn = z.object({ reason: text.nullish(), actor: text.nullish(), step: key.nullish() });
  const generation = z.int().min(0);

  const body = withFieldPrefix(
    z
      .object({
        task_result: z.unknown().optional().describe("A person's decision: {outcome, comment, data}"),
        step: z.unknown().optional().describe("Which of its waits, if there are several"),
        approve_current_step: z.unknown().optional().describe("true: whatever it waits for counts as there"),
        action: z.unknown().optional().describe("complete or fail: the rest is the result or the error"),
        attempt: z.unknown().optional().describe("The caller's attempt, when it knows one"),
        expected_policy_generation: z.unknown().optional().describe("Compare and set"),
        reason: z.unknown().optional(),
        actor: z.unknown().optional(),
      })
      .catchall(z.unknown())
      .describe("Anything else is the final result"),
    "",
  );

  return body.transform((given, context): ResumeForm => {
    const members: Members = Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    );
    const guard: Guard = {
      attempt: attempt.safeParse(members.attempt).data ?? null,
      expectedGeneration: generation.safeParse(members.expected_policy_generation).data ?? null,
    };
    const refuse = (issues: readonly z.core.$ZodIssue[]) => {
      for (const issue of issues)
        context.addIssue({ code: "custom", path: [...issue.path], message: issue.message });
      return z.NEVER;
    };
    if (members.task_result != null) {
      const parsed = decision.safeParse(members);
      if (!parsed.success) return refuse(parsed.error.issues);
      const { task_result, step } = parsed.data;
      const { outcome, comment, data, ...fields } = task_result;
      return {
        ...guard,
        form: "decision",
        step: step ?? null,
        outcome,
        comment: comment ?? null,
        data: dataOf(data, fields),
      };
    }
    if (members.approve_current_step === true || Object.keys(members).every((one) => CONTROLS.has(one))) {
      if (members.approve_current_step === false) {
        const message = "to decline, send task_result with an outcome such as rejected";
        context.addIssue({ code: "custom", path: ["approve_current_step"], message });
        return z.NEVER;
      }
      const parsed = goOn.safeParse(members);
      if (!parsed.success) return refuse(parsed.error.issues);
      return {
        ...guard,
        form: "go_on",
        step: parsed.data.step ?? null,
        reason: parsed.data.reason ?? null,
      };
    }
    const ends = members.action === "complete" || members.action === "fail" ? members.action : null;
    const strip = [
      ...(ends === null ? [] : ["action"]),
      ...(guard.attempt === null ? [] : ["attempt"]),
      ...(guard.expectedGeneration === null ? [] : ["expected_policy_generation"]),
    ];
    return { ...guard, form: "end", status: ENDS[ends ?? "complete"], strip };
  });
}

/** A command line puts a form's fields beside the outcome. */
function dataOf(data: RawJson | undefined, fields: Members): RawJson | null {
  if (data !== undefined && data.text !== "null") return data;
  return Object.keys(fields).length === 0 ? null : RawJson.of(fields);
}
