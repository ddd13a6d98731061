// The two tabs that tell the story of an intent: its steps and its log.

import { useMemo, useState } from "preact/hooks";
import { part, post } from "../api.ts";
import { clock, count, dateTime, duration, plural, preciseClock, words } from "../format.ts";
import { Badge, Empty } from "../parts/basics.tsx";
import { Json } from "../parts/json.tsx";
import { attempt } from "../parts/toasts.tsx";
import { hasEnded, type Intent, type IntentEvent, type Step } from "../wire.ts";
import { pathOf, RestoreDialog, type Restoring } from "./intent-verbs.tsx";

const STEP_TONES: Readonly<Record<Step["status"], string>> = {
  planned: "quiet",
  running: "active",
  done: "good",
  failed: "bad",
  interrupted: "warn",
  waiting: "waiting",
  superseded: "quiet",
};

function Decide({ intent, step, onDone }: { intent: Intent; step: Step; onDone: () => void }) {
  const [result, setResult] = useState("null");
  const settle = async (body: object | string) => {
    await attempt(`Step ${step.key} is settled`, () =>
      post(`${pathOf(intent.intent_id)}/steps/${part(step.key)}/decide`, body),
    );
    onDone();
  };
  const done = () => {
    try {
      JSON.parse(result);
      // As it was typed: every digit of it.
      return settle(`{"done":${result}}`);
    } catch {
      return attempt("", () => Promise.reject(new Error("The result is not JSON")));
    }
  };
  return (
    <div class="decide" role="group" aria-label={`Settle step ${step.key}`}>
      <p>
        It began and was never recorded. Look at the outside world (idempotency key{" "}
        <code>{step.idempotency_key}</code>), then say:
      </p>
      <div class="actions">
        <label class="field">
          <span class="label">Result</span>
          <input class="mono" value={result} onInput={(event) => setResult(event.currentTarget.value)} />
        </label>
        <button type="button" onClick={() => void done()}>
          It happened
        </button>
        <button type="button" onClick={() => void settle({ retry: true })}>
          Run it again
        </button>
        <button type="button" class="danger" onClick={() => void settle({ fail: true })}>
          Fail
        </button>
      </div>
    </div>
  );
}

export function Steps(props: {
  intent: Intent;
  steps: readonly Step[];
  events: readonly IntentEvent[];
  onDone: () => void;
}) {
  const { intent, steps, events, onDone } = props;
  const inputs = useMemo(
    () =>
      new Map(
        events
          .filter(
            ({ event_type, details }) => event_type === "intent.step_running" && details?.input !== undefined,
          )
          .map(({ details }) => [String(details?.key), details?.input]),
      ),
    [events],
  );
  if (steps.length === 0)
    return (
      <Empty title="No steps">
        {!hasEnded(intent.status) && <p class="faint">Its agent has not begun one yet.</p>}
      </Empty>
    );
  const waitsForDecision = intent.lifecycle_waiting_reason === "WAITING_FOR_HUMAN";
  return (
    <ol class="steps">
      {steps.map((step) => (
        <li key={step.key}>
          <details open={step.status === "failed" || (step.interrupted && waitsForDecision)}>
            <summary>
              <Badge tone={step.interrupted ? "warn" : STEP_TONES[step.status]}>
                {words(
                  step.interrupted && step.status !== "interrupted"
                    ? `${step.status}, in doubt`
                    : step.status,
                )}
              </Badge>
              <strong>
                <bdi>{step.title ?? step.key}</bdi>
              </strong>
              {step.title !== undefined && <span class="faint mono">{step.key}</span>}
              <span class="spring" />
              {step.tries > 1 && <span class="num">{plural(step.tries, "try", "tries")}</span>}
              <span class="num faint">
                {step.duration_ms === undefined ? "" : duration(step.duration_ms)}
              </span>
              <span class="num faint">{step.started_at === undefined ? "" : clock(step.started_at)}</span>
            </summary>
            {step.interrupted && waitsForDecision && <Decide intent={intent} step={step} onDone={onDone} />}
            <div class="step-data">
              {inputs.has(step.key) && <Json label="Input" value={inputs.get(step.key)} />}
              {step.wait !== undefined && <Json label="Waits for" value={step.wait} />}
              {step.error !== undefined && <Json label="Error" value={step.error} />}
              {step.result !== undefined && <Json label="Result" value={step.result} />}
              <p class="faint">
                Idempotency key <code>{step.idempotency_key}</code>
                {step.on_interrupt === undefined ? "" : ` · when interrupted: ${step.on_interrupt}`}
              </p>
            </div>
          </details>
        </li>
      ))}
    </ol>
  );
}

const LOUD = /lost|interrupted|failed|refused|timed_out|delivery_failed|canceled/;
const GOOD = /step_done|completed|resumed/;
const EVENTS_SHOWN = 300;

function brief(details: IntentEvent["details"]): string {
  return Object.entries(details ?? {})
    .filter(([, one]) => typeof one === "string" || typeof one === "number" || typeof one === "boolean")
    .map(([name, one]) => `${name} ${String(one).slice(0, 120)}`)
    .join(" · ");
}

export function Events(props: {
  intent: Intent;
  events: readonly IntentEvent[];
  complete: boolean;
  onDone: () => void;
}) {
  const { intent, events, complete, onDone } = props;
  const [shown, setShown] = useState(EVENTS_SHOWN);
  const [restoring, setRestoring] = useState<Restoring | null>(null);
  const latest = useMemo(() => [...events].reverse(), [events]);
  return (
    <>
      {!complete && events.length > 0 && (
        <p class="notice">The log is longer than is shown here: {count(intent.seq)} entries.</p>
      )}
      <ol class="events" reversed>
        {latest.slice(0, shown).map((event) => (
          <li
            key={event.seq}
            class={LOUD.test(event.event_type) ? "loud" : GOOD.test(event.event_type) ? "good" : ""}
          >
            <details>
              <summary>
                <span class="num faint seq">{event.seq}</span>
                <time dateTime={event.at} class="num faint" title={dateTime(event.at)}>
                  {preciseClock(event.at)}
                </time>
                <strong>{words(event.event_type)}</strong>
                <span class="brief" dir="auto">
                  {brief(event.details)}
                </span>
              </summary>
              <p class="faint">
                By <bdi>{event.actor}</bdi>
                {event.attempt === null ? "" : `, attempt ${event.attempt}`}, status then{" "}
                {words(event.status)}{" "}
                <button type="button" class="small" onClick={() => setRestoring({ to: event.seq })}>
                  Restore to here…
                </button>
              </p>
              {event.details !== null && <Json label="Details" value={event.details} />}
            </details>
          </li>
        ))}
      </ol>
      {latest.length > shown && (
        <button type="button" onClick={() => setShown(shown + EVENTS_SHOWN)}>
          Show {count(Math.min(EVENTS_SHOWN, latest.length - shown))} older
        </button>
      )}
      {restoring !== null && (
        <RestoreDialog intent={intent} to={restoring.to} onClose={() => setRestoring(null)} onDone={onDone} />
      )}
    </>
  );
}
