-- Waiting without a lease (signals, timers, child intents, people), what follows from an end (outbox), bookmarks in a
-- log, sessions, and how long an ended intent is kept.

alter table intents
  -- When a wait ends by itself: a sleep is over, a wait times out, somebody is to be reminded.
  add column wake_at timestamptz,
  -- Who paused it: intent, session. `paused` says whether anybody did.
  add column paused_by text[] not null default '{}',
  add column parent_id uuid,
  add column has_children boolean not null default false,
  -- Versions kept of each state key; null: all.
  add column keep_versions integer check (keep_versions >= 1),
  -- How long it is kept after its end; null: the server's default.
  add column retain_ms bigint;
update intents set paused_by = '{intent}' where paused;

alter table intent_data
  add column parent_step text,
  -- A session is its sender's, wherever the agent is.
  add column session_namespace text;
update intent_data set session_namespace = namespace where session is not null;
drop index intent_data_session;
create index intent_data_session on intent_data (session_namespace, session, created_at desc, id desc) where session is not null;

-- What the step waits for, once it does.
alter table steps add column wait json;

-- No is the seq of the log entry that tells of it.
create table signals (
  intent_id uuid not null,
  no integer not null,
  name text not null,
  data json not null,
  actor text not null,
  at timestamptz not null,
  -- The step whose wait took it; null while it is unread.
  taken_by text,
  primary key (intent_id, no)
);
create index signals_unread on signals (intent_id, name, no) where taken_by is null;

-- What an intent's end owes to others: written with the end, worked off behind it.
create table outbox (
  id bigint generated always as identity primary key,
  -- child_end: tell parent_id that child_id has ended. cascade: cancel the children of parent_id. cancel: cancel child_id.
  kind text not null check (kind in ('child_end', 'cascade', 'cancel')),
  parent_id uuid not null,
  child_id uuid
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);

-- A row exists exactly while the step waits for a person.
create table human_tasks (
  intent_id uuid not null,
  step text not null,
  namespace text not null,
  assigned_at timestamptz not null,
  due_at timestamptz,
  primary key (intent_id, step)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);
create index human_tasks_assigned on human_tasks (namespace, assigned_at, intent_id);

create table checkpoints (
  intent_id uuid not null,
  name text not null,
  seq integer not null,
  generation integer not null,
  steps_done integer not null,
  actor text not null,
  metadata jsonb not null default '{}',
  created_at timestamptz not null,
  primary key (intent_id, name)
);

create table sessions (
  namespace text not null,
  name text not null,
  paused boolean not null default false,
  created_at timestamptz not null,
  primary key (namespace, name)
);
insert into sessions (namespace, name, created_at)
  select session_namespace, session, min(created_at) from intent_data where session is not null group by 1, 2;

alter table outcomes add column expires_at timestamptz;
create index outcomes_expiring on outcomes (expires_at, intent_id) where expires_at is not null;
create index outcomes_age on outcomes (finished_at, intent_id) where expires_at is null;
