// Owns what every command is given, and the few ways in which all of them answer. Must not know any command.
import { Command } from "commander";
import { Api, type Json } from "./api.ts";
import { type Connection, type ConnectionOptions, connectionOf } from "./connection.ts";
import { UsageError } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { LiveArea, progressBar } from "./live.ts";

export class Cli {
  readonly io: Io;
  /** The JSON a program reads, instead of what people read. */
  json = false;
  exit = 0;
  #options: ConnectionOptions = {};
  #connection: Connection | undefined;
  #api: Api | undefined;
  #progress: LiveArea | undefined;

  constructor(io: Io) {
    this.io = io;
  }

  /** What all commands understand. */
  take({ json, url, profile }: GlobalOptions): void {
    this.json = json === true;
    this.#options = { url, profile };
  }

  /** Decided when it is first asked for: a command that asks nobody needs no profile. */
  get connection(): Connection {
    if (this.#connection === undefined) {
      this.#connection = connectionOf(this.io.env, this.#options);
      for (const remark of this.#connection.remarks) this.note(`warning: ${remark}`);
    }
    return this.#connection;
  }

  get api(): Api {
    this.#api ??= new Api(this.connection);
    return this.#api;
  }

  /** One JSON value on one line. */
  printJson(value: Json): void {
    this.io.out(JSON.stringify(value));
  }

  /** Lines on stderr that are drawn again in their place; undefined where nobody watches. */
  liveArea(): LiveArea | undefined {
    if (this.json || !this.io.terminal.err) return undefined;
    return new LiveArea((text) => this.io.errBytes(Buffer.from(text)));
  }

  /** How far long work is, on one line of a terminal; nobody else gets it. It goes when the work is done. */
  progress(what: string, done: number, total: number): void {
    this.#progress ??= this.liveArea();
    this.#progress?.draw([`${what} ${progressBar(done, total)} ${done} of ${total}`]);
    if (done >= total) this.endProgress();
  }

  /** Also when the work did not come to its end: what is printed next begins a line. */
  endProgress(): void {
    this.#progress?.clear();
    this.#progress = undefined;
  }

  /** For lines printed while there is progress to be seen: they come above it. */
  above(print: () => void): void {
    if (this.#progress === undefined) print();
    else this.#progress.above(print);
  }

  /** A remark for people; programs do not get it. */
  note(text: string): void {
    if (!this.json) this.io.err(text);
  }
}

export interface GlobalOptions extends ConnectionOptions {
  readonly json?: boolean;
}

/** Before or after any command's name. */
export function withGlobalOptions(program: Command): Command {
  return program
    .option("--json", "answer in JSON, as the API gives it")
    .option("--url <url>", "the server to talk to, before PERDURE_URL and profiles")
    .option("--profile <name>", "a server and key stored with perdure profiles, before PERDURE_PROFILE");
}

const examples = new WeakMap<Command, readonly string[]>();

/** Command lines that show a command at work. */
export function examplesOf(command: Command): readonly string[] {
  return examples.get(command) ?? [];
}

/** A command of the tree: `spec` is its name and arguments, an example is a whole line for a shell. */
export function newCommand(spec: string, description: string, ...lines: [string, ...string[]]): Command {
  const [name = "", ...args] = spec.split(" ");
  const command = new Command(name).description(description);
  for (const arg of args) command.argument(arg);
  return withExamples(command, lines);
}

export function withExamples(command: Command, lines: readonly string[]): Command {
  examples.set(command, lines);
  const title = lines.length === 1 ? "Example:" : "Examples:";
  return command.addHelpText("after", `\n${title}\n${lines.map((line) => `  ${line}`).join("\n")}`);
}

const usuals = new WeakMap<Command, Command>();

/** What a group does by itself; undefined where it only explains itself. */
export function usualOf(group: Command): Command | undefined {
  return usuals.get(group);
}

/** Commands with a name in common. With `usual` it is one itself, and what that does not understand was meant to be another. */
export function newGroup(
  name: string,
  description: string,
  commands: readonly Command[],
  usual?: Command,
): Command {
  const group = new Command(name).description(description);
  const all = usual === undefined ? commands : [usual, ...commands];
  for (const command of all) group.addCommand(command, { isDefault: command === usual });
  withExamples(
    group,
    all.flatMap((command) => examplesOf(command).slice(0, 1)),
  );
  if (usual === undefined) return group;
  usuals.set(group, usual);
  usual.allowExcessArguments().hook("preAction", () => {
    const [word] = usual.args;
    if (word === undefined) return;
    const known = all.map((command) => command.name());
    const one = known.includes("show") ? `; to see one: perdure ${name} show ${word}` : "";
    throw new UsageError(`${name} has no command ${JSON.stringify(word)}; it has ${known.join(", ")}${one}`);
  });
  return group;
}

/** Ties the command to what it does; its exit code becomes the process's. */
export function runs<A extends unknown[], O extends object>(
  cli: Cli,
  command: Command,
  action: (args: A, options: O) => Promise<number> | number,
): Command {
  return command.action(async (...given: unknown[]) => {
    cli.take(command.optsWithGlobals());
    cli.exit = await action(given.slice(0, -2) as A, command.opts<O>());
  });
}

/** Collects a repeatable option. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}
