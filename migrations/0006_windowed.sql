-- Windows: agents that ask for work again and again, each time for a while, and acknowledge nothing.

alter table consumers
  drop constraint consumers_mode_check,
  -- One delivery through a window is a consumer of its own, whose lease is that delivery's.
  add constraint consumers_mode_check check (mode in ('stream', 'claim', 'windowed')),
  -- Whose windows these are: the caller's key, by its digest.
  add column account text,
  add constraint consumers_account_check check ((mode = 'windowed') = (account is not null));
create index consumers_account on consumers (account, address) where account is not null;

-- The open attempt went out through a window: its agent knows no attempts and renews nothing.
alter table intents add column windowed boolean not null default false;

-- The number of an address's last delivery through a window; what its agents send as `since`.
create table delivery_cursors (
  address text primary key,
  seq bigint not null
) with (fillfactor = 70);

-- What a window that ended lets us expect: a request with this cursor, made by the listener that had it. A request that nobody
-- is expected with comes from an agent that has just started.
create table owed_cursors (
  id bigint generated always as identity primary key,
  address text not null,
  account text not null,
  seq bigint not null,
  owed_at timestamptz not null,
  -- Null after a delivery: its work takes as long as it takes.
  expires_at timestamptz,
  -- When this listener came as a newcomer, while it may still take over what went out before.
  arrived_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
create index owed_cursors_account on owed_cursors (account, address, seq, id);
