// A server that is stopped in the middle of a transaction, and whoever else holds rows, hold up only who needs these rows.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RawJson } from "../../server/domain/raw-json.ts";
import { claimIntents } from "../../server/engine/claim.ts";
import { isConnectionError } from "../../server/store/connection.ts";
import { renewByWrite, renewOpenStreams } from "../../server/store/consumers.ts";
import { GroupCommit } from "../../server/store/group-commit.ts";
import { HeldUp } from "../../server/store/held-up.ts";
import { claimOne, eventsOf, listen, post, send } from "../delivery/listener.ts";
import { asAdmin } from "../support/postgres.ts";
import { type Answer, call, startTestServer, type TestServer, until } from "../support/server.ts";
import { openWire, type Wire } from "./wire.ts";

/** Leases that outlast a busy machine: here nobody is to lose one. */
const QUICK = {
  PERDURE_DB_LOCK_TIMEOUT_MS: "150",
  PERDURE_HEARTBEAT_INTERVAL_MS: "3000",
  PERDURE_LEASE_TTL_MS: "15000",
};
let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ env: QUICK });
});
afterAll(() => server.close());

const progress = (at: { url: string }, id: string, message: string) =>
  post(at, id, "progress", { attempt: 1, message });
const create = (to: string, key?: string) =>
  call(
    server,
    "POST",
    "/v1/intents",
    { intent_type: "job.v1", to_agent: to, payload: {} },
    key === undefined ? {} : { "idempotency-key": key },
  );
const statuses = (answers: readonly Answer[]) => [...new Set(answers.map((answer) => answer.status))];

/** While `use` runs, somebody forgot this transaction open. */
function whileHeld<T>(statement: string, values: unknown[], use: () => Promise<T>): Promise<T> {
  return asAdmin(server.databaseUrl, async (admin) => {
    await admin.query("begin");
    await admin.query(statement, values);
    const result = await use();
    await admin.query("rollback");
    return result;
  });
}

async function held(agent: string): Promise<string> {
  const id = await send(server, agent);
  await claimOne(server, agent);
  return id;
}

describe("a server that is stopped in the middle of a transaction", () => {
  let wire: Wire;
  let stopped: TestServer;
  beforeAll(async () => {
    wire = await openWire(server.databaseUrl);
    stopped = await startTestServer({
      databaseUrl: wire.url,
      env: {
        PERDURE_DB_IDLE_TRANSACTION_MS: "300",
        PERDURE_DB_LOCK_TIMEOUT_MS: "100",
        PERDURE_DB_QUERY_TIMEOUT_MS: "600",
        PERDURE_NOTIFY: "off",
      },
    });
  });
  afterAll(async () => {
    wire.goOn();
    await stopped.close();
    await wire.close();
  });

  test.each(["before", "within"] as const)(
    "loses its rows to the others when it stands %s a message, and its write is not lost or doubled",
    async (where) => {
      if (where === "within" && (await serverVersion()) < 17) return;
      const id = await held(`stopped-${where}`);
      const came = wire.stopAt("intents_work", where);
      const first = progress(stopped, id, "of the stopped one");
      await came;
      const second = await until("the row is free", async () => {
        const answer = await progress(server, id, "of the other");
        return answer.status === 200 && answer;
      });
      expect(second.body.ok).toBe(true);
      wire.goOn();
      const answer = await first;
      const said = (await eventsOf(server, id))
        .filter((event) => event.event_type === "intent.progress")
        .map((event) => event.details.message);
      // Stopped for as long as a write may wait, it is told so; otherwise it is done again.
      expect(said).toEqual(answer.status === 200 ? ["of the other", "of the stopped one"] : ["of the other"]);
      if (answer.status !== 200) expect(answer).toMatchObject({ status: 503, body: { code: "unavailable" } });
    },
  );

  test("finds a connection that PostgreSQL ended for it as one that is gone", async () => {
    const client = await stopped.store.writers.connect();
    await client.query("begin");
    const error = await new Promise((resolve) => client.once("error", resolve));
    expect(error).toMatchObject({ code: "25P03" });
    expect(isConnectionError(error)).toBe(true);
    expect(isConnectionError(await client.query("select 1").catch((cause) => cause))).toBe(true);
    client.release(true);
  });
});

async function serverVersion(): Promise<number> {
  const { rows } = await server.store.pool.query(
    "select current_setting('server_version_num')::int / 10000 as n",
  );
  return rows[0].n;
}

