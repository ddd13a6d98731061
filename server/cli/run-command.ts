// Owns running one command: its input, its output within bounds, and stopping it together with everything it started.
// Must not know about intents.
import { type ChildProcess, spawn } from "node:child_process";

export interface CommandLine {
  /** A line for the shell, or a program with its arguments. */
  readonly shell?: string;
  readonly argv?: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: string;
  /** Gives it a process group of its own, so that it can be stopped with its children. */
  readonly group: boolean;
  /** Ends it: SIGTERM, and SIGKILL to what is left after 5 s. */
  readonly signal?: AbortSignal;
  /** Ends it with SIGKILL at once. */
  readonly kill?: AbortSignal;
  onStderr(chunk: Buffer): void;
}

export interface CommandEnd {
  /** The exit code; null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  /** More than OUTPUT_MAX_BYTES were written; `stdout` is not all of it. */
  readonly overflow: boolean;
  /** The end of what it wrote to stderr. */
  readonly stderrTail: string;
  /** It could not be started. */
  readonly notStarted?: NodeJS.ErrnoException;
}

/** Far beyond what a server takes as a result; a command that prints without end must not fill the memory. */
export const OUTPUT_MAX_BYTES = 16 * 1_048_576;
const STDERR_TAIL_BYTES = 2_000;
const KILL_AFTER_MS = 5_000;
const GONE_CHECK_MS = 50;

/** Runs it to its end. Never rejects. */
export async function runCommand(line: CommandLine): Promise<CommandEnd> {
  const child = start(line);
  const stdout: Buffer[] = [];
  let stdoutBytes = 0;
  let stderrTail = Buffer.alloc(0);
  child.stdout?.on("data", (chunk: Buffer) => {
    stdoutBytes += chunk.length;
    if (stdoutBytes <= OUTPUT_MAX_BYTES) stdout.push(chunk);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderrTail = Buffer.concat([stderrTail, chunk]).subarray(-STDERR_TAIL_BYTES);
    line.onStderr(chunk);
  });
  // A command that does not read its input closes it: no error of ours.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(line.stdin);

  let stopping: Promise<void> | undefined;
  const ended = await new Promise<Pick<CommandEnd, "code" | "signal" | "notStarted">>((resolve) => {
    const stop = () => {
      stopping = stopGroup(child, line.group).then(() =>
        resolve({ code: child.exitCode, signal: child.signalCode }),
      );
    };
    // "close", not "exit": what it started in the background may still be writing its output, as in $(…) of a shell.
    child.on("close", (code, signal) => resolve({ code, signal }));
    child.on("error", (error) => resolve({ code: null, signal: null, notStarted: error }));
    if (line.signal?.aborted) stop();
    else line.signal?.addEventListener("abort", stop, { once: true });
    const kill = () => void send(targetOf(child, line.group), "SIGKILL");
    line.kill?.addEventListener("abort", kill, { once: true });
    child.on("close", () => {
      line.signal?.removeEventListener("abort", stop);
      line.kill?.removeEventListener("abort", kill);
    });
  });
  await stopping;
  return {
    ...ended,
    stdout: Buffer.concat(stdout).toString("utf8"),
    overflow: stdoutBytes > OUTPUT_MAX_BYTES,
    stderrTail: stderrTail.toString("utf8").trim(),
  };
}

function start(line: CommandLine): ChildProcess {
  const options = { env: { ...line.env }, detached: line.group, stdio: "pipe" } as const;
  if (line.shell !== undefined) return spawn(line.shell, { ...options, shell: true });
  const [program = "", ...args] = line.argv ?? [];
  return spawn(program, args, options);
}

/** Settles when nothing of it is left, or has been killed. */
async function stopGroup(child: ChildProcess, group: boolean): Promise<void> {
  const target = targetOf(child, group);
  if (!send(target, "SIGTERM")) return;
  const deadline = Date.now() + KILL_AFTER_MS;
  // The shell may be gone while what it started is not: the group is asked, not the child. One that has ended and was not
  // collected yet by its parent still counts as there, which costs time and nothing else.
  while (send(target, 0)) {
    if (Date.now() >= deadline) {
      send(target, "SIGKILL");
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, GONE_CHECK_MS));
  }
}

/** The process, or its whole group. */
function targetOf(child: ChildProcess, group: boolean): number | undefined {
  return group && child.pid !== undefined ? -child.pid : child.pid;
}

/** False when there is nobody to receive it. */
function send(target: number | undefined, signal: NodeJS.Signals | 0): boolean {
  if (target === undefined) return false;
  try {
    return process.kill(target, signal);
  } catch {
    return false;
  }
}

/** What it printed, as a JSON value: JSON if it is, else the text without its last line break; nothing is null. */
export function resultOf(stdout: string): unknown {
  const text = stdout.trim();
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return stdout.replace(/\r?\n$/, "");
  }
}

export interface CommandFailure {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;
}

const EX_TEMPFAIL = 75;

/** Why its output is not a result; undefined when it is one. Only exit code 75 and a signal from outside may be tried again. */
export function failureOf(end: CommandEnd): CommandFailure | undefined {
  if (end.notStarted !== undefined) {
    const message = `the command cannot be started: ${end.notStarted.message}`;
    return {
      code: "command_not_started",
      message,
      retryable: false,
      details: { errno: end.notStarted.code },
    };
  }
  const said = end.stderrTail === "" ? "" : `: ${end.stderrTail}`;
  if (end.signal !== null) {
    return {
      code: "command_killed",
      message: `the command was ended by ${end.signal}${said}`,
      retryable: true,
      details: { signal: end.signal },
    };
  }
  if (end.code !== 0) {
    const message = `the command exited with ${end.code}${said}`;
    return {
      code: "command_failed",
      message,
      retryable: end.code === EX_TEMPFAIL,
      details: { exit_code: end.code },
    };
  }
  if (end.overflow) {
    const message = `the command printed more than ${OUTPUT_MAX_BYTES} bytes; print a reference to the result instead`;
    return { code: "result_too_large", message, retryable: false, details: {} };
  }
  return undefined;
}
