// Owns how anything thrown becomes a message and an exit code. Must not print.
import type { Connection } from "./connection.ts";
import { CliError, EXIT } from "./exit-codes.ts";

export interface DescribedFailure {
  readonly message: string;
  readonly exit: number;
  readonly code: string;
  readonly status?: number;
  readonly requestId?: string;
  readonly details?: unknown;
}

/** What the server's refusals, ours and the SDK's alike, carry. Told by shape: importing the SDK here would slow every command. */
interface Refusal extends Error {
  readonly code: string;
  readonly status?: number;
  readonly requestId?: string;
  readonly details?: unknown;
}

const NO_ANSWER = new Set([
  "unreachable",
  "request_timeout",
  "connection_lost",
  "unavailable",
  "shutting_down",
]);
const NOT_UNDERSTOOD = new Set([400, 413, 414, 415, 422]);

export function describeFailure(thrown: unknown, connection: Connection): DescribedFailure {
  if (thrown instanceof CliError) return { message: thrown.message, exit: thrown.exit, code: thrown.code };
  if (!(thrown instanceof Error)) return { message: String(thrown), exit: EXIT.failed, code: "error" };
  if (thrown.name === "ConfigError") return { message: thrown.message, exit: EXIT.usage, code: "config" };
  if (!isRefusal(thrown)) return { message: thrown.message, exit: EXIT.failed, code: "error" };
  const { code, status, requestId, details } = thrown;
  return {
    message: code === "unreachable" ? unreachable(connection, thrown) : messageOf(thrown, connection),
    exit: exitForRefusal(thrown),
    code,
    ...(status === undefined ? {} : { status }),
    ...(requestId === undefined ? {} : { requestId }),
    ...(details === undefined ? {} : { details }),
  };
}

export function isRefusal(thrown: unknown, code?: string): thrown is Refusal {
  if (!(thrown instanceof Error) || thrown.name !== "PerdureError") return false;
  return code === undefined || (thrown as Refusal).code === code;
}

function exitForRefusal({ code, status }: Refusal): number {
  if (code === "wait_timeout") return EXIT.waitTimeout;
  if (NO_ANSWER.has(code) || (status !== undefined && status > 500)) return EXIT.unreachable;
  if (status === 401 || status === 403) return EXIT.auth;
  if (code === "validation_failed" || (status !== undefined && NOT_UNDERSTOOD.has(status))) return EXIT.usage;
  return EXIT.failed;
}

function messageOf({ message, status }: Refusal, { keyFrom }: Connection): string {
  if (status === 401 && keyFrom === undefined)
    return `${message} (no key was sent: set PERDURE_API_KEY, or store one with: perdure profiles set NAME URL --api-key -)`;
  if (status === 401) return `${message} (the key is from ${keyFrom}; perdure doctor tells more)`;
  if (status === 403) return `${message} (the key is from ${keyFrom ?? "nowhere"})`;
  return message;
}

function unreachable({ url, urlFrom }: Connection, thrown: Error): string {
  const local = /^https?:\/\/(localhost|127\.|\[::1\])/.test(url);
  const start = local ? "start one with: perdure serve; or " : "";
  return `cannot reach ${url} (${urlFrom})${reasonIn(thrown)}: is the server running? ${start}choose another with PERDURE_URL, --url or --profile`;
}

/** Why it cannot be reached, unless simply nobody is there: a name that does not exist, a certificate that does not fit. */
function reasonIn(thrown: Error): string {
  let cause: unknown = thrown.cause;
  while (cause instanceof Error && cause.cause instanceof Error) cause = cause.cause;
  if (!(cause instanceof Error) || (cause as NodeJS.ErrnoException).code === "ECONNREFUSED") return "";
  const [line = ""] = cause.message.split("\n");
  return line === "" ? "" : `, ${line}`;
}
