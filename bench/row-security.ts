// What row-level security would cost: the store's main statements against two databases that differ in nothing but policies on
// `current_setting('perdure.namespace')`. Rounds alternate; prints the median of the rounds' ratios, policies to none.
//
// A group commit writes for many tenants in one transaction, and the setting has one value in a transaction. So writes are measured
// in both ways there are: as they are, past the policies (their setting is '*'), and with a commit for each tenant's write.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { EVERYTHING } from "../server/domain/access.ts";
import { newId } from "../server/domain/ids.ts";
import { RawJson } from "../server/domain/raw-json.ts";
import { claimIntents } from "../server/engine/claim.ts";
import { connectConsumer } from "../server/engine/connect.ts";
import type { Engine } from "../server/engine/context.ts";
import { resolveIntent } from "../server/engine/finish.ts";
import { type Submission, submitIntents } from "../server/engine/submit.ts";
import { openStore, type Store } from "../server/store/connection.ts";
import { GroupCommit } from "../server/store/group-commit.ts";
import { migrate } from "../server/store/migrate.ts";
import { BY_ID, findIntents, listIntents } from "../server/store/queries/intents.ts";
import { quantile } from "./support/results.ts";
import { withServer } from "./support/server.ts";

const ROUNDS = Number(process.env.ROUNDS ?? 8);
const ROUND_MS = 1_000;
const CALLERS = 32;
const TENANTS = 32;
const ROWS = 5_000;

/** What carries a namespace; the others would need a semi-join, so that this is the least it costs. */
const WALLED =
  "intents intent_data outcomes events consumers idempotency_keys state_heads state_versions sessions human_tasks";
const MINE = "current_setting('perdure.namespace', true) in ('*', namespace)";

interface Side {
  readonly store: Store;
  readonly folded: Engine;
  /** A commit for each write. */
  readonly single: Engine;
  readonly ids: string[];
}

const namespaceOf = (n: number): string => `tenant-${n % TENANTS}/bench`;
const actor = { name: "agent://bench/row/security", operator: true, access: EVERYTHING };

function submission(n: number, name = "nobody"): Submission {
  const id = newId();
  const namespace = namespaceOf(n);
  const toAgent = `${namespace}/${name}`;
  const intentType = "bench.v1";
  const payload = new RawJson('{"order":12345,"note":"as large as a small payload is"}');
  const no = {
    deliverAt: null,
    deadlineAt: null,
    ttlMs: null,
    attemptTimeoutMs: null,
    onInterrupt: null,
    retry: null,
  };
  const none = {
    session: null,
    sessionNamespace: null,
    parentIntentId: null,
    parentStep: null,
    replyTo: null,
    replyToAddress: null,
    scenario: null,
  };
  const intent = {
    id,
    namespace,
    toAgent,
    sentBy: toAgent,
    intentType,
    priority: 0,
    maxDeliveryAttempts: 3,
    ...no,
  };
  const data = {
    id,
    namespace,
    toAgent,
    toAgentAsSent: toAgent,
    fromAgent: toAgent,
    intentType,
    payload,
    ...none,
  };
  return {
    intent: { ...intent, steps: [], parentId: null, humanTask: null, keepVersions: null, retainMs: null },
    data: { ...data, metadata: {}, correlationId: null, detached: false, retention: null, traceparent: null },
    parentAttempt: null,
  };
}

const create = async (engine: Engine, n: number): Promise<string> =>
  (await submitIntents(engine, actor, [submission(n)], null)).intents[0]?.intent_id ?? "";

function engineOf(store: Store, batchMax: number | undefined): Engine {
  const options = { queueMax: 100_000, ...(batchMax === undefined ? {} : { batchMax, flushesMax: 3 }) };
  return {
    store,
    commits: new GroupCommit(store, options),
    replicaId: newId(),
    freeSlots: () => [],
    committed: () => undefined,
    settings: {
      heartbeatIntervalMs: 60_000,
      leaseTtlMs: 600_000,
      reconnectGraceMs: 60_000,
      restartGraceMs: 60_000,
      pollIntervalMs: 1_000,
      windowedLeaseMs: 300_000,
      windowedHoldOffMs: 2_000,
      windowedReturnMs: 5_000,
      maxTotalLosses: 100,
      stepsMax: 10_000,
      resultsMaxBytes: 1_000_000,
      frameMaxBytes: 32_768,
    },
  };
}

/** How often a second `once` is done by all callers together. */
async function rate(once: (n: number) => Promise<unknown>): Promise<number> {
  const began = performance.now();
  let done = 0;
  const caller = async (who: number) => {
    for (let n = who; performance.now() - began < ROUND_MS; n += CALLERS) {
      await once(n);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, n) => caller(n)));
  return (done * 1_000) / (performance.now() - began);
}

/** A read under the setting: a transaction, because the connection is somebody else's in the next moment. */
async function readWalled({ store, ids }: Side, n: number): Promise<void> {
  const client = await store.pool.connect();
  try {
    await Promise.all([
      client.query("begin read only"),
      client.query({
        name: "wall",
        text: "select set_config('perdure.namespace', $1, true)",
        values: [namespaceOf(n)],
      }),
      client.query({ ...BY_ID, values: [[ids[n % ids.length]]] }),
      client.query("commit"),
    ]);
  } finally {
    client.release();
  }
}

