// Owns the table of the server's settings: the variable, default, permitted values and meaning of each. Parsing
// (config.ts) and docs/settings.md both come from it. Must not read the environment.
import { z } from "zod";
import { choice, integer, parseUrl, type Setting, text, url } from "./kinds.ts";
import { limits } from "./limits.ts";

const MIB = 1_048_576;
const DAY_MS = 86_400_000;

const network = {
  host: text(
    "HOST",
    "127.0.0.1",
    "an address or host name",
    "Address to listen on. Beyond loopback the server requires keys.",
  ),
  port: integer("PORT", 7070, 0, 65_535, "Port to listen on; 0 takes a free one."),
  listenBacklog: integer(
    "PERDURE_LISTEN_BACKLOG",
    4_096,
    1,
    65_535,
    "How many new connections the system keeps for a server that is busy; it takes no more than `net.core.somaxconn`. One too many may see its connection reset.",
  ),
  publicUrl: url(
    "PERDURE_PUBLIC_URL",
    ["http:", "https:"],
    "an http:// or https:// URL",
    "How others reach the server, for links it hands out.",
  ),
  corsOrigins: {
    env: "PERDURE_CORS_ORIGINS",
    about: "Origins whose pages may call the API from a browser, separated by commas; `*` allows every one.",
    allowed: "* or a comma-separated list of origins such as https://example.com",
    fallback: undefined,
    schema: z
      .string()
      .transform((value) => value.split(",").map((origin) => origin.trim()))
      .refine((origins) => origins.every((origin) => origin === "*" || parseUrl(origin)?.origin === origin)),
  } satisfies Setting<string[]>,
  dashboard: choice(
    "PERDURE_DASHBOARD",
    "on",
    ["on", "off"],
    "The web page at `/`; `off` serves the API alone.",
  ),
  adminKey: {
    env: "PERDURE_ADMIN_KEY",
    about: "The administrator's API key. Needed to listen beyond loopback unless the database holds keys.",
    allowed: "at least 16 printable characters without spaces",
    fallback: undefined,
    schema: z.string().regex(/^[\x21-\x7e]{16,512}$/),
    secret: true,
  } satisfies Setting<string>,
  adminKeyFile: text(
    "PERDURE_ADMIN_KEY_FILE",
    undefined,
    "a readable file",
    "A file that holds the administrator's key, instead of PERDURE_ADMIN_KEY.",
  ),
  logLevel: choice(
    "PERDURE_LOG_LEVEL",
    "info",
    ["trace", "debug", "info", "warn", "error", "fatal", "silent"],
    "Least important messages to log.",
  ),
  logFormat: choice(
    "PERDURE_LOG_FORMAT",
    "auto",
    ["auto", "pretty", "json"],
    "`auto`: pretty on a terminal, else JSON.",
  ),
};

const storage = {
  databaseUrl: {
    ...url(
      "DATABASE_URL",
      ["postgres:", "postgresql:"],
      "a postgres:// URL",
      "PostgreSQL 15 to 18 to use. Without it the server starts its own.",
    ),
    secret: true,
  } satisfies Setting<string>,
  dataDir: text(
    "PERDURE_DATA_DIR",
    undefined,
    "a directory",
    "Where the server's own PostgreSQL keeps its data. Default: `.perdure/` in a checkout, else `~/.perdure`.",
  ),
  dbPoolMax: integer(
    "PERDURE_DB_POOL_MAX",
    10,
    2,
    1_000,
    "Most connections to PostgreSQL for reading; writing takes up to seven, notifications one.",
  ),
  dbLockTimeoutMs: integer(
    "PERDURE_DB_LOCK_TIMEOUT_MS",
    2_000,
    10,
    DAY_MS,
    "How long a write waits for a row that another server holds before the others go on without it.",
  ),
  dbIdleTransactionMs: integer(
    "PERDURE_DB_IDLE_TRANSACTION_MS",
    5_000,
    100,
    DAY_MS,
    "How long a server that is stopped in the middle of a transaction keeps its rows.",
  ),
  dbQueryTimeoutMs: integer(
    "PERDURE_DB_QUERY_TIMEOUT_MS",
    10_000,
    100,
    DAY_MS,
    "How long PostgreSQL may take to answer before it counts as away.",
  ),
  queueMax: integer(
    "PERDURE_QUEUE_MAX",
    10_000,
    1,
    1_000_000,
    "Most writes waiting to be committed; further ones are answered 503.",
  ),
  queueMaxBytes: integer(
    "PERDURE_QUEUE_MAX_BYTES",
    256 * MIB,
    MIB,
    1_024 * 1_024 * MIB,
    "What writes that wait to be committed may hold in all; further ones are answered 503.",
  ),
  hotRowsMax: integer(
    "PERDURE_HOT_ROWS_MAX",
    5_000,
    0,
    1_000_000,
    "Intents at work that are kept in memory, some 4 KB each, so that they are locked and not read again for each write; 0 keeps none.",
  ),
  notify: choice(
    "PERDURE_NOTIFY",
    "on",
    ["on", "off"],
    "PostgreSQL notifications between servers; `off` leaves polling.",
  ),
  retentionDays: integer(
    "PERDURE_RETENTION_DAYS",
    30,
    0,
    36_500,
    "Days to keep ended intents with their log, steps and state; 0 keeps them for ever. An intent's own `retention.max_age_seconds` wins.",
  ),
  stateVersionsKept: integer(
    "PERDURE_STATE_VERSIONS_KEPT",
    0,
    0,
    1_000_000,
    "Versions kept of each key of an intent's state, where its `retention.keep` does not say; 0 keeps all. What a checkpoint names is always kept.",
  ),
};

