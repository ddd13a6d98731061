// One intent: how it stands, what happens next, its timeline, and everything that is known of it.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { get, keyChanges, part } from "../api.ts";
import { dateTime, duration, words } from "../format.ts";
import { useFeed, useNow, useResource } from "../hooks.ts";
import {
  Address,
  Badge,
  CopyButton,
  Failure,
  IntentLink,
  Loading,
  StatusBadge,
  Tabs,
} from "../parts/basics.tsx";
import { TimelineView } from "../parts/timeline.tsx";
import { href, route, setParams } from "../route.ts";
import { useValue } from "../store.ts";
import {
  type Explanation,
  hasEnded,
  type Intent as IntentData,
  type IntentEvent,
  type Step,
} from "../wire.ts";
import { Checkpoints, Children, Code, Data, StateTab } from "./intent-more.tsx";
import { Events, Steps } from "./intent-tabs.tsx";
import { Verbs } from "./intent-verbs.tsx";

const REREAD_MS = 300;
const EVENTS_PAGE = 500;
/** Of a longer log the beginning and what comes while the page is open. */
const EVENTS_MAX = 5_000;
const LIVE_MS = 500;

interface Story {
  readonly intent: IntentData;
  readonly explanation: Explanation;
  readonly steps: readonly Step[];
}

async function readStory(id: string, signal: AbortSignal): Promise<Story> {
  const path = `/v1/intents/${part(id)}`;
  const [answer, explanation, steps] = await Promise.all([
    get<{ intent: IntentData }>(path, signal),
    get<Explanation>(`${path}/explain`, signal),
    get<{ steps: readonly Step[] }>(`${path}/steps`, signal),
  ]);
  return { intent: answer.intent, explanation, steps: steps.steps };
}

interface Log {
  readonly events: readonly IntentEvent[];
  readonly complete: boolean;
}

