// An empty server: three commands that show what it is for, and that light up as they are run.

import { get } from "../api.ts";
import { useEvery, useFeed, useResource } from "../hooks.ts";
import { CopyButton, IntentLink, StatusBadge } from "../parts/basics.tsx";
import type { Agent, IntentEvent, IntentRow } from "../wire.ts";

interface Seen {
  readonly listening: boolean;
  readonly intent: IntentRow | undefined;
  readonly lost: boolean;
  readonly redelivered: boolean;
}

const DEFAULT_ORIGIN = "http://127.0.0.1:7070";
const LOOK_MS = 2_000;

async function look(signal: AbortSignal): Promise<Seen> {
  const [agents, intents] = await Promise.all([
    get<{ agents: readonly Agent[] }>("/v1/agents?limit=50", signal),
    get<{ intents: readonly IntentRow[] }>("/v1/intents?limit=1", signal),
  ]);
  const intent = intents.intents[0];
  const events =
    intent === undefined
      ? []
      : (await get<{ events: readonly IntentEvent[] }>(`/v1/intents/${intent.intent_id}/events`, signal))
          .events;
  return {
    listening: agents.agents.some(({ listeners }) => listeners > 0),
    intent,
    lost: events.some(({ event_type }) => event_type === "intent.lost"),
    redelivered: (intent?.attempt ?? 0) > 1,
  };
}

function Command(props: { n: number; title: string; text: string; lit: boolean; said: string }) {
  const { n, title, text, lit, said } = props;
  return (
    <li class={lit ? "lit" : ""}>
      <span class="step-no" aria-hidden="true">
        {n}
      </span>
      <div>
        <h2>{title}</h2>
        <div class="command">
          <code>{text}</code>
          <CopyButton text={text} />
        </div>
        <p class="faint" role="status">
          {said}
        </p>
      </div>
    </li>
  );
}

export function FirstRun() {
  const seen = useResource("first-run", look);
  useFeed(seen.refresh, seen.refresh);
  useEvery(LOOK_MS, seen.refresh);
  const { listening = false, intent, lost = false, redelivered = false } = seen.data ?? {};
  const address = location.origin === DEFAULT_ORIGIN ? "" : `PERDURE_URL=${location.origin} `;
  const agent = `${address}ETL_SLOW_MS=4000 node examples/etl/agent.mjs`;
  return (
    <div class="page first-run">
      <header>
        <h1>Watch an agent crash and go on where it was</h1>
        <p>
          {intent === undefined && "Nothing has been sent to this server yet. "}
          Run these in a checkout, each in a terminal of its own. They light up here as they are run.
        </p>
      </header>
      <ol class="commands">
        <Command
          n={1}
          title="Start an agent that works slowly"
          text={agent}
          lit={listening || intent !== undefined}
          said={listening ? "An agent listens." : "Waiting for an agent to listen…"}
        />
        <Command
          n={2}
          title="Send it four steps of work"
          text={`${address}node examples/etl/send.mjs examples/etl/data/orders.csv totals.csv`}
          lit={intent !== undefined}
          said={intent === undefined ? "Waiting for an intent…" : "Sent."}
        />
        <Command
          n={3}
          title="Kill the agent in the middle of a step, and start it again"
          text={`pkill -9 -f etl/agent.mjs; ${agent}`}
          lit={redelivered}
          said={
            redelivered
              ? "Delivered again: done steps were skipped."
              : lost
                ? "The attempt is lost; waiting for an agent…"
                : "Waiting for a crash…"
          }
        />
      </ol>
      {intent !== undefined && (
        <p>
          <StatusBadge status={intent.status} />{" "}
          <IntentLink id={intent.intent_id}>Open the intent and its timeline</IntentLink>
        </p>
      )}
    </div>
  );
}
