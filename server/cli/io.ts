// Owns what a command may touch of the process around it: output, input, environment, signals. Tests bring their own.
// Must not know any command.
import { styleText } from "node:util";

/** Of a terminal that does not say. */
const FEWEST_ROWS = 24;

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
  readonly terminal: { readonly out: boolean; readonly err: boolean };
  /** Lines that the terminal shows at once. */
  rows(): number;
  readStdin(): Promise<string>;
  /** Calls back at each of these signals instead of ending the process. Returns the undoing. */
  onSignal(signals: readonly Signal[], listener: (signal: Signal) => void): () => void;
}

export type Colour = Parameters<typeof styleText>[0];

export function paint(on: boolean, colour: Colour, text: string): string {
  // Whether it is wanted has been decided, for the stream that it is for: not every text goes to stdout.
  return on ? styleText(colour, text, { validateStream: false }) : text;
}

/** What of a process is used here. */
type Surroundings = Pick<NodeJS.Process, "env" | "stdin" | "stdout" | "stderr" | "on" | "off">;

export function processIo(process: Surroundings): Io {
  const { env } = process;
  return {
    env,
    out: (text) => void process.stdout.write(`${shown(text, process.stdout)}\n`),
    outBytes: (chunk) => new Promise((resolve) => process.stdout.write(chunk, () => resolve())),
    err: (text) => void process.stderr.write(`${shown(text, process.stderr)}\n`),
    errBytes: (chunk) => void process.stderr.write(chunk),
    terminal: { out: isTerminal(process.stdout, env), err: isTerminal(process.stderr, env) },
    rows: () => process.stdout.rows ?? process.stderr.rows ?? FEWEST_ROWS,
    colour: { out: wantsColour(env, process.stdout), err: wantsColour(env, process.stderr) },
    readStdin: () => readAll(process.stdin),
    onSignal: (signals, listener) => {
      for (const signal of signals) process.on(signal, listener);
      return () => {
        for (const signal of signals) process.off(signal, listener);
      };
    },
  };
}

/** A program gets text as it is. */
const shown = (text: string, stream: { isTTY?: boolean }): string =>
  stream.isTTY === true ? forTerminal(text) : text;

/** Colours, tabs and line ends: whatever else would steer a terminal is written out, whoever put it into a name or an error. */
export function forTerminal(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are exactly what is replaced
  return text.replace(/\u001b\[[\d;]*m|\r\n|[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (found) =>
    found.length > 1 ? found : spell(found),
  );
}

/** A control character in words; JSON leaves some of them as they are. */
export function spell(control: string): string {
  const spelled = JSON.stringify(control).slice(1, -1);
  return spelled === control ? `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}` : spelled;
}

/** A dumb one cannot draw anything again in its place. */
const isTerminal = (stream: { isTTY?: boolean }, env: Io["env"]): boolean =>
  stream.isTTY === true && env.TERM !== "dumb";

/** https://no-color.org: set to anything but the empty string. */
function wantsColour(env: Io["env"], stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
}

async function readAll(stdin: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}
