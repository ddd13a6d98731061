// Owns how an environment becomes a frozen Config, or a message about everything that is wrong with it at once.
// What settings there are is in settings/. Nothing else of the server reads the environment.
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { z } from "zod";
import type { Setting } from "./settings/kinds.ts";
import { SETTINGS_BY_FIELD, type SettingsTable } from "./settings/table.ts";

type Environment = Readonly<Record<string, string | undefined>>;
type Optional = "publicUrl" | "adminKey" | "databaseUrl" | "rateLimit";
type Value<K extends keyof SettingsTable> = z.output<SettingsTable[K]["schema"]>;

export type Config = Readonly<
  { [K in Exclude<keyof SettingsTable, Optional | "adminKeyFile" | "corsOrigins">]: Value<K> } & {
    [K in Optional]: Value<K> | undefined;
  } & { corsOrigins: readonly string[]; warnings: readonly string[] }
>;

/** Variables that clients read, or that programs run by an agent receive: none of the server's business. */
const OTHERS = new Set([
  "PERDURE_URL",
  "PERDURE_API_KEY",
  "PERDURE_PROFILE",
  "PERDURE_CONTROL_DIR",
  "PERDURE_INTENT_ID",
  "PERDURE_ATTEMPT",
  "PERDURE_STEP",
  "PERDURE_IDEMPOTENCY_KEY",
]);

export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      problems.length === 1
        ? problems[0]
        : `Several settings are wrong:\n${problems.map((p) => `- ${p}`).join("\n")}`,
    );
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** An empty variable counts as not set, because compose files pass unset ones on as empty. */
export function loadConfig(env: Environment, cwd: string = process.cwd()): Config {
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [field, setting] of Object.entries(SETTINGS_BY_FIELD) as [string, Setting<unknown>][]) {
    const raw = env[setting.env]?.trim() || setting.fallback;
    if (raw === undefined) continue;
    const parsed = setting.schema.safeParse(raw);
    if (parsed.success) values[field] = parsed.data;
    else problems.push(complaint(setting, raw));
  }

  const { adminKeyFile, ...given } = values as Config & { adminKeyFile?: string };
  const adminKey =
    adminKeyFile === undefined ? given.adminKey : readKey(adminKeyFile, given.adminKey, problems);
  problems.push(...contradictions(given));
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze({
    ...given,
    adminKey,
    publicUrl: given.publicUrl?.replace(/\/+$/, ""),
    databaseUrl: given.databaseUrl,
    rateLimit: given.rateLimit,
    corsOrigins: Object.freeze(given.corsOrigins ?? []),
    dataDir: given.dataDir === undefined ? defaultDataDir(cwd) : resolve(cwd, expandHome(given.dataDir)),
    warnings: Object.freeze(unknownSettings(env)),
  });
}

function complaint(setting: Setting<unknown>, raw: string): string {
  return `${setting.env} must be ${setting.allowed}${setting.secret ? "" : `; it is ${JSON.stringify(raw.slice(0, 200))}`}`;
}

