// The wire shapes of agents: ours, and those of AXP's mesh.

import { createHash } from "node:crypto";
import { formatAddress } from "../domain/address.ts";
import type { Agent, AgentEvent } from "../store/queries/agents.ts";

const instant = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

const lastSeen = ({ seenAt, heartbeatAt }: Agent): number | null =>
  seenAt === null && heartbeatAt === null ? null : Math.max(seenAt ?? 0, heartbeatAt ?? 0);

export function agentView(agent: Agent) {
  return {
    address: formatAddress(agent.address),
    namespace: agent.namespace,
    display_name: agent.displayName,
    status: agent.pausedAt === null ? "active" : "suspended",
    paused: agent.pausedAt !== null,
    paused_at: instant(agent.pausedAt),
    listeners: agent.listeners,
    queued: agent.queued,
    held: agent.held,
    last_seen_at: instant(lastSeen(agent)),
    created_at: instant(agent.createdAt ?? agent.seenAt),
  };
}

/** AXP clients say that they are well every 30 s: three of these may get lost. */
const HEALTHY_MS = 90_000;
const DEGRADED_MS = 300_000;

export type Health = "healthy" | "degraded" | "unreachable" | "killed" | "unknown";

export function healthOf(agent: Agent): Health {
  if (agent.pausedAt !== null) return "killed";
  const seen = lastSeen(agent);
  if (agent.listeners > 0) return "healthy";
  if (seen === null) return "unknown";
  if (agent.now - seen <= HEALTHY_MS) return "healthy";
  return agent.now - seen <= DEGRADED_MS ? "degraded" : "unreachable";
}

const ID_PREFIX = "agt_";

/** What AXP clients put into a path as it is, where an address has slashes. */
export const agentId = (address: string): string =>
  ID_PREFIX + Buffer.from(address, "utf8").toString("base64url");

/** The address that an id stands for; any other text as it is. */
export const addressOfId = (text: string): string =>
  text.startsWith(ID_PREFIX) ? Buffer.from(text.slice(ID_PREFIX.length), "base64url").toString("utf8") : text;

export function meshView(agent: Agent) {
  return {
    address_id: agentId(agent.address),
    address: formatAddress(agent.address),
    display_name: agent.displayName ?? agent.address.slice(agent.address.lastIndexOf("/") + 1),
    health_status: healthOf(agent),
    last_heartbeat_at: instant(lastSeen(agent)),
    created_at: instant(agent.createdAt ?? agent.seenAt ?? agent.now),
    intents_period: agent.intents,
    cost_period: agent.costUsd,
    metadata: { listeners: agent.listeners, queued: agent.queued, held: agent.held },
  };
}

export const meshMetricsView = ({ intents, succeeded, failed, costUsd }: Agent) => ({
  intents_total: intents,
  intents_succeeded: succeeded,
  intents_failed: failed,
  cost_usd: costUsd,
});

/** What the audit log calls it, and what AXP does. */
const EVENT_NAMES: Readonly<Record<string, string>> = {
  "agent.pause": "agent.killed",
  "agent.unpause": "agent.resumed",
};

/** The actions that AXP's name of an event stands for. */
export const actionsNamed = (eventType: string): string[] => [
  eventType,
  ...Object.keys(EVENT_NAMES).filter((action) => EVENT_NAMES[action] === eventType),
];

/** The same for the same entry of the log, whoever asks. */
function eventId(id: number): string {
  const hex = createHash("sha256").update(`agent event ${id}`).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

export function meshEventView(event: AgentEvent) {
  return {
    event_id: eventId(event.id),
    address: formatAddress(event.address),
    event_type: EVENT_NAMES[event.action] ?? event.action,
    details: event.reason === null ? null : { reason: event.reason },
    actor_id: event.actor,
    created_at: instant(event.at),
  };
}
