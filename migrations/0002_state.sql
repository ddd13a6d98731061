-- State: JSON values with a version history, in the scope of an intent, a session or an agent. The head says which
-- version is current and is what writers lock; versions are written once.

create table state_heads (
  namespace text not null,
  scope text collate "C" not null,
  key text collate "C" not null,
  version integer not null check (version >= 1),
  deleted boolean not null,
  updated_at timestamptz not null,
  primary key (namespace, scope, key)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

create table state_versions (
  namespace text not null,
  scope text collate "C" not null,
  key text collate "C" not null,
  version integer not null check (version >= 1),
  -- Null for a tombstone; JSON null is the text null.
  value json,
  -- The intent on whose behalf it was written, and the entry of its log that says so.
  intent_id uuid,
  seq integer,
  attempt integer,
  actor text not null,
  at timestamptz not null,
  primary key (namespace, scope, key, version)
) with (autovacuum_vacuum_insert_scale_factor = 0.2);
create index state_versions_intent on state_versions (intent_id, seq) where intent_id is not null;

-- A key of a write that belongs to no intent.
alter table idempotency_keys alter column intent_id drop not null;