function readKey(file: string, key: string | undefined, problems: string[]): string | undefined {
  if (key !== undefined) problems.push("Set only one of PERDURE_ADMIN_KEY and PERDURE_ADMIN_KEY_FILE");
  try {
    const parsed = SETTINGS_BY_FIELD.adminKey.schema.safeParse(readFileSync(file, "utf8").trim());
    if (parsed.success) return parsed.data;
    problems.push(`The file of PERDURE_ADMIN_KEY_FILE must hold ${SETTINGS_BY_FIELD.adminKey.allowed}`);
  } catch (error) {
    problems.push(
      `PERDURE_ADMIN_KEY_FILE cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  return undefined;
}

/** Settings that are right by themselves and wrong together. A value that did not parse compares as false. */
function contradictions(config: Config): string[] {
  const problems: string[] = [];
  if (config.leaseTtlMs < 2 * config.heartbeatIntervalMs) {
    problems.push(
      `PERDURE_LEASE_TTL_MS (${config.leaseTtlMs}) must be at least twice PERDURE_HEARTBEAT_INTERVAL_MS (${config.heartbeatIntervalMs}), or one late heartbeat loses the work`,
    );
  }
  if (config.dbLockTimeoutMs >= config.dbQueryTimeoutMs) {
    problems.push(
      `PERDURE_DB_LOCK_TIMEOUT_MS (${config.dbLockTimeoutMs}) must be shorter than PERDURE_DB_QUERY_TIMEOUT_MS (${config.dbQueryTimeoutMs}), or a row that is held looks like a database that is away`,
    );
  }
  if (config.stallTimeoutMs <= config.keepAliveMs) {
    problems.push(
      `PERDURE_STALL_TIMEOUT_MS (${config.stallTimeoutMs}) must be longer than PERDURE_KEEP_ALIVE_MS (${config.keepAliveMs}), or silent streams are cut`,
    );
  }
  for (const field of ["payloadMaxBytes", "resultMaxBytes"] as const) {
    if (config[field] > config.bodyMaxBytes) {
      problems.push(
        `${SETTINGS_BY_FIELD[field].env} (${config[field]}) must not exceed PERDURE_BODY_MAX_BYTES (${config.bodyMaxBytes})`,
      );
    }
  }
  if (config.bodyMaxBytes > config.batchBodyMaxBytes) {
    problems.push(
      `PERDURE_BODY_MAX_BYTES (${config.bodyMaxBytes}) must not exceed PERDURE_BATCH_BODY_MAX_BYTES (${config.batchBodyMaxBytes})`,
    );
  }
  if (config.batchBodyMaxBytes > config.bodiesMaxBytes / 2) {
    problems.push(
      `PERDURE_BATCH_BODY_MAX_BYTES (${config.batchBodyMaxBytes}) must not exceed half of PERDURE_BODIES_MAX_BYTES (${config.bodiesMaxBytes}), or no client could send one`,
    );
  }
  return problems;
}

function unknownSettings(env: Environment): string[] {
  const known = new Set(Object.values(SETTINGS_BY_FIELD).map((setting) => setting.env));
  return Object.keys(env)
    .filter((name) => name.startsWith("PERDURE_") && !known.has(name) && !OTHERS.has(name))
    .sort()
    .map((name) => `${name} is not a setting of this version and has no effect`);
}

/** `.perdure/` of the checkout we are in, else in the user's home. */
function defaultDataDir(cwd: string): string {
  for (let directory = resolve(cwd); ; directory = dirname(directory)) {
    if (packageName(directory) === "perdure") return join(directory, ".perdure");
    if (directory === dirname(directory)) return join(homedir(), ".perdure");
  }
}

function packageName(directory: string): unknown {
  try {
    return (JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as { name?: unknown }).name;
  } catch {
    return undefined;
  }
}

/** Shells expand `~`, but .env files and service managers do not. */
function expandHome(path: string): string {
  return path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
}

export function isLoopback(host: string): boolean {
  const address = host
    .toLowerCase()
    .replace(/^\[|\]$/g, "")
    .replace(/^::ffff:/, "");
  return address === "localhost" || address === "::1" || /^127\.\d+\.\d+\.\d+$/.test(address);
}

/** Call before listening: a server that others can reach must know who may use it. `keysInDatabase`: an administrator's is or was there. */
export function requireSafeExposure(
  config: Pick<Config, "host" | "adminKey">,
  known: { keysInDatabase: boolean },
): void {
  if (isLoopback(config.host) || config.adminKey !== undefined || known.keysInDatabase) return;
  throw new ConfigError([
    `HOST is ${config.host}, which others can reach, and no key protects the server. ` +
      "Set PERDURE_ADMIN_KEY (for example to the output of: openssl rand -hex 24), make a key in the database " +
      "with: perdure keys create NAME --admin, or set HOST=127.0.0.1",
  ]);
}
