// What else is known of an intent, tab by tab. Each reads what it shows when it is looked at.

import { useState } from "preact/hooks";
import { call, get, part, query } from "../api.ts";
import { dateTime, shortId } from "../format.ts";
import { useEvery, useResource } from "../hooks.ts";
import { Empty, Failure, IntentLink, Loading, ProgressBar, StatusBadge } from "../parts/basics.tsx";
import { Json, LongText } from "../parts/json.tsx";
import { attempt } from "../parts/toasts.tsx";
import { href } from "../route.ts";
import { curlOf, sdkOf } from "../snippets.ts";
import type { Intent, IntentRow, Step } from "../wire.ts";
import { pathOf, RestoreDialog, type Restoring } from "./intent-verbs.tsx";
import { StateDiff } from "./state-diff.tsx";

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

interface Entry {
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

export function Checkpoints({
  intent,
  turns,
  onDone,
}: {
  intent: Intent;
  turns: number;
  onDone: () => void;
}) {
  const id = intent.intent_id;
  const list = useResource<{ checkpoints: readonly Checkpoint[] }>(`checkpoints ${id} ${turns}`, (signal) =>
    get(`${pathOf(id)}/checkpoints`, signal),
  );
  const [name, setName] = useState("");
  const [restoring, setRestoring] = useState<Restoring | null>(null);
  const save = async (event: Event) => {
    event.preventDefault();
    if (
      await attempt(`Checkpoint ${name}`, () =>
        call("PUT", `${pathOf(id)}/checkpoints/${part(name)}`, { body: {} }),
      )
    )
      setName("");
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
          <input
            value={name}
            required
            maxLength={200}
            onInput={(event) => setName(event.currentTarget.value)}
          />
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
const CHILDREN_SHOWN = 100;

export function Children({ id, turns }: { id: string; turns: number }) {
  const list = useResource<{ intents: readonly IntentRow[]; next_cursor: string | null }>(
    `children ${id} ${turns}`,
    (signal) => get(`/v1/intents${query({ parent_intent_id: id, limit: CHILDREN_SHOWN })}`, signal),
  );
  useEvery(CHILDREN_MS, list.refresh);
  if (list.error !== undefined) return <Failure error={list.error} retry={list.refresh} />;
  if (list.data === undefined) return <Loading />;
  if (list.data.intents.length === 0) return <Empty title="No children" />;
  return (
    <>
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
      {list.data.next_cursor !== null && (
        <p class="faint">These are the newest {CHILDREN_SHOWN}; there are more.</p>
      )}
    </>
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
        <LongText key={label} label={label} text={text} />
      ))}
    </>
  );
}
