-- The whole foundation: intents and their log, steps, the queue, leases, consumers, timers.
-- Hot and cold data live apart: an intent's changing columns in `intents` (no index but its key, so that
-- status changes stay heap-only), everything written once in `intent_data` and `outcomes`.

-- The one clock. Tests may replace this function to steer time; nothing else may call clock_timestamp().
create function perdure_now() returns timestamptz language sql volatile parallel safe
  as $$ select clock_timestamp() $$;

-- Makes a statement whose row count is wrong fail inside the database: with COMMIT already in the pipeline
-- the process could no longer stop it.
create function perdure_expect(actual bigint, expected bigint, what text) returns bigint language plpgsql volatile
  as $$ begin
    if actual is distinct from expected then
      raise exception 'perdure: % changed % rows, expected %', what, actual, expected using errcode = '40001';
    end if;
    return actual;
  end $$;

create table intents (
  id uuid primary key,
  namespace text not null,
  to_agent text not null,
  intent_type text not null,
  status text not null check (status in ('CREATED', 'SUBMITTED', 'DELIVERED', 'ACKNOWLEDGED', 'IN_PROGRESS',
    'WAITING', 'COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT')),
  waiting_reason text check (waiting_reason in ('WAITING_FOR_HUMAN', 'WAITING_FOR_TOOL', 'WAITING_FOR_AGENT',
    'WAITING_FOR_TIME')),
  seq integer not null,
  first_seq integer not null default 1,
  attempt integer not null,
  generation integer not null,
  -- The open attempt's owner; null when no attempt is open.
  consumer_id uuid,
  started boolean not null,
  delivered_at timestamptz,
  strikes integer not null,
  total_losses integer not null,
  retries_used integer not null,
  releases integer not null,
  priority integer not null,
  queue_at timestamptz not null,
  available_at timestamptz,
  deadline_at timestamptz,
  paused boolean not null,
  plan_by text check (plan_by in ('sender', 'agent')),
  plan_cursor integer not null,
  steps_count integer not null,
  steps_total integer not null,
  steps_done integer not null,
  -- Steps the intent is in the middle of: running in the open attempt, or awaited while WAITING.
  open_steps text[] not null,
  step_deadline timestamptz,
  refused_attempt integer not null,
  terminal_digest text,
  max_delivery_attempts integer not null check (max_delivery_attempts >= 1),
  attempt_timeout_ms bigint,
  on_interrupt text check (on_interrupt in ('retry', 'fail', 'ask')),
  retry json,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  check (strikes <= max_delivery_attempts),
  check ((status = 'WAITING') = (waiting_reason is not null)),
  check (consumer_id is null or status in ('DELIVERED', 'ACKNOWLEDGED', 'IN_PROGRESS'))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

create table intent_data (
  id uuid primary key,
  namespace text not null,
  from_agent text not null,
  to_agent text not null,
  to_agent_as_sent text not null,
  intent_type text not null,
  payload json not null,
  metadata jsonb not null default '{}',
  correlation_id text,
  session text,
  parent_intent_id uuid,
  detached boolean not null default false,
  reply_to text,
  retention json,
  traceparent text,
  created_at timestamptz not null
);
create index intent_data_created on intent_data (namespace, created_at desc, id desc);
create index intent_data_agent on intent_data (to_agent, created_at desc, id desc);
create index intent_data_session on intent_data (namespace, session, created_at desc, id desc) where session is not null;
create index intent_data_parent on intent_data (parent_intent_id, created_at desc, id desc) where parent_intent_id is not null;

create table outcomes (
  intent_id uuid primary key,
  namespace text not null,
  status text not null check (status in ('COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT')),
  code text,
  result json,
  error json,
  attempt integer,
  finished_at timestamptz not null
);
create index outcomes_finished on outcomes (namespace, status, finished_at desc, intent_id desc);

create table events (
  intent_id uuid not null,
  seq integer not null check (seq >= 1),
  namespace text not null,
  type text not null check (type in (
    'intent.created', 'intent.submitted', 'intent.delivered', 'intent.acknowledged', 'intent.in_progress',
    'intent.waiting', 'intent.resumed', 'intent.step_running', 'intent.step_done', 'intent.step_failed',
    'intent.step_interrupted', 'intent.step_waiting', 'intent.step_decided', 'intent.progress',
    'intent.state_changed', 'intent.checkpoint_named', 'intent.paused', 'intent.unpaused', 'intent.lost',
    'intent.released', 'intent.redelivery_scheduled', 'intent.retry_scheduled', 'intent.stale_write_refused',
    'intent.signaled', 'intent.human_task_assigned', 'intent.reminder', 'intent.escalated', 'intent.retried',
    'intent.restored', 'intent.delivery_failed', 'intent.completed', 'intent.failed', 'intent.canceled',
    'intent.timed_out')),
  status text not null,
  waiting_reason text,
  attempt integer,
  actor text not null,
  at timestamptz not null,
  details json,
  primary key (intent_id, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.2);

create table steps (
  intent_id uuid not null,
  key text not null,
  -- Declared order, null for a step that only its agent knows.
  position integer,
  title text,
  status text not null check (status in ('planned', 'running', 'done', 'failed', 'interrupted', 'waiting', 'superseded')),
  generation integer not null,
  attempt integer,
  tries integer not null,
  -- In doubt: begun in an attempt that ended without a record.
  interrupted boolean not null,
  on_interrupt text check (on_interrupt in ('retry', 'fail', 'ask')),
  timeout_ms bigint,
  retry json,
  started_at timestamptz,
  finished_at timestamptz,
  seq integer,
  input json,
  result json,
  error json,
  primary key (intent_id, key)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
create index steps_position on steps (intent_id, position) where position is not null;

-- The queue: a row exists exactly while its intent may be claimed. rank is the negated priority, so that the
-- head of the key is the head of the queue.
create table ready (
  to_agent text not null,
  rank integer not null,
  queue_at timestamptz not null,
  intent_id uuid not null,
  intent_type text not null,
  primary key (to_agent, rank, queue_at, intent_id)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- One row per open attempt.
create table leases (
  intent_id uuid primary key,
  consumer_id uuid not null,
  attempt integer not null
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index leases_consumer on leases (consumer_id);

-- The earliest instant at which something happens to an intent by itself.
create table timers (
  intent_id uuid primary key,
  due_at timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index timers_due on timers (due_at, intent_id);

create table consumers (
  id uuid primary key,
  namespace text not null,
  address text not null,
  name text not null,
  incarnation text not null,
  mode text not null check (mode in ('stream', 'claim')),
  explicit_ack boolean not null,
  capacity integer not null check (capacity >= 0),
  intent_types text[],
  lease_ttl_ms integer not null,
  -- Null when no lease is running.
  lease_until timestamptz,
  stream_no bigint not null,
  -- The newest stream that a living server saw close; equal to stream_no when the consumer is known to be away.
  closed_stream_no bigint not null default 0,
  heartbeats boolean not null default false,
  replica_id uuid,
  -- When another incarnation was last refused this name.
  refused_at timestamptz,
  superseded text[] not null default '{}',
  created_at timestamptz not null,
  seen_at timestamptz not null,
  unique (namespace, address, name)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
create index consumers_lease on consumers (lease_until) where lease_until is not null;

create table replicas (
  id uuid primary key,
  started_at timestamptz not null,
  pulsed_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1);

create table idempotency_keys (
  namespace text not null,
  sender text not null,
  operation text not null,
  key text not null,
  fingerprint text not null,
  intent_id uuid not null,
  response json not null,
  created_at timestamptz not null,
  primary key (namespace, sender, operation, key)
);
create index idempotency_keys_intent on idempotency_keys (intent_id);
