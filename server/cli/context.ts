// Owns what every command is given, and the few ways in which all of them answer. Must not know any command.
import { Command } from "commander";
import { Api, type Json } from "./api.ts";
import type { Io } from "./io.ts";

export class Cli {
  readonly io: Io;
  readonly api: Api;
  /** The JSON a program reads, instead of what people read. */
  json = false;
  exit = 0;

  constructor(io: Io) {
    this.io = io;
    this.api = new Api(io.env);
  }

  /** One JSON value on one line. */
  printJson(value: Json): void {
    this.io.out(JSON.stringify(value));
  }

  /** How far long work is, on one line of a terminal; nobody else gets it. */
  progress(what: string, done: number, total: number): void {
    if (this.json || !this.io.terminal.err) return;
    const width = 24;
    const filled = total === 0 ? width : Math.floor((done / total) * width);
    const bar = `${"#".repeat(filled)}${"-".repeat(width - filled)}`;
    const end = done >= total ? "\r\u001b[K" : "";
    this.io.errBytes(Buffer.from(`\r${what} [${bar}] ${done} of ${total}${end}`));
  }

  /** A remark for people; programs do not get it. */
  note(text: string): void {
    if (!this.json) this.io.err(text);
  }
}

/** A command of the tree: `spec` is its name and arguments. */
export function newCommand(spec: string, description: string): Command {
  const [name = "", ...args] = spec.split(" ");
  const command = new Command(name).description(description);
  for (const arg of args) command.argument(arg);
  return command.option("--json", "answer in JSON, as the API gives it");
}

/** Ties the command to what it does; its exit code becomes the process's. */
export function runs<A extends unknown[], O extends object>(
  cli: Cli,
  command: Command,
  action: (args: A, options: O) => Promise<number> | number,
): Command {
  return command.action(async (...given: unknown[]) => {
    const options = command.opts<O & { json?: boolean }>();
    cli.json = options.json === true;
    cli.exit = await action(given.slice(0, -2) as A, options);
  });
}

/** Collects a repeatable option. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}
