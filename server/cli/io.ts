// Owns what a command may touch of the process around it: output, input, environment, signals. Tests bring their own.
// Must not know any command.
import { styleText } from "node:util";

export type Signal = "SIGINT" | "SIGTERM";

export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** One line, or several, for programs to read. */
  out(text: string): void;
  /** Lines for programs, as they came. Settles when they have left. */
  outBytes(chunk: Uint8Array): Promise<void>;
  /** For people: notes, warnings, logs. */
  err(text: string): void;
  /** What a command we run wrote to its stderr, as it came. */
  errBytes(chunk: Uint8Array): void;
  readonly colour: { readonly out: boolean; readonly err: boolean };
  /** Whether somebody watches. */
  readonly terminal: { readonly err: boolean };
  readStdin(): Promise<string>;
  /** Calls back at each of these signals instead of ending the process. Returns the undoing. */
  onSignal(signals: readonly Signal[], listener: (signal: Signal) => void): () => void;
}

export type Colour = Parameters<typeof styleText>[0];

export function paint(on: boolean, colour: Colour, text: string): string {
  return on ? styleText(colour, text) : text;
}

export function processIo(): Io {
  const { env } = process;
  return {
    env,
    out: (text) => void process.stdout.write(`${text}\n`),
    outBytes: (chunk) => new Promise((resolve) => process.stdout.write(chunk, () => resolve())),
    err: (text) => void process.stderr.write(`${text}\n`),
    errBytes: (chunk) => void process.stderr.write(chunk),
    terminal: { err: process.stderr.isTTY === true },
    colour: { out: wantsColour(env, process.stdout), err: wantsColour(env, process.stderr) },
    readStdin,
    onSignal: (signals, listener) => {
      for (const signal of signals) process.on(signal, listener);
      return () => {
        for (const signal of signals) process.off(signal, listener);
      };
    },
  };
}

/** https://no-color.org: set to anything but the empty string. */
function wantsColour(env: Io["env"], stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
