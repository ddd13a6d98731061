-- Those intents that have not ended: what is at work is found among millions that have, and no status change of an intent has to touch
-- an index. Made from all intents, read once.

set local lock_timeout = '10s';

create table live (intent_id uuid primary key)
  with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
insert into live select id from intents where status not in ('COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT');

-- Hardly any row is in it, and only pausing moves one in or out: all other updates stay heap-only.
create index intents_paused on intents (id) where paused;

-- Whoever sees every namespace lists them together.
create index intent_data_newest on intent_data (created_at desc, id desc);
