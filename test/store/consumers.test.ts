// What is decided about a consumer without its lock in hand is looked at again under it.
import { afterAll, beforeAll, expect, test } from "vitest";
import { newId } from "../../server/domain/ids.ts";
import { forgetIdleConsumers, streamsWithoutLease } from "../../server/store/consumers.ts";
import { listen } from "../delivery/listener.ts";
import { asAdmin } from "../support/postgres.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const HOUR_MS = 3_600_000;

/** A consumer that nobody has used for two hours. */
async function idleConsumer(name: string): Promise<string> {
  const listener = await listen(server, name, { consumer: name });
  listener.cut();
  await until("the stream is known closed and its lease over", async () => {
    const { rowCount } = await server.store.pool.query(
      `update consumers set seen_at = seen_at - interval '2 hours'
        where id = $1 and lease_until is null and closed_stream_no = stream_no`,
      [listener.consumerId],
    );
    return rowCount === 1;
  });
  return listener.consumerId;
}

async function exists(id: string): Promise<boolean> {
  const { rowCount } = await server.store.pool.query("select 1 from consumers where id = $1", [id]);
  return rowCount === 1;
}

test("a consumer that comes back while idle ones are forgotten is kept", async () => {
  const id = await idleConsumer("returning");
  await asAdmin(server.databaseUrl, async (admin) => {
    // As its connect does, whose commit is still on its way.
    await admin.query("begin");
    await admin.query(
      "update consumers set lease_until = now() + interval '1 minute', seen_at = now() where id = $1",
      [id],
    );
    let over = false;
    const forgetting = forgetIdleConsumers(server.store, HOUR_MS, 100).finally(() => {
      over = true;
    });
    await asAdmin(server.databaseUrl, (other) =>
      until("it is done, or waits for the row", async () => {
        const { rowCount } = await other.query(
          "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        );
        return over || rowCount === 1;
      }),
    );
    await admin.query("commit");
    expect(await forgetting).toBe(0);
  });
  expect(await exists(id)).toBe(true);
});

test("a consumer that nobody has used for long is forgotten", async () => {
  const id = await idleConsumer("gone");
  expect(await forgetIdleConsumers(server.store, HOUR_MS, 100)).toBe(1);
  expect(await exists(id)).toBe(false);
});

test("an open stream whose consumer is not in the database any more is found", async () => {
  const listener = await listen(server, "rowless");
  const open = { id: listener.consumerId, streamNo: 1 };
  expect(await streamsWithoutLease(server.store, [open])).toEqual([]);
  const stranger = { id: newId(), streamNo: 7 };
  expect(await streamsWithoutLease(server.store, [open, stranger])).toEqual([stranger.id]);
  listener.cut();
});
