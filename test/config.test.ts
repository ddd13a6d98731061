// Covers server/config.ts and the page generated from its table.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { settingsPage } from "../scripts/generate-settings.ts";
import { ConfigError, isLoopback, loadConfig, requireSafeExposure } from "../server/config.ts";

const KEY = "0123456789abcdef";
let scratch: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "perdure-config-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error("these settings were accepted");
}

describe("loadConfig", () => {
  test("an empty environment gives the documented defaults", () => {
    expect(loadConfig({}, "/")).toEqual({
      host: "127.0.0.1",
      port: 7070,
      publicUrl: undefined,
      corsOrigins: [],
      adminKey: undefined,
      logLevel: "info",
      logFormat: "auto",
      databaseUrl: undefined,
      dataDir: join(homedir(), ".perdure"),
      dbPoolMax: 10,
      dbLockTimeoutMs: 2_000,
      dbIdleTransactionMs: 5_000,
      dbQueryTimeoutMs: 10_000,
      queueMax: 10_000,
      queueMaxBytes: 268_435_456,
      notify: "on",
      retentionDays: 30,
      stateVersionsKept: 0,
      dashboard: "on",
      batchPatienceMs: 1_000,
      feedEventsMax: 10_000,
      searchMax: 20_000,
      sortMax: 10_000,
      countMax: 200_000,
      hotRowsMax: 5_000,
      heartbeatIntervalMs: 10_000,
      leaseTtlMs: 30_000,
      reconnectGraceMs: 2_000,
      restartGraceMs: 10_000,
      pollIntervalMs: 1_000,
      windowedLeaseMs: 300_000,
      windowedHoldOffMs: 2_000,
      windowedReturnMs: 5_000,
      streamMaxAgeMs: 600_000,
      keepAliveMs: 15_000,
      shutdownTimeoutMs: 10_000,
      maxDeliveryAttempts: 3,
      maxTotalLosses: 100,
      bodyMaxBytes: 2_097_152,
      batchBodyMaxBytes: 16_777_216,
      bodiesMaxBytes: 268_435_456,
      bulkMax: 5_000,
      scenarioStepsMax: 100,
      payloadMaxBytes: 1_048_576,
      resultMaxBytes: 1_048_576,
      resultsMaxBytes: 33_554_432,
      headersTimeoutMs: 30_000,
      headersMaxBytes: 16_384,
      idleTimeoutMs: 72_000,
      stallTimeoutMs: 90_000,
      connectionsMax: 10_000,
      listenBacklog: 4_096,
      watchesPerClientMax: 100_000,
      streamsPerClientMax: 5_000,
      streamsPerAddressMax: 1_000,
      rateLimit: undefined,
      rateBurst: 10_000,
      wrongKeysBurst: 100,
      pageMax: 500,
      pageMaxBytes: 4_194_304,
      requestTimeoutMs: 60_000,
      frameMaxBytes: 32_768,
      jsonMaxDepth: 64,
      batchMax: 1_000,
      stepsMax: 10_000,
      checkpointsMax: 1_000,
      capacityMax: 10_000,
      nameMax: 200,
      keyMax: 200,
      textMax: 2_000,
      metadataMaxBytes: 16_384,
      warnings: [],
    });
  });

  test("the result cannot be changed", () => {
    const config = loadConfig({ PERDURE_CORS_ORIGINS: "*" });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.corsOrigins)).toBe(true);
  });

  test("an empty variable counts as not set", () => {
    expect(loadConfig({ PORT: "", DATABASE_URL: " " })).toMatchObject({ port: 7070, databaseUrl: undefined });
  });

  test("port 0 is allowed", () => {
    expect(loadConfig({ PORT: "0" }).port).toBe(0);
  });

  test("every wrong setting is named, with what is allowed and what it is", () => {
    expect(problemsOf({ PORT: "70x", PERDURE_LOG_LEVEL: "loud", PERDURE_NOTIFY: "yes" })).toEqual([
      'PORT must be a whole number from 0 to 65535; it is "70x"',
      'PERDURE_LOG_LEVEL must be one of trace, debug, info, warn, error, fatal, silent; it is "loud"',
      'PERDURE_NOTIFY must be one of on, off; it is "yes"',
    ]);
  });

  test.each(["-1", "65536", "1e3", "0x10", "7070.5", "99999999999999999999"])(
    "PORT=%s is refused",
    (port) => {
      expect(problemsOf({ PORT: port })).toHaveLength(1);
    },
  );

  test("a secret is never repeated in a message", () => {
    const problems = problemsOf({ PERDURE_ADMIN_KEY: "hunter2", DATABASE_URL: "mysql://u:hunter2@h/d" });
    expect(problems).toHaveLength(2);
    expect(problems.join()).not.toContain("hunter2");
  });

  test("settings that contradict each other are refused", () => {
    expect(problemsOf({ PERDURE_LEASE_TTL_MS: "15000" })[0]).toContain(
      "at least twice PERDURE_HEARTBEAT_INTERVAL_MS",
    );
    expect(problemsOf({ PERDURE_DB_LOCK_TIMEOUT_MS: "10000" })[0]).toContain(
      "shorter than PERDURE_DB_QUERY_TIMEOUT_MS",
    );
    expect(problemsOf({ PERDURE_STALL_TIMEOUT_MS: "15000" })[0]).toContain(
      "longer than PERDURE_KEEP_ALIVE_MS",
    );
    expect(problemsOf({ PERDURE_PAYLOAD_MAX_BYTES: "4000000" })[0]).toContain(
      "PERDURE_BODY_MAX_BYTES (2097152)",
    );
    expect(problemsOf({ PERDURE_RESULT_MAX_BYTES: "4000000" })[0]).toContain(
      "PERDURE_BODY_MAX_BYTES (2097152)",
    );
    expect(problemsOf({ PERDURE_BODY_MAX_BYTES: "20000000" })[0]).toContain("PERDURE_BATCH_BODY_MAX_BYTES");
  });

  test("origins are a list, a URL loses its last slash", () => {
    const config = loadConfig({
      PERDURE_CORS_ORIGINS: "https://a.example, http://localhost:3000",
      PERDURE_PUBLIC_URL: "https://perdure.example/",
    });
    expect(config.corsOrigins).toEqual(["https://a.example", "http://localhost:3000"]);
    expect(config.publicUrl).toBe("https://perdure.example");
    expect(problemsOf({ PERDURE_CORS_ORIGINS: "https://a.example/path" })).toHaveLength(1);
  });

  test("the administrator's key can come from a file, and only from one place", () => {
    const file = join(scratch, "key");
    writeFileSync(file, `${KEY}\n`);
    expect(loadConfig({ PERDURE_ADMIN_KEY_FILE: file }).adminKey).toBe(KEY);
    expect(problemsOf({ PERDURE_ADMIN_KEY_FILE: file, PERDURE_ADMIN_KEY: KEY })[0]).toContain("only one of");
    expect(problemsOf({ PERDURE_ADMIN_KEY_FILE: join(scratch, "none") })[0]).toContain("cannot be read");
    writeFileSync(file, "short");
    expect(problemsOf({ PERDURE_ADMIN_KEY_FILE: file })[0]).toContain("at least 16");
  });

  test("the data directory is in the checkout we are in, else in the home, else where it is set", () => {
    const inside = join(scratch, "checkout", "docs");
    mkdirSync(inside, { recursive: true });
    writeFileSync(join(scratch, "checkout", "package.json"), '{"name":"perdure"}');
    expect(loadConfig({}, inside).dataDir).toBe(join(scratch, "checkout", ".perdure"));
    expect(loadConfig({}, scratch).dataDir).toBe(join(homedir(), ".perdure"));
    expect(loadConfig({ PERDURE_DATA_DIR: "data" }, scratch).dataDir).toBe(join(scratch, "data"));
    expect(loadConfig({ PERDURE_DATA_DIR: "~/data" }, scratch).dataDir).toBe(join(homedir(), "data"));
  });

  test("an unknown PERDURE_ variable is a warning, one that clients read is not", () => {
    const { warnings } = loadConfig({
      PERDURE_LEASE_TTL: "1",
      PERDURE_URL: "x",
      PERDURE_STEP: "a",
      OTHER: "1",
    });
    expect(warnings).toEqual(["PERDURE_LEASE_TTL is not a setting of this version and has no effect"]);
  });
});

describe("requireSafeExposure", () => {
  test.each(["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"])(
    "%s needs no key",
    (host) => {
      expect(isLoopback(host)).toBe(true);
      expect(() => requireSafeExposure(loadConfig({ HOST: host }), { keysInDatabase: false })).not.toThrow();
    },
  );

  test.each(["0.0.0.0", "::", "192.168.1.5", "perdure.example", "127.0.0.1.example.com"])(
    "%s is refused without a key",
    (host) => {
      const open = loadConfig({ HOST: host });
      expect(() => requireSafeExposure(open, { keysInDatabase: false })).toThrow(/PERDURE_ADMIN_KEY/);
      expect(() => requireSafeExposure(open, { keysInDatabase: true })).not.toThrow();
      const keyed = loadConfig({ HOST: host, PERDURE_ADMIN_KEY: KEY });
      expect(() => requireSafeExposure(keyed, { keysInDatabase: false })).not.toThrow();
    },
  );
});

test("docs/settings.md is what the table says", () => {
  expect(readFileSync(new URL("../docs/settings.md", import.meta.url), "utf8")).toBe(settingsPage());
});
