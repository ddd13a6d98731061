// Who listens, what each holds, and loudly: what waits while nobody listens.

import { useEffect, useState } from "preact/hooks";
import { get, keyChanges, part, post, query } from "../api.ts";
import { age, count, duration, plural } from "../format.ts";
import { useEvery, useFeed, useNow, useResource } from "../hooks.ts";
import { Address, Badge, Empty, Failure, IntentLink, Loading, PageHead } from "../parts/basics.tsx";
import { attempt } from "../parts/toasts.tsx";
import { href, route, setParams } from "../route.ts";
import { useValue } from "../store.ts";
import type { Agent, Consumer, Overview } from "../wire.ts";

const REREAD_MS = 2_000;
const LOOK_MS = 5_000;
const AGENTS_MAX = 200;
const HOUR_SECONDS = 3_600;

async function verb(agent: Agent, action: "pause" | "unpause"): Promise<void> {
  const path = agent.address
    .replace(/^agent:\/\//, "")
    .split("/")
    .map(part)
    .join("/");
  await attempt(`${action === "pause" ? "Paused" : "Unpaused"} ${agent.address}`, () =>
    post(`/v1/agents/${path}/${action}`),
  );
}

function AgentState({ agent }: { agent: Agent }) {
  if (agent.paused) return <Badge tone="paused">Paused</Badge>;
  if (agent.listeners > 0) return <Badge tone="good">Listening</Badge>;
  return agent.queued > 0 ? <Badge tone="bad">Nobody listens</Badge> : <Badge tone="quiet">Away</Badge>;
}

function ConsumerRow({ consumer, now }: { consumer: Consumer; now: number }) {
  const silent = now - Date.parse(consumer.seen_at);
  return (
    <tr>
      <td>
        <Badge tone={consumer.online ? "good" : "quiet"}>{consumer.online ? "Online" : "Gone"}</Badge>
      </td>
      <td>
        <bdi>{consumer.consumer}</bdi>
      </td>
      <td class="num">
        <span class="progress">
          <span class="bar" aria-hidden="true">
            <span
              class="fill"
              style={{ width: `${Math.min(100, (consumer.held / Math.max(1, consumer.capacity)) * 100)}%` }}
            />
          </span>
          {count(consumer.held)}/{count(consumer.capacity)}
        </span>
      </td>
      <td class="num">{age(silent)}</td>
      <td>
        {consumer.holding.map(({ intent_id }) => (
          <span key={intent_id} class="held">
            <IntentLink id={intent_id} />
          </span>
        ))}
        {consumer.held > consumer.holding.length && (
          <span class="faint">and {count(consumer.held - consumer.holding.length)} more</span>
        )}
        {consumer.held === 0 && <span class="faint">nothing</span>}
      </td>
    </tr>
  );
}

function Numbers({ address }: { address: string }) {
  const overview = useResource<Overview>(
    `agent overview ${address}`,
    (signal) =>
      get(`/v1/overview${query({ to_agent: address, window_seconds: HOUR_SECONDS, buckets: 12 })}`, signal),
    REREAD_MS,
  );
  useEvery(LOOK_MS, overview.refresh);
  const { data } = overview;
  if (data === undefined) return <p class="faint">…</p>;
  const sum = (name: "completed" | "failed" | "timed_out" | "redeliveries" | "lost") =>
    data.buckets.reduce((total, bucket) => total + bucket[name], 0);
  const said: readonly (readonly [string, string])[] = [
    ["Completed", count(sum("completed"))],
    ["Failed", count(sum("failed") + sum("timed_out"))],
    ["Deliveries lost", count(sum("lost"))],
    ["Redeliveries", count(sum("redeliveries"))],
    ["Median", data.latency.p50_ms === null ? "–" : duration(data.latency.p50_ms)],
  ];
  return (
    <dl class="facts">
      {said.map(([name, number]) => (
        <div class="fact" key={name}>
          <dt>{name}</dt>
          <dd class="num">{number}</dd>
        </div>
      ))}
      <p class="faint">in the last hour</p>
    </dl>
  );
}

function AgentCard(props: {
  agent: Agent;
  consumers: readonly Consumer[];
  now: number;
  open: boolean;
  onDone: () => void;
}) {
  const { agent, consumers, now, open, onDone } = props;
  const toggle = () => setParams({ agent: open ? null : agent.address });
  const unheard = agent.listeners === 0 && agent.queued > 0 && !agent.paused;
  return (
    <li class={`card agent ${unheard ? "alarm" : ""}`}>
      <div class="card-head">
        <button type="button" class="disclose" aria-expanded={open} onClick={toggle}>
          <Address address={agent.address} />
        </button>
        <AgentState agent={agent} />
        <span class="spring" />
        <span class="stat">
          <b class="num">{count(agent.listeners)}</b> listening
        </span>
        <span class="stat">
          <b class="num">{count(agent.held)}</b> held
        </span>
        <a class="stat" href={href(["intents"], { agent: agent.address, status: "SUBMITTED" })}>
          <b class="num">{count(agent.queued)}</b> queued
        </a>
        <span class="stat faint">
          {agent.last_seen_at === null ? "never seen" : `seen ${age(now - Date.parse(agent.last_seen_at))}`}
        </span>
        <button
          type="button"
          class="small"
          onClick={() => void verb(agent, agent.paused ? "unpause" : "pause").then(onDone)}
        >
          {agent.paused ? "Unpause" : "Pause"}
        </button>
      </div>
      {open && (
        <div class="card-body">
          <Numbers address={agent.address} />
          {consumers.length === 0 ? (
            <p class="faint">No process has listened here within a day.</p>
          ) : (
            <div class="scroll">
              <table>
                <thead>
                  <tr>
                    <th scope="col">State</th>
                    <th scope="col">Process</th>
                    <th scope="col">Holds</th>
                    <th scope="col">Last sign</th>
                    <th scope="col">Intents</th>
                  </tr>
                </thead>
                <tbody>
                  {consumers.map((consumer) => (
                    <ConsumerRow key={consumer.consumer_id} consumer={consumer} now={now} />
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </div>
      )}
    </li>
  );
}

export function Agents() {
  const { params } = useValue(route);
  const opened = params.get("agent");
  const key = useValue(keyChanges);
  const now = useNow();
  const agents = useResource<{ agents: readonly Agent[] }>(
    `agents ${key}`,
    (signal) => get(`/v1/agents?limit=${AGENTS_MAX}`, signal),
    REREAD_MS,
  );
  const queues = useResource<Overview>(
    `queues ${key}`,
    (signal) => get("/v1/overview?window_seconds=60&buckets=1", signal),
    REREAD_MS,
  );
  const consumers = useResource<{ consumers: readonly Consumer[] }>(
    opened === null ? null : `consumers ${opened} ${key}`,
    (signal) => get(`/v1/consumers${query({ address: opened, limit: 200 })}`, signal),
    REREAD_MS,
  );
  const [, tick] = useState(0);
  const reread = () => {
    agents.refresh();
    queues.refresh();
    consumers.refresh();
    tick((n) => n + 1);
  };
  useFeed(reread, reread);
  useEvery(LOOK_MS, reread);
  useEffect(() => {
    if (opened !== null)
      document.querySelector(".agent [aria-expanded=true]")?.scrollIntoView({ block: "nearest" });
  }, [opened]);

  const unheard = (queues.data?.queues ?? []).filter(({ listeners }) => listeners === 0);
  const known = agents.data?.agents ?? [];
  return (
    <div class="page">
      <PageHead title="Agents" />
      {unheard.length > 0 && (
        <div class="notice bad" role="alert">
          <p>
            <strong>
              {plural(
                unheard.reduce((sum, { waiting }) => sum + waiting, 0),
                "intent waits",
                "intents wait",
              )}{" "}
              and nobody listens:
            </strong>
          </p>
          <ul>
            {unheard.map(({ address, waiting, oldest_seconds }) => (
              <li key={address}>
                <a href={href(["intents"], { agent: address, status: "SUBMITTED" })}>
                  <Address address={address} />
                </a>{" "}
                {plural(waiting, "intent")}, the oldest for {duration(oldest_seconds * 1000)}
              </li>
            ))}
          </ul>
        </div>
      )}
      {agents.error !== undefined && <Failure error={agents.error} retry={agents.refresh} />}
      {agents.data === undefined && agents.error === undefined && <Loading />}
      {agents.data !== undefined && known.length === 0 && (
        <Empty title="No agent has listened yet">
          <p>
            Start one: <code>node examples/etl/agent.mjs</code>
          </p>
        </Empty>
      )}
      <ul class="plain">
        {known.map((agent) => (
          <AgentCard
            key={agent.address}
            agent={agent}
            consumers={(consumers.data?.consumers ?? []).filter(({ address }) => address === agent.address)}
            now={now}
            open={opened === agent.address}
            onDone={reread}
          />
        ))}
      </ul>
      {known.length === AGENTS_MAX && <p class="faint">These are the first {count(AGENTS_MAX)} agents.</p>}
    </div>
  );
}
