// A task for a person: what may be answered, and whether an answer is one.

import { Refusal } from "./refusal.ts";

export interface HumanTask {
  readonly title: string;
  readonly description: string | null;
  readonly taskType: string | null;
  readonly allowedOutcomes: readonly string[];
  readonly requiredComment: boolean;
  readonly assignees: readonly string[];
  /** A JSON Schema object; `required`, and the `type` and `enum` of properties, are checked. */
  readonly formSchema: Readonly<Record<string, unknown>> | null;
  readonly remindAfterMs: number | null;
  readonly remindIntervalMs: number | null;
  readonly maxReminders: number;
  readonly escalateTo: string | null;
}

export interface HumanDecision {
  readonly outcome: string;
  readonly comment: string | null;
  /** As JavaScript sees it: for checking. */
  readonly data: unknown;
}

interface Problem {
  readonly pointer: string;
  readonly detail: string;
}

/** Throws `validation_failed` with a problem for each place that is wrong. */
export function checkDecision(task: HumanTask, decision: HumanDecision): void {
  const problems: Problem[] = [];
  if (!task.allowedOutcomes.includes(decision.outcome)) {
    const detail = `must be one of ${task.allowedOutcomes.map((one) => JSON.stringify(one)).join(", ")}`;
    problems.push({ pointer: "/task_result/outcome", detail });
  }
  if (task.requiredComment && (decision.comment ?? "").trim() === "")
    problems.push({ pointer: "/task_result/comment", detail: "this task asks for a comment" });
  if (task.formSchema !== null) problems.push(...checkForm(task.formSchema, decision));
  if (problems.length === 0) return;
  const text = problems.map(({ pointer, detail }) => `${pointer}: ${detail}`).join("; ");
  throw new Refusal("validation_failed", text, { errors: problems });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Forms of AXP also name what stands beside the data: the outcome and the comment. */
function checkForm(schema: Readonly<Record<string, unknown>>, decision: HumanDecision): Problem[] {
  const at = "/task_result/data";
  const { data } = decision;
  const beside = new Set(["outcome", ...(decision.comment === null ? [] : ["comment"])]);
  const required = Array.isArray(schema.required)
    ? schema.required.filter((one): one is string => typeof one === "string" && !beside.has(one))
    : [];
  if (data === undefined || data === null) {
    if (required.length === 0) return [];
    return [{ pointer: at, detail: `this task's form asks for ${required.join(", ")}` }];
  }
  if (!isObject(data)) return [{ pointer: at, detail: "must be an object, by this task's form" }];
  const missing = required.filter((name) => !Object.hasOwn(data, name));
  const problems = missing.map((name) => ({
    pointer: `${at}/${name}`,
    detail: "is required by this task's form",
  }));
  const properties = isObject(schema.properties) ? schema.properties : {};
  for (const [name, rule] of Object.entries(properties)) {
    if (!Object.hasOwn(data, name) || !isObject(rule)) continue;
    const detail = checkValue(rule, data[name]);
    if (detail !== null) problems.push({ pointer: `${at}/${name}`, detail });
  }
  return problems;
}

function checkValue(rule: Record<string, unknown>, value: unknown): string | null {
  const types = [rule.type].flat().filter((one): one is string => typeof one === "string");
  if (types.length > 0 && !types.some((type) => isOfType(type, value)))
    return `must be of type ${types.join(" or ")}`;
  if (Array.isArray(rule.enum) && !rule.enum.some((one) => JSON.stringify(one) === JSON.stringify(value)))
    return `must be one of ${JSON.stringify(rule.enum)}`;
  return null;
}

function isOfType(type: string, value: unknown): boolean {
  switch (type) {
    case "object":
      return isObject(value);
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    default:
      return typeof value === type;
  }
}