describe("writes", () => {
  test("go on beside those whose rows are held; these are answered 503 in the end, and work afterwards", async () => {
    const [x, y, free] = [await held("held-x"), await held("held-y"), await held("free")];
    await whileHeld("select 1 from intents where id = any($1) for update", [[x, y]], async () => {
      const heldUp = [x, y].map((id) => progress(server, id, "too early"));
      // Two waves: the rows are known to be held by the second one.
      for (const wave of [1, 2]) {
        const others = Array.from({ length: 30 }, () => create("beside"));
        const again = wave === 1 ? [] : [progress(server, x, "too early again")];
        expect(statuses(await Promise.all([...others, progress(server, free, `wave ${wave}`)]))).toEqual([
          200,
        ]);
        heldUp.push(...again);
      }
      const answers = await Promise.all(heldUp);
      expect(statuses(answers)).toEqual([503]);
      expect(answers[0]?.body).toMatchObject({ code: "unavailable", retryable: true });
      expect(answers[0]?.headers.get("retry-after")).not.toBeNull();
    });
    for (const id of [x, y]) {
      expect((await progress(server, id, "now")).status).toBe(200);
      const said = (await eventsOf(server, id)).filter((event) => event.event_type === "intent.progress");
      expect(said.map((event) => event.details.message)).toEqual(["now"]);
    }
  });

  test("that wait for a row go through when it comes free in time", async () => {
    const x = await held("freed");
    const late = await whileHeld("select 1 from intents where id = $1 for update", [x], async () => {
      const write = progress(server, x, "late");
      expect(statuses(await Promise.all(Array.from({ length: 5 }, () => create("beside"))))).toEqual([200]);
      await until("it has been set apart", () => server.engine.commits.waiting === 1);
      return { write };
    });
    expect((await late.write).status).toBe(200);
    await until("nothing waits any more", () => server.engine.commits.waiting === 0);
  });

  test("go on beside one whose key another transaction is about to insert", async () => {
    const write = (key: string) => {
      const ref = { namespace: "n", sender: "s", operation: "o", key, fingerprint: "f" };
      return server.engine.commits.submit({
        name: key,
        intents: [],
        idempotency: ref,
        decide(work) {
          if (work.record(ref) === undefined)
            work.stageRecord({ ...ref, intentId: null, response: RawJson.of(key) });
          return key;
        },
      });
    };
    const insert = `insert into idempotency_keys (namespace, sender, operation, key, fingerprint, response, created_at)
      values ('n', 's', 'o', 'key 20', 'f', '1', now())`;
    const late = await whileHeld(insert, [], async () => {
      // All in one flush: nothing tells beforehand which of them will have to wait.
      const writes = Array.from({ length: 40 }, (_, n) => write(`key ${n}`));
      const [heldUp] = writes.splice(20, 1);
      await Promise.all(writes);
      return { heldUp };
    });
    expect(await late.heldUp).toBe("key 20");
  });

  test("wait once for whoever holds rows, not for every single one of them", async () => {
    const [x, y] = [await held("many-x"), await held("many-y")];
    const waited: unknown[] = [];
    const commits = new GroupCommit(server.store, {
      queueMax: 100,
      outageMs: 500,
      onError: (error) => waited.push(error),
    });
    const look = (id: string) => commits.submit({ name: "look", intents: [id], decide: () => "seen" });
    await whileHeld("select 1 from intents where id = any($1) for update", [[x, y]], async () => {
      const first = look(x).catch((error) => error);
      await until("it has been set apart", () => waited.length === 1 && commits.waiting === 1);
      const second = look(y).catch((error) => error);
      expect(await commits.submit({ name: "beside", intents: [], decide: () => "done" })).toBe("done");
      expect(await Promise.all([first, second])).toEqual([expect.any(HeldUp), expect.any(HeldUp)]);
    });
    expect(waited).toHaveLength(1);
    expect(await look(x)).toBe("seen");
    await commits.close();
  });

  test("are all answered in time while a table of theirs is held as a whole", async () => {
    const x = await held("tabled");
    await whileHeld("lock table events in access exclusive mode", [], async () => {
      const writes = [progress(server, x, "no"), ...Array.from({ length: 60 }, () => create("tabled"))];
      expect(statuses(await Promise.all(writes))).toEqual([503]);
    });
    expect((await progress(server, x, "yes")).status).toBe(200);
  });

  test("do without the shortcut to a consumer while all consumers are held", async () => {
    const listener = await listen(server, "shortcut", { capacity: 100 });
    await whileHeld("lock table consumers in access exclusive mode", [], async () => {
      expect(statuses(await Promise.all(Array.from({ length: 20 }, () => create("shortcut"))))).toEqual([
        200,
      ]);
    });
    listener.cut();
  });
});

describe("a consumer whose row is held", () => {
  test("is told to come back, and however often it asks, writes go on", async () => {
    const listener = await listen(server, "busy");
    await whileHeld("select 1 from consumers where id = $1 for update", [listener.consumerId], async () => {
      const beats = Array.from({ length: 12 }, () =>
        call(server, "POST", `/v1/consumers/${listener.consumerId}/heartbeat`, {}),
      );
      expect(statuses(await Promise.all(Array.from({ length: 10 }, () => create("unrelated"))))).toEqual([
        200,
      ]);
      const answers = await Promise.all(beats);
      expect(statuses(answers)).toEqual([503]);
      expect(answers[0]?.body).toMatchObject({ code: "unavailable", retryable: true });
    });
    listener.cut();
  });

  test("holds up no claim and no renewal of the others", async () => {
    const [one, two] = [await listen(server, "shared"), await listen(server, "shared")];
    const leaseOf = async (id: string) => {
      const { rows } = await server.store.pool.query("select lease_until from consumers where id = $1", [id]);
      return rows[0].lease_until as number;
    };
    await whileHeld("select 1 from consumers where id = $1 for update", [one.consumerId], async () => {
      const open = [one, two].map((each) => ({ id: each.consumerId, streamNo: 1 }));
      const before = await leaseOf(two.consumerId);
      await renewOpenStreams(server.store, open);
      expect(await leaseOf(two.consumerId)).toBeGreaterThan(before);
      const claim = { consumer: "by-write", wait_seconds: 0 };
      const claimer = (await call(server, "POST", "/v1/agents/apart/claim", claim)).body.consumer_id;
      const claimed = await leaseOf(claimer);
      await renewByWrite(server.store, [one.consumerId, claimer]);
      expect(await leaseOf(claimer)).toBeGreaterThan(claimed);
      const requests = open.map(({ id, streamNo }) => ({ consumerId: id, streamNo, want: 1 }));
      await claimIntents(server.engine, requests);
      await create("shared");
      await two.next("intent.delivered");
    });
    one.cut();
    two.cut();
  });
});
