-- Who may call: API keys, and what was done with them. A key's text is nowhere, only its SHA-256 digest.

create table api_keys (
  id uuid primary key,
  digest bytea not null unique check (octet_length(digest) = 32),
  name text not null,
  -- A key and those that replaced it by rotation.
  family uuid not null,
  -- The key's own address, canonical; the namespace is its first two parts.
  namespace text not null,
  address text not null,
  scopes text[] not null check (scopes <@ array['send', 'act', 'read', 'operate', 'admin']),
  patterns text[] not null,
  created_at timestamptz not null,
  created_by text not null,
  expires_at timestamptz,
  -- How long it was given at its creation; a rotation gives its successor as much.
  lifetime_ms bigint,
  revoked_at timestamptz,
  last_used_at timestamptz
) with (fillfactor = 80);
create index api_keys_listed on api_keys (created_at desc, id desc);
create index api_keys_family on api_keys (family);

create table audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null,
  actor text not null,
  -- Null for PERDURE_ADMIN_KEY, for the command line on the database itself and in development.
  key_id uuid,
  -- The actor's, by which readers are told apart.
  namespace text not null,
  action text not null,
  target text,
  -- The network address the request came from, or `cli`.
  source text not null,
  details json
);
create index audit_log_namespace on audit_log (namespace, id desc);

-- Whose intent it is: the sender's canonical address. Null for intents of a time when everybody could see everything.
alter table intents add column sent_by text;
