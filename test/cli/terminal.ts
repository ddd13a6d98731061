// Owns a terminal that is not there: what a command prints, and the signals it gets. Must not know any command.
import type { Io, Signal } from "../../server/cli/io.ts";
import { runCli } from "../../server/cli/run.ts";

export interface Terminal {
  readonly io: Io;
  /** What was printed so far. */
  readonly out: string;
  readonly err: string;
  /** Whether the command has taken the signals over. */
  readonly catches: boolean;
  press(signal: Signal): void;
}

/** `watched`: somebody sits before it, so that it is drawn on; with so many lines. */
export function openTerminal(
  env: Record<string, string | undefined> = {},
  stdin = "",
  watched: { rows: number } | undefined = undefined,
): Terminal {
  const written = { out: "", err: "" };
  const listeners = new Set<(signal: Signal) => void>();
  return {
    io: {
      env: { PATH: process.env.PATH, ...env },
      out: (text) => {
        written.out += `${text}\n`;
      },
      outBytes: async (chunk) => {
        written.out += Buffer.from(chunk).toString("utf8");
      },
      err: (text) => {
        written.err += `${text}\n`;
      },
      errBytes: (chunk) => {
        written.err += Buffer.from(chunk).toString("utf8");
      },
      colour: { out: false, err: false },
      terminal: { out: watched !== undefined, err: watched !== undefined },
      rows: () => watched?.rows ?? 24,
      readStdin: async () => stdin,
      onSignal: (_signals, listener) => {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
    },
    get out() {
      return written.out;
    },
    get err() {
      return written.err;
    },
    get catches() {
      return listeners.size > 0;
    },
    press: (signal) => {
      for (const listener of listeners) listener(signal);
    },
  };
}

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** Runs one command to its end. */
export async function perdure(
  url: string,
  argv: readonly string[],
  options: { env?: Record<string, string>; stdin?: string } = {},
): Promise<Ran> {
  const terminal = openTerminal({ PERDURE_URL: url, ...options.env }, options.stdin);
  const exit = await runCli(argv, terminal.io);
  return { exit, out: terminal.out, err: terminal.err };
}
