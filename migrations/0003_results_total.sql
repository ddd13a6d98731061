-- How much an intent's steps have recorded in all: what a delivery carries has to fit into memory.
alter table intents add column results_bytes integer not null default 0;
