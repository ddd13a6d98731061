// A tenant with something of everything, all of it marked; and what the database holds of it, to see whether anything changed.

import { type Headers, type Issued, issueKey } from "../support/keys.ts";
import { call, type TestServer } from "../support/server.ts";

/** Names of what is A's, or of things that do not exist, in the same places. */
export interface Names {
  readonly intents: readonly string[];
  readonly addresses: readonly string[];
  readonly sessions: readonly string[];
  readonly keys: readonly string[];
  readonly consumers: readonly string[];
  readonly consumerIds: readonly string[];
  readonly keyIds: readonly string[];
  readonly idempotency: readonly string[];
  readonly cursors: readonly string[];
}

const ALL = ["send", "act", "read", "operate", "admin"];
const LONG = 86_000;

export interface Tenant {
  readonly names: Names;
  readonly key: Issued;
}

/** Everything in `alpha/prod`, with `mark` in every value that is not a name. */
export async function furnish(server: TestServer, mark: string): Promise<Tenant> {
  const key = await issueKey(server, "alpha/prod/boss", ALL, { patterns: ["alpha/prod/*"], name: mark });
  const as = async (method: string, path: string, body?: unknown, more: Headers = {}) => {
    const answer = await call(server, method, path, body, { ...key.headers, ...more });
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const send = async (more: object = {}, headers: Headers = {}): Promise<string> => {
    const body = {
      intent_type: mark,
      to_agent: "idle",
      payload: { mark },
      metadata: { mark },
      correlation_id: mark,
    };
    return (await as("POST", "/v1/intents", { ...body, ...more }, headers)).intent_id;
  };
  const claim = async (address: string) => {
    const body = { consumer: "alpha-consumer", incarnation: "alpha-1", lease_seconds: LONG, max: 1 };
    return as("POST", `/v1/agents/alpha/prod/${address}/claim`, body);
  };
  const state = (scope: string, more: object = {}) =>
    as("PUT", `/v1/state/${encodeURIComponent(scope)}/alpha-key`, { value: mark, ...more });

  const queued = await send(
    { session: "alpha-session", to_agent: "queue" },
    { "idempotency-key": "alpha-idempotency" },
  );
  const held = await send({ to_agent: "worker", steps: ["alpha-step", "two"], session: "alpha-session" });
  const { consumer_id } = await claim("worker");
  await as("PUT", `/v1/intents/${held}/steps/alpha-step`, { status: "done", attempt: 1, result: mark });
  await as("PUT", `/v1/intents/${held}/checkpoints/alpha-checkpoint`, { attempt: 1, metadata: { mark } });
  await as("POST", `/v1/intents/${held}/progress`, { attempt: 1, message: mark });
  await state(`intent:${held}`, { attempt: 1 });
  const waiting = await send({ to_agent: "waiter" });
  const { consumer_id: waiter } = await claim("waiter");
  const wait = { kind: "signal", signal: "alpha-signal" };
  await as("PUT", `/v1/intents/${waiting}/steps/alpha-step`, { status: "waiting", attempt: 1, wait });
  await as("POST", `/v1/intents/${waiting}/signals/other-signal`, { data: mark });
  const human = await send({ human_task: { title: mark, allowed_outcomes: ["approved", "rejected"] } });
  const child = await send({ parent_intent_id: queued });
  const done = await send();
  await as("POST", `/v1/intents/${done}/resolve`, { status: "COMPLETED", result: { mark } });
  const failed = await send();
  await as("POST", `/v1/intents/${failed}/resolve`, {
    status: "FAILED",
    error: { code: "x", message: mark },
  });
  const replied = await send({ reply_to: "boss" });
  await as("POST", `/v1/intents/${replied}/resume`, { action: "complete", mark });
  await as("POST", "/v1/mesh/heartbeat", { metrics: { intents_total: 7, cost_usd: 7 } });
  await as("POST", "/v1/mesh/agents/idle-agent/kill", { reason: mark });
  await as("POST", "/v1/service-accounts", { name: "worker", display_name: mark, description: mark });
  const { intent_id: conducted } = await as("POST", "/v1/scenarios/apply", {
    scenario_id: mark,
    agents: [{ role: "r", address: "idle" }],
    workflow: {
      steps: [
        { step_id: "one", assigned_to: "r" },
        { step_id: "two", assigned_to: "r" },
      ],
    },
    intent: { type: mark, payload: { mark } },
  });
  const paused = await send();
  await as("POST", `/v1/intents/${paused}/pause`, { reason: mark });
  // Names that B never says, so that nothing but a leak can bring them.
  await send({ session: mark, to_agent: mark, steps: [mark] });
  await state(`session:${mark}`);
  await state(`agent:${mark}`);
  await state("session:alpha-session");
  await state("agent:worker");
  const cursors = await Promise.all(
    [
      "/v1/intents",
      "/v1/state/session:alpha-session",
      "/v1/state",
      "/v1/audit",
      `/v1/intents/${held}/events`,
    ].map(async (path) => (await as("GET", `${path}?limit=1`)).next_cursor ?? "none"),
  );
  return {
    key,
    names: {
      intents: [queued, held, waiting, human, child, done, failed, paused, replied, conducted],
      addresses: ["alpha/prod/worker", "alpha/prod/queue", "alpha/prod/boss", "alpha/prod/*"],
      sessions: ["alpha-session"],
      keys: ["alpha-step", "alpha-key", "alpha-checkpoint", "alpha-signal", "human_task"],
      consumers: ["alpha-consumer", "alpha-1"],
      consumerIds: [consumer_id, waiter],
      keyIds: [key.id],
      idempotency: ["alpha-idempotency"],
      cursors,
    },
  };
}

/** As many names, of nothing. */
export function nothingLike(names: Names): Names {
  let n = 0;
  const id = () => {
    n += 1;
    return `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;
  };
  const like = (list: readonly string[], make: (text: string) => string) => list.map(make);
  const renamed = (text: string) => text.replace("alpha", "gamma");
  return {
    intents: like(names.intents, id),
    consumerIds: like(names.consumerIds, id),
    keyIds: like(names.keyIds, id),
    addresses: like(names.addresses, renamed),
    sessions: like(names.sessions, renamed),
    keys: like(names.keys, renamed),
    consumers: like(names.consumers, renamed),
    idempotency: like(names.idempotency, renamed),
    cursors: names.cursors,
  };
}

/** Something of B's own to ask about beside the names of others: two that are alike, one for requests and one for their twins. */
export async function furnishOwn(server: TestServer, who: Headers, address: string): Promise<Partial<Names>> {
  const as = async (path: string, body: unknown) => (await call(server, "POST", path, body, who)).body;
  const { intent_id } = await as("/v1/intents", {
    intent_type: "own",
    to_agent: address,
    steps: ["own-step"],
  });
  const claim = { consumer: "own", incarnation: "own-1", lease_seconds: LONG, max: 1 };
  const { consumer_id } = await as(`/v1/agents/${address}/claim`, claim);
  return { intents: [intent_id], addresses: [address], consumerIds: [consumer_id] };
}

export const withOwn = (names: Names, own: Partial<Names>): Names => ({
  ...names,
  intents: [...names.intents, ...(own.intents ?? [])],
  addresses: [...names.addresses, ...(own.addresses ?? [])],
  consumerIds: [...names.consumerIds, ...(own.consumerIds ?? [])],
});

const TABLES: Readonly<Record<string, string>> = {
  intents: "namespace = 'alpha/prod'",
  intent_data: "namespace = 'alpha/prod'",
  outcomes: "namespace = 'alpha/prod'",
  events: "namespace = 'alpha/prod'",
  consumers: "namespace = 'alpha/prod'",
  state_heads: "namespace = 'alpha/prod'",
  state_versions: "namespace = 'alpha/prod'",
  sessions: "namespace = 'alpha/prod'",
  idempotency_keys: "namespace = 'alpha/prod'",
  human_tasks: "namespace = 'alpha/prod'",
  audit_log: "namespace = 'alpha/prod'",
  agents: "namespace = 'alpha/prod'",
  agent_days: "address like 'alpha/%'",
  steps: "intent_id in (select id from intents where namespace = 'alpha/prod')",
  ready: "to_agent like 'alpha/%'",
  leases: "intent_id in (select id from intents where namespace = 'alpha/prod')",
  timers: "intent_id in (select id from intents where namespace = 'alpha/prod')",
  signals: "intent_id in (select id from intents where namespace = 'alpha/prod')",
  checkpoints: "intent_id in (select id from intents where namespace = 'alpha/prod')",
};
// Whoever uses a key marks it as used: not what is looked for here.
const KEYS =
  "select 'api_keys', md5(string_agg((to_jsonb(k) - 'last_used_at')::text, '' order by id)) from api_keys k where namespace = 'alpha/prod'";

/** A digest of each table's rows that are A's. Rows without owner count too: nothing may come to lie nowhere. */
export async function fingerprint(server: TestServer): Promise<unknown> {
  const parts = Object.entries(TABLES).map(
    ([table, where]) =>
      `select '${table}', md5(string_agg(t::text, '' order by t::text)) from ${table} t where ${where}`,
  );
  const nowhere = "select 'nowhere', count(*)::text from state_heads where namespace = ''";
  const { rows } = await server.store.pool.query({
    text: [...parts, KEYS, nowhere].join(" union all "),
    rowMode: "array",
  });
  return Object.fromEntries(rows);
}
