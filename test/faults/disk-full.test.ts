// PostgreSQL's disk is full: writes are answered 503 and when to come again, nothing is stored by half, and once there is room all goes on.
// Needs a disk of its own, which only root can make, on Linux: elsewhere it is skipped.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { migrate } from "../../server/store/migrate.ts";
import { verifyDatabase } from "../../server/verify/verify.ts";
import { type Answer, call, startTestServer, type TestServer, until } from "../support/server.ts";
import { adoptDatabase, forgetDatabase } from "./reaper.ts";

/** The cluster, two segments of its log, and little more. */
const DISK = "size=140m,mode=0755";
const PAYLOAD_BYTES = 200_000;
const LEFT_BYTES = 2_000_000;

const directory = mkdtempSync(join(tmpdir(), "perdure-disk-"));
function mounted(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", DISK, "tmpfs", directory], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
const hasDisk = mounted();
const filler = join(directory, "filler");
const random = (n: number) =>
  Array.from({ length: PAYLOAD_BYTES / 10 }, (_, at) =>
    ((n + 1) * (at + 7) * 2_654_435_761).toString(36).slice(-10),
  ).join("");

describe.skipIf(!hasDisk)("a full disk", () => {
  let postgres: EmbeddedPostgres;
  let server: TestServer;
  beforeAll(async () => {
    adoptDatabase(directory, []);
    postgres = await startEmbeddedPostgres({
      dataDir: directory,
      settings: { max_wal_size: "32MB", min_wal_size: "32MB" },
    });
    await migrate(postgres.url);
    server = await startTestServer({
      databaseUrl: postgres.url,
      env: { PERDURE_LEASE_TTL_MS: "60000", PERDURE_RESTART_GRACE_MS: "60000" },
    });
  });
  afterAll(async () => {
    rmSync(filler, { force: true });
    await server?.close();
    await postgres?.stop();
    forgetDatabase(directory);
    execFileSync("umount", ["-l", directory], { stdio: "ignore" });
    rmSync(directory, { recursive: true, force: true });
  });

  const create = (n: number): Promise<Answer> =>
    call(
      server,
      "POST",
      "/v1/intents",
      { intent_type: "large.v1", to_agent: "nobody", payload: { text: random(n) } },
      { "idempotency-key": `large-${n}` },
    );

  test("is answered 503, stores nothing by half, and is over when there is room", {
    timeout: 240_000,
  }, async () => {
    const accepted: string[] = [];
    expect((await create(0)).status).toBe(200);
    const { bavail, bsize } = statfsSync(directory);
    writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - LEFT_BYTES)));

    let refused: Answer | undefined;
    for (let n = 1; n < 500 && refused === undefined; n += 1) {
      const answer = await create(n);
      if (answer.status === 200) accepted.push(answer.body.intent_id);
      else refused = answer;
    }
    expect(refused).toMatchObject({ status: 503, body: { code: "unavailable", retryable: true } });
    expect(Number(refused?.headers.get("retry-after"))).toBeGreaterThan(0);

    rmSync(filler);
    const again = await until(
      "writes go on",
      async () => {
        const answer = await create(1_000);
        return answer.status === 200 ? answer : undefined;
      },
      120_000,
    );
    accepted.push(again.body.intent_id);
    for (const id of accepted) expect((await call(server, "GET", `/v1/intents/${id}`)).status).toBe(200);
    expect((await verifyDatabase(postgres.url)).violations).toEqual([]);
  });
});

if (!hasDisk) rmSync(directory, { recursive: true, force: true });