const delivery = {
  heartbeatIntervalMs: integer(
    "PERDURE_HEARTBEAT_INTERVAL_MS",
    10_000,
    10,
    DAY_MS,
    "How often agents are told to send heartbeats.",
  ),
  leaseTtlMs: integer(
    "PERDURE_LEASE_TTL_MS",
    30_000,
    20,
    DAY_MS,
    "How long a silent agent keeps its work. At least two heartbeat intervals.",
  ),
  reconnectGraceMs: integer(
    "PERDURE_RECONNECT_GRACE_MS",
    2_000,
    0,
    DAY_MS,
    "How long an agent whose stream closed may take to come back.",
  ),
  restartGraceMs: integer(
    "PERDURE_RESTART_GRACE_MS",
    10_000,
    0,
    DAY_MS,
    "How long leases outlive their time after the server was down.",
  ),
  pollIntervalMs: integer(
    "PERDURE_POLL_INTERVAL_MS",
    1_000,
    10,
    DAY_MS,
    "How often to look for work that no notification told of.",
  ),
  windowedLeaseMs: integer(
    "PERDURE_WINDOWED_LEASE_MS",
    300_000,
    1_000,
    DAY_MS,
    "How long an agent that asks for work in windows keeps an intent without a sign of life.",
  ),
  windowedHoldOffMs: integer(
    "PERDURE_WINDOWED_HOLD_OFF_MS",
    2_000,
    0,
    DAY_MS,
    "How long such an agent that has just started waits before it gets what its predecessor had.",
  ),
  windowedReturnMs: integer(
    "PERDURE_WINDOWED_RETURN_MS",
    5_000,
    100,
    DAY_MS,
    "How soon such an agent comes back after a window without work; later it counts as just started.",
  ),
  streamMaxAgeMs: integer(
    "PERDURE_STREAM_MAX_AGE_MS",
    600_000,
    100,
    DAY_MS,
    "Age at which an event stream is ended, for the client to open another.",
  ),
  keepAliveMs: integer(
    "PERDURE_KEEP_ALIVE_MS",
    15_000,
    10,
    DAY_MS,
    "Pause between comments on a silent event stream.",
  ),
  shutdownTimeoutMs: integer(
    "PERDURE_SHUTDOWN_TIMEOUT_MS",
    10_000,
    0,
    DAY_MS,
    "Longest a graceful stop may take.",
  ),
  maxDeliveryAttempts: integer(
    "PERDURE_MAX_DELIVERY_ATTEMPTS",
    3,
    1,
    1_000,
    "Lost deliveries without progress after which an intent fails, unless it says otherwise.",
  ),
  maxTotalLosses: integer(
    "PERDURE_MAX_TOTAL_LOSSES",
    100,
    1,
    100_000,
    "Lost deliveries after which an intent fails even when it made progress.",
  ),
};

/** The table, in the order of docs/settings.md. */
export const SETTINGS_BY_SECTION = { Network: network, Storage: storage, Delivery: delivery, Limits: limits };

/** The same by their names in Config. */
export const SETTINGS_BY_FIELD = { ...network, ...storage, ...delivery, ...limits };
export type SettingsTable = typeof SETTINGS_BY_FIELD;
