// What is known of an intent, tab by tab. Each reads what it shows when it is looked at.

import { useMemo, useState } from "preact/hooks";
import { call, get, part, post, query } from "../api.ts";
import { clock, count, dateTime, duration, plural, preciseClock, shortId, words } from "../format.ts";
import { useEvery, useResource } from "../hooks.ts";
import { Badge, CopyButton, Empty, Failure, IntentLink, Loading, ProgressBar, StatusBadge } from "../parts/basics.tsx";
import { Json } from "../parts/json.tsx";
import { attempt } from "../parts/toasts.tsx";
import { href } from "../route.ts";
import { hasEnded, type Intent, type IntentEvent, type IntentRow, type Step } from "../wire.ts";
import { curlOf, sdkOf } from "../snippets.ts";
import { pathOf, RestoreDialog, type Restoring } from "./intent-verbs.tsx";
import { StateDiff } from "./state-diff.tsx";

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
  const settle = async (body: object) => {
    await attempt(`Step ${step.key} is settled`, () =>
      post(`${pathOf(intent.intent_id)}/steps/${part(step.key)}/decide`, body),
    );
    onDone();
  };
  const done = () => {
    try {
      return settle({ done: JSON.parse(result) });
    } catch {
      return attempt("", () => Promise.reject(new Error("The result is not JSON")));
    }
  };
  return (
    <div class="decide" role="group" aria-label={`Settle step ${step.key}`}>
      <p>
        It began and was never recorded. Look at the outside world (idempotency key <code>{step.idempotency_key}</code>), then say:
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

export function Steps(props: { intent: Intent; steps: readonly Step[]; events: readonly IntentEvent[]; onDone: () => void }) {
  const { intent, steps, events, onDone } = props;
  const inputs = useMemo(
    () =>
      new Map(
        events
          .filter(({ event_type, details }) => event_type === "intent.step_running" && details?.input !== undefined)
          .map(({ details }) => [String(details?.key), details?.input]),
      ),
    [events],
  );
  if (steps.length === 0)
    return <Empty title="No steps">{!hasEnded(intent.status) && <p class="faint">Its agent has not begun one yet.</p>}</Empty>;
  const waitsForDecision = intent.lifecycle_waiting_reason === "WAITING_FOR_HUMAN";
  return (
    <ol class="steps">
      {steps.map((step) => (
        <li key={step.key}>
          <details open={step.status === "failed" || (step.interrupted && waitsForDecision)}>
            <summary>
              <Badge tone={step.interrupted ? "warn" : STEP_TONES[step.status]}>
                {words(step.interrupted && step.status !== "interrupted" ? `${step.status}, in doubt` : step.status)}
              </Badge>
              <strong>
                <bdi>{step.title ?? step.key}</bdi>
              </strong>
              {step.title !== undefined && <span class="faint mono">{step.key}</span>}
              <span class="spring" />
              {step.tries > 1 && <span class="num">{plural(step.tries, "try", "tries")}</span>}
              <span class="num faint">{step.duration_ms === undefined ? "" : duration(step.duration_ms)}</span>
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

export function Events(props: { intent: Intent; events: readonly IntentEvent[]; complete: boolean; onDone: () => void }) {
  const { intent, events, complete, onDone } = props;
  const [shown, setShown] = useState(EVENTS_SHOWN);
  const [restoring, setRestoring] = useState<Restoring | null>(null);
  const latest = useMemo(() => [...events].reverse(), [events]);
  return (
    <>
      {!complete && events.length > 0 && <p class="notice">The log is longer than is shown here: {count(intent.seq)} entries.</p>}
      <ol class="events" reversed>
        {latest.slice(0, shown).map((event) => (
          <li key={event.seq} class={LOUD.test(event.event_type) ? "loud" : GOOD.test(event.event_type) ? "good" : ""}>
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
                {event.attempt === null ? "" : `, attempt ${event.attempt}`}, status then {words(event.status)}{" "}
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

export function Data({ intent }: { intent: Intent }) {
  return (
    <div class="columns">
      <Json label="Payload" value={intent.payload ?? {}} />
      {intent.error === null ? (
        <Json label="Result" value={intent.result} />
      ) : (
        <Json label="Error" value={intent.error} />
      )}
    </div>
  );
}

export interface Entry {
  readonly key: string;
  readonly version: number;
  readonly value?: unknown;
  readonly deleted?: boolean;
  readonly updated_at?: string;
}

export function StateTab({ id, turns }: { id: string; turns: number }) {
  const scope = part(`intent:${id}`);
  const entries = useResource<{ entries: readonly Entry[] }>(`state ${id} ${turns}`, (signal) =>
    get(`/v1/state/${scope}?limit=200`, signal),
  );
  const [open, setOpen] = useState<string | null>(null);
  if (entries.error !== undefined) return <Failure error={entries.error} retry={entries.refresh} />;
  if (entries.data === undefined) return <Loading />;
  if (entries.data.entries.length === 0)
    return <Empty title="No state of its own">Agents write it with ctx.state.</Empty>;
  return (
    <ul class="plain">
      {entries.data.entries.map((entry) => (
        <li key={entry.key} class="card">
          <div class="card-head">
            <strong class="mono">
              <bdi>{entry.key}</bdi>
            </strong>
            <span class="faint">version {entry.version}</span>
            <span class="spring" />
            <button
              type="button"
              class="small"
              aria-expanded={open === entry.key}
              onClick={() => setOpen(open === entry.key ? null : entry.key)}
            >
              History and diff
            </button>
          </div>
          <Json label="Value" value={entry.value} />
          {open === entry.key && <StateDiff scope={scope} entryKey={entry.key} version={entry.version} />}
        </li>
      ))}
    </ul>
  );
}

interface Checkpoint {
  readonly name: string;
  readonly seq: number;
  readonly created_at: string;
  readonly steps_done?: number;
}

export function Checkpoints({ intent, turns, onDone }: { intent: Intent; turns: number; onDone: () => void }) {
  const id = intent.intent_id;
  const list = useResource<{ checkpoints: readonly Checkpoint[] }>(`checkpoints ${id} ${turns}`, (signal) =>
    get(`${pathOf(id)}/checkpoints`, signal),
  );
  const [name, setName] = useState("");
  const [restoring, setRestoring] = useState<Restoring | null>(null);
  const save = async (event: Event) => {
    event.preventDefault();
    if (await attempt(`Checkpoint ${name}`, () => call("PUT", `${pathOf(id)}/checkpoints/${part(name)}`, { body: {} }))) setName("");
    list.refresh();
    onDone();
  };
  if (list.error !== undefined) return <Failure error={list.error} retry={list.refresh} />;
  if (list.data === undefined) return <Loading />;
  return (
    <>
      <form class="inline" onSubmit={(event) => void save(event)}>
        <label class="field">
          <span class="label">Name this moment</span>
          <input value={name} required maxLength={200} onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <button type="submit">Save checkpoint</button>
      </form>
      {list.data.checkpoints.length === 0 ? (
        <Empty title="No checkpoints">Every entry of the log can be restored to as well: see Events.</Empty>
      ) : (
        <ul class="plain">
          {list.data.checkpoints.map((one) => (
            <li key={one.name} class="card">
              <div class="card-head">
                <strong>
                  <bdi>{one.name}</bdi>
                </strong>
                <span class="faint">
                  entry {one.seq} · {dateTime(one.created_at)}
                </span>
                <span class="spring" />
                <button type="button" class="small" onClick={() => setRestoring({ to: one.name })}>
                  Restore…
                </button>
              </div>
            </li>
          ))}
        </ul>
      )}
      {restoring !== null && (
        <RestoreDialog intent={intent} to={restoring.to} onClose={() => setRestoring(null)} onDone={onDone} />
      )}
    </>
  );
}

const CHILDREN_MS = 3_000;

export function Children({ id, turns }: { id: string; turns: number }) {
  const list = useResource<{ intents: readonly IntentRow[]; next_cursor: string | null }>(
    `children ${id} ${turns}`,
    (signal) => get(`/v1/intents${query({ parent_intent_id: id, limit: 100 })}`, signal),
  );
  useEvery(CHILDREN_MS, list.refresh);
  if (list.error !== undefined) return <Failure error={list.error} retry={list.refresh} />;
  if (list.data === undefined) return <Loading />;
  if (list.data.intents.length === 0) return <Empty title="No children" />;
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Status</th>
          <th scope="col">Type</th>
          <th scope="col">Id</th>
          <th scope="col">Progress</th>
        </tr>
      </thead>
      <tbody>
        {list.data.intents.map((row) => (
          <tr key={row.intent_id}>
            <td>
              <StatusBadge status={row.status} paused={row.paused} />
            </td>
            <td>
              <a href={href(["intents", row.intent_id])}>
                <bdi>{row.intent_type}</bdi>
              </a>
            </td>
            <td>
              <IntentLink id={row.intent_id}>{shortId(row.intent_id)}</IntentLink>
            </td>
            <td>
              <ProgressBar progress={row.progress} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export function Code({ intent, steps }: { intent: Intent; steps: readonly Step[] }) {
  const snippets = [
    { label: "Send it again with curl", text: curlOf(intent, steps) },
    { label: "Send it again with the SDK", text: sdkOf(intent, steps) },
    { label: "Follow it", text: `perdure tail ${intent.intent_id}` },
  ];
  return (
    <>
      {snippets.map(({ label, text }) => (
        <div class="json" key={label}>
          <div class="json-head">
            <span class="label">{label}</span>
            <span class="spring" />
            <CopyButton text={text} />
          </div>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by the keyboard */}
          <pre tabIndex={0} role="region" aria-label={label}>
            {text}
          </pre>
        </div>
      ))}
    </>
  );
}
