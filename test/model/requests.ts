// How operations are asked over HTTP, and what the server's answers mean in the words of the model.

import type { Answer } from "../support/server.ts";
import {
  type Asked,
  type CreateBody,
  type Model,
  type Op,
  RETRY_MS,
  type StateWrite,
  type Verdict,
  type WaitAsked,
} from "./shapes.ts";

export interface Request {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

/** Refusals and their status (WIRE.md section 1). */
const STATUS_OF: Readonly<Record<string, number>> = {
  not_a_child: 422,
  validation_failed: 422,
  duplicate_key: 422,
  step_not_found: 404,
  checkpoint_not_found: 404,
  parent_not_found: 404,
};

export const sharedScope = (run: string): string => `session:${run}`;
export const ownScope = (id: string): string => `intent:${id}`;

export function createBody(model: Model, body: CreateBody, prefix: string, now: number) {
  const { parent } = body;
  return {
    intent_type: "model.v1",
    to_agent: `${prefix}${body.address}`,
    payload: {},
    ...(body.humanTask
      ? { human_task: TASK }
      : { steps: Array.from({ length: body.steps }, (_, n) => `s${n + 1}`) }),
    priority: body.priority,
    max_delivery_attempts: body.maxDeliveries,
    on_interrupt: body.onInterrupt,
    ...(body.maxRetries === 0
      ? {}
      : { retry: { max_retries: body.maxRetries, initial_delay_ms: RETRY_MS, factor: 2 } }),
    ...(body.ttlMs === null ? {} : { ttl_seconds: body.ttlMs / 1000 }),
    ...(body.delayMs === null ? {} : { deliver_at: new Date(now + body.delayMs).toISOString() }),
    ...(body.attemptTimeoutMs === null ? {} : { attempt_timeout_seconds: body.attemptTimeoutMs / 1000 }),
    ...(parent === null
      ? {}
      : {
          parent_intent_id: model.intents[parent.of]?.id,
          detached: parent.detached,
          ...(parent.step === null ? {} : { parent_step: parent.step }),
        }),
  };
}

const TASK = { title: "Well?", allowed_outcomes: ["yes", "no"] };

type Sent = Asked | Extract<Op, { op: "share" }>;

export function requestOf(op: Sent, model: Model, run: string): Request {
  if (op.op === "share") return writeRequest(op.writes, run, null, null);
  const id = String(model.intents[op.i]?.id);
  const base = `/v1/intents/${id}`;
  const post = (verb: string, body: unknown) => ({ method: "POST", path: `${base}/${verb}`, body });
  const put = (key: string, body: unknown) => ({ method: "PUT", path: `${base}/steps/${key}`, body });
  switch (op.op) {
    case "start":
      return post("start", { attempt: op.attempt, begin_next: op.beginNext });
    case "running":
      return put(op.key, { status: "running", attempt: op.attempt });
    case "done":
      return put(op.key, {
        status: "done",
        attempt: op.attempt,
        result: op.result,
        begin_next: op.beginNext,
        ...(op.state.length === 0 ? {} : { state: op.state.map((one) => writeBody(one, run, id)) }),
      });
    case "failed":
      return put(op.key, {
        status: "failed",
        attempt: op.attempt,
        retryable: op.retryable,
        error: { code: "step_error", message: "step" },
      });
    case "wait":
      return put(op.key, { status: "waiting", attempt: op.attempt, wait: waitBody(op.wait, model) });
    case "complete":
      return post("resolve", { status: "COMPLETED", attempt: op.attempt, result: op.result });
    case "fail":
      return post("resolve", {
        status: "FAILED",
        attempt: op.attempt,
        retryable: op.retryable,
        error: { code: "handler_error", message: "handler" },
      });
    case "release":
      return post("release", { attempt: op.attempt, not_run: op.notRun });
    case "decide":
      return post(
        `steps/${op.key}/decide`,
        op.answer === "done" ? { done: "decided" } : { [op.answer]: true },
      );
    case "signal":
      return post(`signals/${op.name}`, { data: op.data });
    case "answer": {
      const { outcome, comment } = op.answer;
      const task_result = { outcome, ...(comment === null ? {} : { comment }) };
      return post("resume", { task_result, ...(op.key === null ? {} : { step: op.key }) });
    }
    case "write":
      return writeRequest(op.writes, run, id, op.attempt);
    case "checkpoint": {
      const body = op.attempt === null ? {} : { attempt: op.attempt };
      return { method: "PUT", path: `${base}/checkpoints/${op.name}`, body };
    }
    case "forget":
      return { method: "DELETE", path: `${base}/checkpoints/${op.name}`, body: undefined };
    case "restore":
      return post("restore", { to: op.to });
    default:
      return post(op.op, {});
  }
}

function waitBody(wait: WaitAsked, model: Model) {
  if (wait.kind === "time") return { seconds: wait.ms / 1000 };
  const timeout = wait.timeoutMs === null ? {} : { timeout_seconds: wait.timeoutMs / 1000 };
  if (wait.kind === "human") return { human_task: TASK, ...timeout };
  if (wait.kind === "signal") return { signal: wait.name, ...timeout };
  return { intents: wait.of.map((n) => model.intents[n]?.id), ...timeout };
}

const writeBody = ({ scope, key, value, ifVersion }: StateWrite, run: string, id: string | null) => ({
  scope: scope === "shared" ? sharedScope(run) : ownScope(String(id)),
  key,
  ...(value === null ? { delete: true } : { value: value.is }),
  ...(ifVersion === null ? {} : { if_version: ifVersion }),
});

/** One write by itself, or several as a batch. */
function writeRequest(
  writes: readonly StateWrite[],
  run: string,
  id: string | null,
  attempt: number | null,
): Request {
  const behalf = { ...(id === null ? {} : { intent_id: id }), ...(attempt === null ? {} : { attempt }) };
  const bodies = writes.map((one) => writeBody(one, run, id));
  const [first] = bodies;
  if (first === undefined || bodies.length > 1)
    return { method: "POST", path: "/v1/state/commit", body: { writes: bodies, ...behalf } };
  const { scope, key, delete: _, ...rest } = first as typeof first & { delete?: true };
  const method = writes[0]?.value === null ? "DELETE" : "PUT";
  return { method, path: `/v1/state/${encodeURIComponent(scope)}/${key}`, body: { ...rest, ...behalf } };
}

/** What was answered, as the model says it. */
export function verdictOf(op: Op, answer: Answer): Verdict {
  const { status, body } = answer;
  if (status !== 200) return refusalOf(answer);
  switch (op.op) {
    case "wait": {
      const { step, intent_status } = body;
      const result = step.status === "done" ? ` ${JSON.stringify(plain(step.result))}` : "";
      return `ok ${step.status}${result} ${intent_status}`;
    }
    case "signal":
      return `ok ${body.seq} ${body.delivered} ${body.status}`;
    case "answer":
      return body.applied ? "ok applied" : "ok again";
    case "checkpoint":
      return `ok ${body.checkpoint.seq} ${body.checkpoint.steps_done}${body.replayed ? " again" : ""}`;
    case "restore": {
      const { seq, kept, run_again, superseded } = body.restored;
      return `ok ${seq} ${[kept, run_again, superseded].map((keys: string[]) => [...keys].sort().join()).join(" ")}`;
    }
    case "write":
    case "share":
      return ["ok", ...writtenOf(body)].join(" ");
    default:
      return "ok";
  }
}

export function refusalOf({ status, body }: Answer): Verdict {
  const code = String(body.code);
  if (status !== (STATUS_OF[code] ?? 409))
    throw new Error(`the server answered ${status}: ${JSON.stringify(body)}`);
  return code;
}

export const scopeName = (scope: string): string => (scope.startsWith("session:") ? "shared" : "own");

interface Entry {
  readonly scope: string;
  readonly key: string;
  readonly version: number;
}

function writtenOf(body: { entry?: Entry | null; entries?: Entry[] }): string[] {
  const entries = body.entries ?? (body.entry == null ? [] : [body.entry]);
  return entries.map(({ scope, key, version }) => `${scopeName(scope)}/${key}@${version}`);
}

/** A result without what only the server can know: who decided and when, and an error's words. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name]) => name !== "decided_by" && name !== "decided_at")
      .map(([name, inner]) => [name, name === "error" ? (inner as { code: string }).code : plain(inner)]),
  );
}
