// What people are asked. A decision takes two clicks: an outcome, and yes.

import { useState } from "preact/hooks";
import { get, keyChanges, part, post } from "../api.ts";
import { duration, words } from "../format.ts";
import { useFeed, useNow, useResource } from "../hooks.ts";
import { Badge, Empty, Failure, IntentLink, Loading, PageHead } from "../parts/basics.tsx";
import { attempt } from "../parts/toasts.tsx";
import { useValue } from "../store.ts";
import type { Task } from "../wire.ts";
import { type Answers, answersOf, FormFields, fieldsOf } from "./task-form.tsx";

const REREAD_MS = 500;

/** In doubt: the step itself is settled. Else the person's decision. */
function send(task: Task, outcome: string, comment: string, data: Record<string, unknown>): Promise<unknown> {
  const path = `/v1/intents/${part(task.intent_id)}`;
  if (task.human_task.task_type === "in_doubt") {
    const body = outcome === "done" ? { done: null } : outcome === "retry" ? { retry: true } : { fail: true };
    return post(`${path}/steps/${part(task.step)}/decide`, body);
  }
  return post(`${path}/resume`, {
    step: task.step,
    task_result: {
      outcome,
      ...(comment === "" ? {} : { comment }),
      ...(Object.keys(data).length === 0 ? {} : { data }),
    },
  });
}

function TaskCard({ task, now, onDone }: { task: Task; now: number; onDone: () => void }) {
  const { human_task: asked } = task;
  const fields = fieldsOf(asked.form_schema);
  const [chosen, choose] = useState<string | null>(null);
  const [comment, setComment] = useState("");
  const [answers, setAnswers] = useState<Answers>({});
  const [busy, setBusy] = useState(false);
  const name = asked.title ?? `${task.intent_type}: ${task.step}`;
  const decide = async () => {
    if (chosen === null) return;
    setBusy(true);
    await attempt(`${words(chosen)}: ${name}`, () => send(task, chosen, comment, answersOf(fields, answers)));
    setBusy(false);
    onDone();
  };
  const wantsComment = asked.required_comment === true;
  const missing =
    (wantsComment && comment.trim() === "") ||
    fields.some((field) => field.required && (answers[field.name] ?? "") === "");
  const due = task.due_at === null ? null : Date.parse(task.due_at) - now;
  return (
    <li class="card task">
      <div class="card-head">
        <h2>
          <bdi>{name}</bdi>
        </h2>
        {asked.task_type === "in_doubt" && <Badge tone="warn">In doubt</Badge>}
        <span class="spring" />
        {due !== null && (
          <Badge tone={due < 0 ? "bad" : "waiting"}>{due < 0 ? "overdue" : `due in ${duration(due)}`}</Badge>
        )}
        <span class="faint">asked {duration(Math.max(0, now - Date.parse(task.assigned_at)))} ago</span>
      </div>
      {asked.description !== undefined && (
        <p class="description" dir="auto">
          {asked.description}
        </p>
      )}
      <p class="faint">
        <bdi>{task.intent_type}</bdi> <IntentLink id={task.intent_id} /> · from <bdi>{task.from_agent}</bdi>
        {(asked.assignees ?? []).length > 0 && (
          <>
            {" "}
            · for <bdi>{(asked.assignees ?? []).join(", ")}</bdi>
          </>
        )}
      </p>
      <FormFields
        fields={fields}
        answers={answers}
        onChange={setAnswers}
        id={`${task.intent_id} ${task.step}`}
      />
      {asked.task_type !== "in_doubt" && (
        <label class="field wide">
          <span class="label">Comment{wantsComment ? " (required)" : ""}</span>
          <textarea
            rows={2}
            maxLength={2_000}
            value={comment}
            onInput={(event) => setComment(event.currentTarget.value)}
          />
        </label>
      )}
      <div class="actions">
        {(asked.allowed_outcomes ?? []).map((outcome) => (
          <button
            type="button"
            key={outcome}
            aria-pressed={chosen === outcome}
            onClick={() => choose(outcome)}
          >
            <bdi>{words(outcome)}</bdi>
          </button>
        ))}
        {chosen !== null && (
          <button type="button" class="primary" disabled={busy || missing} onClick={() => void decide()}>
            Confirm: <bdi>{words(chosen)}</bdi>
          </button>
        )}
        {chosen !== null && missing && <span class="faint">Something that is required is missing.</span>}
      </div>
    </li>
  );
}

export function Approvals() {
  const now = useNow();
  const tasks = useResource<{ tasks: readonly Task[]; next_cursor: string | null }>(
    `tasks ${useValue(keyChanges)}`,
    (signal) => get("/v1/me/tasks?limit=100", signal),
    REREAD_MS,
  );
  useFeed(tasks.refresh, tasks.refresh);
  return (
    <div class="page narrow">
      <PageHead title="Approvals" />
      {tasks.error !== undefined && <Failure error={tasks.error} retry={tasks.refresh} />}
      {tasks.data === undefined && tasks.error === undefined && <Loading />}
      {tasks.data?.tasks.length === 0 && (
        <Empty title="Nobody is asked anything">
          Tasks of agents that wait for a person appear here by themselves.
        </Empty>
      )}
      <ul class="plain">
        {tasks.data?.tasks.map((task) => (
          <TaskCard
            key={`${task.intent_id} ${task.step} ${task.assigned_at}`}
            task={task}
            now={now}
            onDone={tasks.refresh}
          />
        ))}
      </ul>
      {tasks.data?.next_cursor != null && <p class="faint">There are more: these have waited longest.</p>}
    </div>
  );
}
