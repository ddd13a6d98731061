-- What AXP clients ask for: inboxes of ended intents, policies that change under way, scenarios that the server conducts,
-- and agents that can be told to stop.

alter table intents
  -- How often its policy was changed.
  add column patches integer not null default 0,
  -- The server itself leads it through its scenario: it is handed to no agent.
  add column conducted boolean not null default false;

alter table intent_data
  -- The canonical form of reply_to: whose inbox its end appears in.
  add column reply_to_address text,
  add column scenario json;
create index intent_data_reply_to on intent_data (reply_to_address, created_at desc, id desc) where reply_to_address is not null;

-- Every row of before satisfies the wider check, too: it is not looked at again.
alter table events drop constraint events_type_check;
alter table events add constraint events_type_check check (type in (
    'intent.created', 'intent.submitted', 'intent.delivered', 'intent.acknowledged', 'intent.in_progress',
    'intent.waiting', 'intent.resumed', 'intent.step_running', 'intent.step_done', 'intent.step_failed',
    'intent.step_interrupted', 'intent.step_waiting', 'intent.step_decided', 'intent.progress',
    'intent.state_changed', 'intent.checkpoint_named', 'intent.paused', 'intent.unpaused', 'intent.lost',
    'intent.released', 'intent.redelivery_scheduled', 'intent.retry_scheduled', 'intent.stale_write_refused',
    'intent.signaled', 'intent.human_task_assigned', 'intent.reminder', 'intent.escalated', 'intent.retried',
    'intent.restored', 'intent.delivery_failed', 'intent.completed', 'intent.failed', 'intent.canceled',
    'intent.timed_out', 'intent.policy_changed')) not valid;

-- What is known of an agent beyond its consumers: whether it is paused, when it last said that it is well, its service account.
create table agents (
  address text primary key,
  namespace text not null,
  display_name text,
  description text,
  -- Since when it is a service account, and by whom.
  registered_at timestamptz,
  registered_by text,
  -- Since when nothing is delivered to it.
  paused_at timestamptz,
  -- Intents that it held when it was paused: they are paused with it, and set free with it.
  paused_intents uuid[] not null default '{}',
  heartbeat_at timestamptz,
  created_at timestamptz not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create index agents_namespace on agents (namespace, address);

-- What agents tell of their own work, by day.
create table agent_days (
  address text not null,
  day date not null,
  intents bigint not null default 0,
  succeeded bigint not null default 0,
  failed bigint not null default 0,
  cost_usd double precision not null default 0,
  primary key (address, day)
) with (fillfactor = 70);

create index audit_log_agents on audit_log (id desc) where action like 'agent.%';
