// The server's logger: readable lines on a terminal, JSON elsewhere. Secrets and people's data never reach a line.

import { type DestinationStream, type Logger, pino, stdSerializers } from "pino";
import { PinoPretty } from "pino-pretty";

export type { Logger };

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Default: whether standard output is a terminal. */
  readonly pretty?: boolean;
  /** Default: standard output. */
  readonly destination?: DestinationStream;
}

const SECRETS = [
  "authorization",
  "cookie",
  "x-api-key",
  "api_key",
  "apiKey",
  "adminKey",
  "admin_key",
  "password",
  "token",
  "connectionString",
  "databaseUrl",
];
const DATA = ["payload", "result", "input", "data", "body", "parameters"];

const member = (name: string): string => (/^[a-z_]+$/i.test(name) ? name : `["${name}"]`);
const under = (parent: string, name: string): string =>
  name.startsWith("[") ? `${parent}${name}` : `${parent}.${name}`;

/** Paths one level down, below any object, and in request headers. */
const REDACTED = [...SECRETS, ...DATA]
  .map(member)
  .flatMap((name) => [name, under("*", name), under("*.headers", name)]);

/** An error's message and stack, not the statement parameters and rows that database errors drag along. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { type, message, stack, ...rest } = stdSerializers.errWithCause(error) as unknown as Record<
    string,
    unknown
  >;
  const kept: Record<string, unknown> = { type, message, stack };
  for (const name of ["code", "severity", "constraint", "table", "routine", "syscall"]) {
    if (rest[name] !== undefined) kept[name] = rest[name];
  }
  if (error.cause instanceof Error) kept.cause = serializeError(error.cause);
  return kept;
}

export function createLogger(options: LoggerOptions): Logger {
  const pretty = options.pretty ?? (options.destination === undefined && process.stdout.isTTY === true);
  const settings = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: { paths: REDACTED, censor: "[redacted]" },
    serializers: { err: serializeError },
  };
  // In this process, not in a worker thread: the last lines before an exit must not be lost.
  const sink = options.destination ?? pino.destination({ dest: 1, sync: true });
  if (!pretty) return pino(settings, sink);
  return pino(
    settings,
    PinoPretty({
      destination: sink,
      translateTime: "SYS:HH:MM:ss.l",
      ignore: "pid,hostname,reqId",
      sync: true,
    }),
  );
}
