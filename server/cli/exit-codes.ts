// Owns what the CLI's exit codes mean. Scripts branch on them: they never change. Must not print or exit.

export const EXIT = Object.freeze({
  ok: 0,
  /** The intent FAILED, or the server refused. */
  failed: 1,
  usage: 2,
  auth: 3,
  canceled: 4,
  unreachable: 5,
  timedOut: 6,
  /** sysexits' EX_TEMPFAIL: a command that may work later. */
  temporary: 75,
  /** The wait ended before the intent did; as timeout(1) has it. */
  waitTimeout: 124,
  commandNotFound: 127,
  /** 128 + SIGINT. */
  detached: 130,
});

/** An error whose message is for the person at the terminal, with the exit code it leads to. */
export class CliError extends Error {
  readonly exit: number;
  readonly code: string;

  constructor(message: string, exit: number, code = "cli_error") {
    super(message);
    this.name = "CliError";
    this.exit = exit;
    this.code = code;
  }
}

/** The command line does not make sense. */
export class UsageError extends CliError {
  constructor(message: string) {
    super(message, EXIT.usage, "usage");
    this.name = "UsageError";
  }
}

/** What an intent's end means to a script; undefined while it has not ended. */
export function exitForStatus(status: string): number | undefined {
  switch (status) {
    case "COMPLETED":
      return EXIT.ok;
    case "FAILED":
      return EXIT.failed;
    case "CANCELED":
      return EXIT.canceled;
    case "TIMED_OUT":
      return EXIT.timedOut;
    default:
      return undefined;
  }
}