/** Twenty at a time are sent, claimed and completed, by one agent. */
async function lives(
  { folded }: Side,
  n: number,
  consumers: Map<number, Promise<{ consumerId: string; streamNo: number }>>,
) {
  const address = `${namespaceOf(n)}/agent-${n % CALLERS}`;
  const consumer = await consumers.get(n % CALLERS);
  const COUNT = 20;
  const own = Array.from({ length: COUNT }, () => submission(n, `agent-${n % CALLERS}`));
  await submitIntents(folded, actor, own, null);
  if (consumer === undefined) throw new Error(`nobody listens on ${address}`);
  const { delivered } = await claimIntents(folded, [{ ...consumer, want: COUNT }]);
  const end = { status: "COMPLETED", result: new RawJson("1"), error: null, retryable: false } as const;
  await Promise.all(
    delivered.map(({ intentId, attempt }) => resolveIntent(folded, actor, intentId, { ...end, attempt })),
  );
}

function listening({ folded }: Side) {
  const connect = (n: number) =>
    connectConsumer(folded, {
      namespace: namespaceOf(n),
      address: `${namespaceOf(n)}/agent-${n}`,
      name: "bench",
      incarnation: newId(),
      mode: "claim",
      explicitAck: false,
      capacity: 1_000,
      intentTypes: null,
      leaseTtlMs: 600_000,
    });
  return new Map(Array.from({ length: CALLERS }, (_, n) => [n, connect(n)] as const));
}

const access = (n: number) => ({
  ...EVERYTHING,
  namespace: namespaceOf(n),
  address: `${namespaceOf(n)}/ops`,
  patterns: [],
});
const list = ({ store }: Side, n: number) =>
  listIntents(store, { access: access(n), limit: 50, maxBytes: 4_000_000 });
const read = ({ store, ids }: Side, n: number) => findIntents(store, [ids[n % ids.length] ?? ""]);

async function openSide(admin: pg.Client, superuser: URL, walled: boolean): Promise<Side> {
  const name = walled ? "bench_walled" : "bench_open";
  await admin.query(`create database ${name} owner bench`);
  const url = new URL(superuser);
  [url.username, url.password, url.pathname] = ["bench", "bench", `/${name}`];
  await migrate(url.href);
  const owner = new pg.Client(url.href);
  await owner.connect();
  if (walled) {
    await admin.query(`alter database ${name} set perdure.namespace = '*'`);
    for (const table of WALLED.split(" "))
      await owner.query(`alter table ${table} enable row level security; alter table ${table} force row level security;
        create policy wall on ${table} using (${MINE}) with check (${MINE})`);
  }
  await owner.end();
  const store = openStore({
    connectionString: url.href,
    poolMax: 10,
    lockTimeoutMs: 2_000,
    idleTransactionMs: 5_000,
    queryTimeoutMs: 10_000,
  });
  const folded = engineOf(store, undefined);
  const ids = await Promise.all(Array.from({ length: ROWS }, (_, n) => create(folded, n)));
  const analyst = await store.pool.connect();
  await analyst.query("analyze");
  analyst.release();
  return { store, folded, single: engineOf(store, 1), ids };
}

const superuserUrl = async (dataDir: string): Promise<URL> => {
  const told = async (name: string) => (await readFile(join(dataDir, "postgres", name), "utf8")).trim();
  return new URL(`postgres://postgres:${await told("password")}@127.0.0.1:${await told("port")}/postgres`);
};

await withServer(async (_baseUrl, dataDir) => {
  const superuser = await superuserUrl(dataDir);
  const admin = new pg.Client(superuser.href);
  await admin.connect();
  await admin.query("create role bench login password 'bench'");
  const open = await openSide(admin, superuser, false);
  const walled = await openSide(admin, superuser, true);
  const consumers = new Map([
    [open, listening(open)],
    [walled, listening(walled)],
  ]);
  const life = (side: Side) => (n: number) => lives(side, n, consumers.get(side) ?? new Map());
  type Way = (side: Side) => (n: number) => Promise<unknown>;
  const measures: Record<string, { without: Way; with: Way }> = {
    create_past_policies: {
      without: (side) => (n) => create(side.folded, n),
      with: (side) => (n) => create(side.folded, n),
    },
    create_commit_per_tenant: {
      without: (side) => (n) => create(side.folded, n),
      with: (side) => (n) => create(side.single, n),
    },
    create_claim_complete_past_policies: { without: life, with: life },
    read_past_policies: { without: (side) => (n) => read(side, n), with: (side) => (n) => read(side, n) },
    read_under_setting: {
      without: (side) => (n) => read(side, n),
      with: (side) => (n) => readWalled(side, n),
    },
    list_past_policies: { without: (side) => (n) => list(side, n), with: (side) => (n) => list(side, n) },
  };
  for (const [name, ways] of Object.entries(measures)) {
    const ratios: number[] = [];
    const rates: number[] = [];
    for (let n = 0; n <= ROUNDS; n += 1) {
      // Either comes first in turn, and the first round warms up.
      const first = n % 2 === 0 ? await rate(ways.without(open)) : undefined;
      const under = await rate(ways.with(walled));
      const plain = first ?? (await rate(ways.without(open)));
      if (n === 0) continue;
      ratios.push(under / plain);
      rates.push(plain);
    }
    const spread = `${quantile(ratios, 0).toFixed(2)} to ${quantile(ratios, 1).toFixed(2)}`;
    console.log(`${name}: ${quantile(rates, 0.5).toFixed(0)} a second without, rounds from ${spread}`);
    console.log(`row_security_${name}=${quantile(ratios, 0.5).toFixed(3)}`);
  }
  for (const side of [open, walled]) {
    await side.folded.commits.close();
    await side.single.commits.close();
    await side.store.end();
  }
  await admin.end();
});
