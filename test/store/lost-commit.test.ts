// COMMIT is done and its answer is lost: whatever was written is recognised, and decided a second time only if nothing was.
import { afterAll, beforeAll, expect, test } from "vitest";
import { newId } from "../../server/domain/ids.ts";
import { SERVER } from "../../server/domain/intent.ts";
import { RawJson } from "../../server/domain/raw-json.ts";
import { eventsOf, send } from "../delivery/listener.ts";
import { createTestDatabase, type TestDatabase } from "../support/postgres.ts";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { openWire, type Wire } from "./wire.ts";

let database: TestDatabase;
let wire: Wire;
let server: TestServer;
beforeAll(async () => {
  database = await createTestDatabase();
  wire = await openWire(database.url);
  server = await startTestServer({ databaseUrl: wire.url, env: { PERDURE_NOTIFY: "off" } });
});
afterAll(async () => {
  await server.close();
  await wire.close();
  await database.drop();
});

async function losingTheCommit<T>(write: () => Promise<T>): Promise<T> {
  const lost = wire.loseCommit();
  const [answer] = await Promise.all([write(), lost]);
  return answer;
}

const put = (key: string, body: object) => call(server, "PUT", `/v1/state/session%3As/${key}`, body);
const versionsOf = async (key: string): Promise<unknown[]> =>
  (await call(server, "GET", `/v1/state/session%3As/${key}/versions`)).body.versions;

test("a session's state that expects a version is not told that it lost against itself", async () => {
  const answer = await losingTheCommit(() => put("compared", { value: 1, if_version: 0 }));
  expect(answer).toMatchObject({ status: 200, body: { entry: { version: 1 } } });
  expect(await versionsOf("compared")).toHaveLength(1);
});

test("a session's state that expects nothing is written once", async () => {
  const answer = await losingTheCommit(() => put("blind", { value: 1 }));
  expect(answer).toMatchObject({ status: 200, body: { entry: { version: 1 } } });
  expect(await versionsOf("blind")).toHaveLength(1);
});

test("an intent is created once", async () => {
  const id = await losingTheCommit(() => send(server, "somebody"));
  expect((await eventsOf(server, id)).map((event) => event.event_type)).toEqual([
    "intent.created",
    "intent.submitted",
  ]);
  const { rows } = await server.store.pool.query("select count(*)::int as n from intents");
  expect(rows[0].n).toBe(1);
});

test("an operation of which only its key was written is decided once", async () => {
  let decided = 0;
  const ref = { namespace: "n", sender: "s", operation: "o", key: "k", fingerprint: "f" };
  const answer = await losingTheCommit(() =>
    server.engine.commits.submit({
      name: "keyed",
      intents: [],
      idempotency: ref,
      decide(work) {
        decided += 1;
        work.stageRecord({ ...ref, intentId: newId(), response: RawJson.of(1) });
        return "done";
      },
    }),
  );
  expect([answer, decided]).toEqual(["done", 1]);
});

test("an operation that wrote nothing is simply done again", async () => {
  const answer = await losingTheCommit(() =>
    server.engine.commits.submit({ name: "look", intents: [], decide: () => "seen" }),
  );
  expect(answer).toBe("seen");
});

test("an operation whose writes cannot be recognised is told that its outcome is unknown, and not done again", async () => {
  const id = await send(server, "unrecognisable");
  let decided = 0;
  const failure = await losingTheCommit(() =>
    server.engine.commits
      .submit({
        name: "silent change",
        intents: [id],
        decide(work) {
          decided += 1;
          work.stage(work.open(id, SERVER));
        },
      })
      .catch((error) => error),
  );
  expect(failure).toMatchObject({ code: "unavailable", details: { outcome: "unknown" } });
  expect(decided).toBe(1);
});