/** The log so far; each reading brings only what is new. */
function useLog(id: string) {
  const known = useRef<{ id: string; events: readonly IntentEvent[] }>({ id, events: [] });
  if (known.current.id !== id) known.current = { id, events: [] };
  const load = useCallback(
    async (signal: AbortSignal): Promise<Log> => {
      let events = known.current.events;
      let more = true;
      while (more && events.length < EVENTS_MAX) {
        const since = events.at(-1)?.seq ?? 0;
        const page = await get<{ events: readonly IntentEvent[]; next_cursor: string | null }>(
          `/v1/intents/${part(id)}/events?since=${since}&limit=${EVENTS_PAGE}`,
          signal,
        );
        events = [...events, ...page.events];
        more = page.next_cursor !== null;
      }
      if (known.current.id === id) known.current = { id, events };
      return { events, complete: !more };
    },
    [id],
  );
  return useResource<Log>(`log ${id} ${useValue(keyChanges)}`, load, REREAD_MS);
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Facts({ intent, explanation, now }: { intent: IntentData; explanation: Explanation; now: number }) {
  const { holder } = explanation;
  const ended = hasEnded(intent.status);
  const began = Date.parse(intent.created_at);
  return (
    <dl class="facts">
      <Fact name="Agent">
        <a href={href(["agents"], { agent: intent.address })}>
          <Address address={intent.address} />
        </a>
      </Fact>
      <Fact name="Held by">
        {holder === undefined ? <span class="faint">nobody</span> : <bdi>{holder.consumer}</bdi>}
      </Fact>
      <Fact name="Attempt">
        {intent.attempt}
        <span class="faint">
          {" "}
          · {intent.lost_deliveries} of {intent.max_delivery_attempts} lost in a row
        </span>
      </Fact>
      <Fact name="Steps">
        {intent.progress.done}
        {intent.progress.total === undefined ? "" : ` of ${intent.progress.total}`} done
      </Fact>
      <Fact name={ended ? "Took" : "Age"}>
        {duration((ended ? Date.parse(intent.updated_at) : now) - began)}
      </Fact>
      <Fact name="Created">
        <time dateTime={intent.created_at}>{dateTime(intent.created_at)}</time>
      </Fact>
      <Fact name="From">
        <Address address={intent.from_agent} />
      </Fact>
      {intent.session !== null && (
        <Fact name="Session">
          <a href={href(["intents"], { session: intent.session })}>
            <bdi>{intent.session}</bdi>
          </a>
        </Fact>
      )}
      {intent.parent_intent_id !== null && (
        <Fact name="Parent">
          <IntentLink id={intent.parent_intent_id} />
        </Fact>
      )}
      {intent.deadline_at !== null && <Fact name="Deadline">{dateTime(intent.deadline_at)}</Fact>}
      {Object.entries(intent.metadata).map(([name, one]) => (
        <Fact key={name} name={name}>
          <bdi>{one}</bdi>
        </Fact>
      ))}
    </dl>
  );
}

function Next({ intent, explanation, now }: { intent: IntentData; explanation: Explanation; now: number }) {
  const { next, in_doubt: inDoubt } = explanation;
  const due = next?.at === undefined ? null : Date.parse(next.at) - now;
  const lead = intent.paused ? "Paused" : words(intent.status);
  return (
    <div class={`next ${inDoubt.length > 0 ? "warn" : ""}`} aria-live="polite">
      {intent.error !== null && (
        <p class="cause">
          <Badge tone="bad">
            <bdi>{intent.error.code}</bdi>
          </Badge>{" "}
          <bdi>{intent.error.message}</bdi>
        </p>
      )}
      <p>
        <strong>{next === undefined ? `${lead}.` : "Next:"}</strong>{" "}
        <bdi>{next === undefined ? "Nothing more happens to it." : next.what}</bdi>
        {due !== null && (
          <>
            {" "}
            <time dateTime={next?.at}>{due > 0 ? `in ${duration(due)}` : "any moment"}</time>
          </>
        )}
      </p>
      {inDoubt.length > 0 && (
        <p>
          <strong>In doubt:</strong> {inDoubt.join(", ")} began and was never recorded. It may have happened.
        </p>
      )}
    </div>
  );
}

const TABS = ["steps", "events", "data", "state", "checkpoints", "children", "code"] as const;
type Tab = (typeof TABS)[number];

export function Intent({ id }: { id: string }) {
  const { params } = useValue(route);
  const story = useResource<Story>(
    `intent ${id} ${useValue(keyChanges)}`,
    (signal) => readStory(id, signal),
    REREAD_MS,
  );
  const log = useLog(id);
  const ended = story.data !== undefined && hasEnded(story.data.intent.status);
  const now = useNow(ended ? 60_000 : LIVE_MS);
  const [turns, setTurns] = useState(0);
  const reread = useCallback(() => {
    story.refresh();
    log.refresh();
    setTurns((n) => n + 1);
  }, [story.refresh, log.refresh]);
  useFeed((frames) => {
    if (frames.some(({ intent_id }) => intent_id === id)) reread();
  }, reread);
  useEffect(() => {
    document.title =
      story.data === undefined ? "Intent · Perdure" : `${story.data.intent.intent_type} · Perdure`;
  }, [story.data?.intent.intent_type]);

  if (story.data === undefined)
    return (
      <div class="page">
        {story.error === undefined ? <Loading /> : <Failure error={story.error} retry={story.refresh} />}
      </div>
    );
  const { intent, explanation, steps } = story.data;
  const events = log.data?.events ?? [];
  const tab: Tab = TABS.find((one) => one === params.get("tab")) ?? "steps";
  return (
    <article class="page intent" aria-label="Intent">
      <p class="crumbs">
        <a href={href(["intents"])}>Intents</a>
      </p>
      <header class="intent-head">
        <div class="intent-title">
          <h1>
            <bdi>{intent.intent_type}</bdi>
          </h1>
          <StatusBadge status={intent.status} paused={intent.paused} />
          <span class="id mono faint">{id}</span>
          <CopyButton text={id} label="Copy id" />
        </div>
        <Verbs intent={intent} onDone={reread} />
      </header>
      {story.error !== undefined && <Failure error={story.error} retry={reread} />}
      <Next intent={intent} explanation={explanation} now={now} />
      <Facts intent={intent} explanation={explanation} now={now} />
      {events.length > 0 && <TimelineView events={events} now={now} ended={ended} />}
      <Tabs
        label="About this intent"
        tabs={[
          { id: "steps", label: "Steps", count: steps.length },
          { id: "events", label: "Events", count: intent.seq },
          { id: "data", label: "Payload and result" },
          { id: "state", label: "State" },
          { id: "checkpoints", label: "Checkpoints" },
          { id: "children", label: "Children" },
          { id: "code", label: "As code" },
        ]}
        current={tab}
        onSelect={(next) => setParams({ tab: next === "steps" ? null : next })}
      />
      <div role="tabpanel" id={`panel-${tab}`} aria-labelledby={`tab-${tab}`} class="panel">
        {tab === "steps" && <Steps intent={intent} steps={steps} events={events} onDone={reread} />}
        {tab === "events" && (
          <Events intent={intent} events={events} complete={log.data?.complete ?? false} onDone={reread} />
        )}
        {tab === "data" && <Data intent={intent} />}
        {tab === "state" && <StateTab id={id} turns={turns} />}
        {tab === "checkpoints" && <Checkpoints intent={intent} turns={turns} onDone={reread} />}
        {tab === "children" && <Children id={id} turns={turns} />}
        {tab === "code" && <Code intent={intent} steps={steps} />}
      </div>
    </article>
  );
}
