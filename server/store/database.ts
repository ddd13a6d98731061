// The tables as kysely sees them. Times are epoch milliseconds, JSON columns raw text (see connection.ts).

import type { Generated } from "kysely";
import type { EventType } from "../domain/event.ts";
import type { OnInterrupt, Pauser, StepStatus } from "../domain/intent.ts";
import type { Status, TerminalStatus, WaitingReason } from "../domain/lifecycle.ts";

export interface IntentsTable {
  id: string;
  namespace: string;
  to_agent: string;
  sent_by: string | null;
  intent_type: string;
  status: Status;
  waiting_reason: WaitingReason | null;
  seq: number;
  first_seq: Generated<number>;
  attempt: number;
  generation: number;
  patches: number;
  conducted: boolean;
  consumer_id: string | null;
  windowed: boolean;
  started: boolean;
  delivered_at: number | null;
  strikes: number;
  total_losses: number;
  retries_used: number;
  releases: number;
  priority: number;
  queue_at: number;
  available_at: number | null;
  deadline_at: number | null;
  paused: boolean;
  paused_by: Pauser[];
  wake_at: number | null;
  parent_id: string | null;
  has_children: boolean;
  keep_versions: number | null;
  retain_ms: number | null;
  plan_by: "sender" | "agent" | null;
  plan_cursor: number;
  steps_count: number;
  steps_total: number;
  steps_done: number;
  open_steps: string[];
  results_bytes: number;
  step_deadline: number | null;
  refused_attempt: number;
  terminal_digest: string | null;
  max_delivery_attempts: number;
  attempt_timeout_ms: number | null;
  on_interrupt: OnInterrupt | null;
  retry: string | null;
  created_at: number;
  updated_at: number;
}

export interface IntentDataTable {
  id: string;
  namespace: string;
  from_agent: string;
  to_agent: string;
  to_agent_as_sent: string;
  intent_type: string;
  payload: string;
  metadata: string;
  correlation_id: string | null;
  session: string | null;
  session_namespace: string | null;
  parent_intent_id: string | null;
  parent_step: string | null;
  detached: boolean;
  reply_to: string | null;
  reply_to_address: string | null;
  scenario: string | null;
  retention: string | null;
  traceparent: string | null;
  created_at: number;
}

export interface OutcomesTable {
  intent_id: string;
  namespace: string;
  status: TerminalStatus;
  code: string | null;
  result: string | null;
  error: string | null;
  attempt: number | null;
  finished_at: number;
  expires_at: number | null;
}

export interface EventsTable {
  intent_id: string;
  seq: number;
  namespace: string;
  type: EventType;
  status: Status;
  waiting_reason: WaitingReason | null;
  attempt: number | null;
  actor: string;
  at: number;
  details: string | null;
}

export interface StepsTable {
  intent_id: string;
  key: string;
  position: number | null;
  title: string | null;
  status: StepStatus;
  generation: number;
  attempt: number | null;
  tries: number;
  interrupted: boolean;
  on_interrupt: OnInterrupt | null;
  timeout_ms: number | null;
  retry: string | null;
  started_at: number | null;
  finished_at: number | null;
  seq: number | null;
  input: string | null;
  result: string | null;
  error: string | null;
  wait: string | null;
}

export interface ReadyTable {
  to_agent: string;
  rank: number;
  queue_at: number;
  intent_id: string;
  intent_type: string;
}

export interface LeasesTable {
  intent_id: string;
  consumer_id: string;
  attempt: number;
}

export interface TimersTable {
  intent_id: string;
  due_at: number;
}

export interface LiveTable {
  intent_id: string;
}

export interface ConsumersTable {
  id: string;
  namespace: string;
  address: string;
  name: string;
  incarnation: string;
  mode: "stream" | "claim" | "windowed";
  explicit_ack: boolean;
  capacity: number;
  intent_types: string[] | null;
  lease_ttl_ms: number;
  lease_until: number | null;
  stream_no: number;
  closed_stream_no: number;
  heartbeats: boolean;
  replica_id: string | null;
  refused_at: number | null;
  superseded: string[];
  /** Whose window it was; null for all others. */
  account: string | null;
  created_at: number;
  seen_at: number;
}

export interface IdempotencyKeysTable {
  namespace: string;
  sender: string;
  operation: string;
  key: string;
  fingerprint: string;
  intent_id: string;
  response: string;
  created_at: number;
}

export interface SignalsTable {
  intent_id: string;
  no: number;
  name: string;
  data: string;
  actor: string;
  at: number;
  taken_by: string | null;
}

export interface CheckpointsTable {
  intent_id: string;
  name: string;
  seq: number;
  generation: number;
  steps_done: number;
  actor: string;
  metadata: string;
  created_at: number;
}

export interface SessionsTable {
  namespace: string;
  name: string;
  paused: boolean;
  created_at: number;
}

export interface Database {
  intents: IntentsTable;
  intent_data: IntentDataTable;
  outcomes: OutcomesTable;
  events: EventsTable;
  steps: StepsTable;
  ready: ReadyTable;
  leases: LeasesTable;
  timers: TimersTable;
  live: LiveTable;
  consumers: ConsumersTable;
  idempotency_keys: IdempotencyKeysTable;
  signals: SignalsTable;
  checkpoints: CheckpointsTable;
  sessions: SessionsTable;
}
