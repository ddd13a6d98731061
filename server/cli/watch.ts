// Owns a list that is looked at again and again: a table drawn in its place for people, what has changed for everybody else.
// Asks in intervals: the server forgets nothing meanwhile, and a list is always one of its answers.
import { setTimeout as delay } from "node:timers/promises";
import { type Command, Option } from "commander";
import type { Json } from "./api.ts";
import type { Cli } from "./context.ts";
import { parseDuration } from "./duration.ts";
import { EXIT, UsageError } from "./exit-codes.ts";
import { describeFailure } from "./failure.ts";
import { paint } from "./io.ts";
import { LiveArea } from "./live.ts";
import { type Column, formatTable } from "./table.ts";

export interface WatchOptions {
  watch?: boolean;
  interval?: string;
}

export interface Watched {
  readonly columns: readonly Column<Json>[];
  /** What tells one row from the others. */
  key(row: Json): string;
  look(): Promise<{ rows: readonly Json[]; more: boolean }>;
  readonly nothing: string;
}

const USUAL_INTERVAL = "1s";
const SHORTEST_MS = 20;

export function withWatch(command: Command): Command {
  return command
    .option("--watch", "go on until Ctrl+C: redrawn on a terminal, else a line for each change")
    .addOption(new Option("--interval <duration>", `with --watch: how often; default ${USUAL_INTERVAL}`));
}

/** Until Ctrl+C. A server that goes away meanwhile is waited for. */
export async function watchList(
  cli: Cli,
  watched: Watched,
  { interval = USUAL_INTERVAL }: WatchOptions,
): Promise<number> {
  const intervalMs = parseDuration(interval, "--interval");
  if (intervalMs < SHORTEST_MS) throw new UsageError(`--interval: ${SHORTEST_MS}ms is the shortest`);
  const view = cli.io.terminal.out && !cli.json ? new DrawnTable(cli, watched) : new Changes(cli, watched);
  const stopped = new AbortController();
  const undo = cli.io.onSignal(["SIGINT", "SIGTERM"], () => stopped.abort());
  try {
    // The first look tells a wrong key or an absent server at once.
    view.show(await watched.look());
    while (!stopped.signal.aborted) {
      await delay(intervalMs, undefined, { signal: stopped.signal }).catch(() => undefined);
      if (!stopped.signal.aborted) await lookAgain(cli, watched, view);
    }
  } finally {
    undo();
    view.end();
  }
  return EXIT.ok;
}

async function lookAgain(cli: Cli, watched: Watched, view: View): Promise<void> {
  try {
    view.show(await watched.look());
  } catch (error) {
    const { exit, message } = describeFailure(error, cli.connection);
    if (exit !== EXIT.unreachable) throw error;
    view.tellAway(message);
  }
}

interface View {
  show(seen: { rows: readonly Json[]; more: boolean }): void;
  tellAway(message: string): void;
  end(): void;
}

/** For people: as much of the table as the terminal has lines. */
class DrawnTable implements View {
  readonly #cli: Cli;
  readonly #watched: Watched;
  readonly #area: LiveArea;
  #lines: readonly string[] = [];

  constructor(cli: Cli, watched: Watched) {
    this.#cli = cli;
    this.#watched = watched;
    this.#area = new LiveArea((text) => void cli.io.outBytes(Buffer.from(text)));
  }

  show({ rows, more }: { rows: readonly Json[]; more: boolean }): void {
    const { columns, nothing } = this.#watched;
    const colours = this.#cli.io.colour.out;
    // The table's head, the line below it, and one for the cursor.
    const room = Math.max(1, this.#cli.io.rows() - 3);
    const cut = rows.length > room || more;
    this.#lines =
      rows.length === 0 ? [nothing] : formatTable(columns, rows.slice(0, room), colours).split("\n");
    const shown = cut ? `the first ${Math.min(room, rows.length)}; ` : "";
    this.#draw(`${shown}${new Date().toLocaleTimeString()}, Ctrl+C ends it`);
  }

  tellAway(message: string): void {
    this.#draw(`${message} (trying again)`);
  }

  end(): void {
    this.#area.leave();
  }

  #draw(below: string): void {
    this.#area.draw([...this.#lines, paint(this.#cli.io.colour.out, "dim", below)]);
  }
}

/** For programs and files: each row when it is first seen, and whenever it has changed. */
class Changes implements View {
  readonly #cli: Cli;
  readonly #watched: Watched;
  #seen = new Map<string, string>();
  #away = false;
  #headed = false;

  constructor(cli: Cli, watched: Watched) {
    this.#cli = cli;
    this.#watched = watched;
  }

  show({ rows }: { rows: readonly Json[] }): void {
    this.#away = false;
    const now = new Map(rows.map((row) => [this.#watched.key(row), this.#lasting(row)]));
    const changed = rows.filter((row) => {
      const key = this.#watched.key(row);
      return this.#seen.get(key) !== now.get(key);
    });
    this.#seen = now;
    if (this.#cli.json) for (const row of changed) this.#cli.printJson(row);
    else if (changed.length > 0) this.#print(changed);
  }

  tellAway(message: string): void {
    if (!this.#away) this.#cli.io.err(`${message} (trying again)`);
    this.#away = true;
  }

  end(): void {}

  #print(rows: readonly Json[]): void {
    const text = formatTable(this.#watched.columns, rows, this.#cli.io.colour.out);
    this.#cli.io.out(this.#headed ? text.slice(text.indexOf("\n") + 1) : text);
    this.#headed = true;
  }

  /** Without what changes by itself, such as an age. */
  #lasting(row: Json): string {
    const lasting = this.#watched.columns.filter(({ moves }) => moves !== true);
    return JSON.stringify(lasting.map((column) => column.text(row)));
  }
}
