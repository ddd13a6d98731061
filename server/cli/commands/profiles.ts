// Owns `perdure profiles`: servers and keys stored under names. A key is read from stdin or a file, and never shown again.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { DEFAULT_PROFILE, DEFAULT_URL } from "../connection.ts";
import { type Cli, newCommand, newGroup, runs } from "../context.ts";
import { CliError, EXIT, UsageError } from "../exit-codes.ts";
import { maskKey } from "../keys.ts";
import {
  type Profile,
  type Profiles,
  profile,
  profilesFile,
  readProfiles,
  writeProfiles,
} from "../profiles.ts";
import { type Column, formatFields, formatTable } from "../table.ts";

interface Row extends Profile {
  readonly name: string;
}

const COLUMNS: readonly Column<Row>[] = [
  { title: "NAME", text: ({ name }) => name },
  { title: "URL", text: ({ url }) => url ?? DEFAULT_URL },
  { title: "KEY", text: ({ apiKey }) => maskKey(apiKey) ?? "" },
];

export function profilesCommand(cli: Cli): Command {
  const about = `store servers and their keys under names; the one called ${DEFAULT_PROFILE} is for who names none`;
  return newGroup("profiles", about, [show(cli), set(cli), remove(cli)], list(cli));
}

function list(cli: Cli): Command {
  return runs(cli, newCommand("list", "list profiles, without their keys", "perdure profiles"), () => {
    const rows = [...readProfiles(fileOf(cli))].map(([name, one]) => ({ name, ...one }));
    if (cli.json) for (const row of rows) cli.printJson(shown(row));
    else if (rows.length === 0)
      cli.note("no profiles; to make one: perdure profiles set NAME URL --api-key -");
    else cli.io.out(formatTable(COLUMNS, rows, cli.io.colour.out));
    return EXIT.ok;
  });
}

function show(cli: Cli): Command {
  const command = newCommand(
    "show <name>",
    "show a profile, without its key",
    "perdure profiles show staging",
  );
  return runs(cli, command, ([name]: [string]) => {
    const file = fileOf(cli);
    const row = { name, ...required(readProfiles(file), name) };
    if (cli.json) cli.printJson(shown(row));
    else {
      const fields: [string, unknown][] = COLUMNS.map(({ title, text }) => [title.toLowerCase(), text(row)]);
      cli.io.out(formatFields([...fields, ["file", file]], cli.io));
    }
    return EXIT.ok;
  });
}

function set(cli: Cli): Command {
  const command = newCommand(
    "set <name> [url]",
    "make a profile, or change what is given of it",
    "perdure profiles set staging https://perdure.example.com --api-key @staging.key",
    "perdure --profile staging list",
  ).option("--api-key <source>", "its key: - reads it from stdin, @file from a file");
  return runs(
    cli,
    command,
    async ([name, url]: [string, string?], options: { apiKey?: string }): Promise<number> => {
      requireName(name);
      if (url !== undefined) requireUrl(url);
      const file = fileOf(cli);
      const apiKey = options.apiKey === undefined ? undefined : await readKey(cli, options.apiKey);
      const profiles = new Map(readProfiles(file));
      const before = profiles.get(name);
      // A key belongs to one server: it does not follow its profile to another.
      const moved = before?.apiKey !== undefined && apiKey === undefined && url !== undefined;
      const kept = moved && url !== (before.url ?? DEFAULT_URL) ? undefined : before?.apiKey;
      if (moved && kept === undefined)
        cli.note(`the key of ${name} was for ${before.url ?? DEFAULT_URL}, and is removed`);
      profiles.set(name, profile(url ?? before?.url, apiKey ?? kept));
      writeProfiles(file, profiles);
      if (cli.json) cli.printJson(shown({ name, ...required(profiles, name) }));
      else cli.io.out(`${name}  ${before === undefined ? "made" : "changed"} in ${file}`);
      return EXIT.ok;
    },
  );
}

function remove(cli: Cli): Command {
  const command = newCommand(
    "remove <name>",
    "forget a profile and its key",
    "perdure profiles remove staging",
  );
  return runs(cli, command, ([name]: [string]) => {
    const file = fileOf(cli);
    const profiles = new Map(readProfiles(file));
    const removed = { name, ...required(profiles, name) };
    profiles.delete(name);
    writeProfiles(file, profiles);
    if (cli.json) cli.printJson(shown(removed));
    else cli.io.out(`${name}  removed`);
    return EXIT.ok;
  });
}

function fileOf(cli: Cli): string {
  const file = profilesFile(cli.io.env);
  if (file === undefined)
    throw new UsageError("there is no place for profiles: neither XDG_CONFIG_HOME nor HOME is set");
  return file;
}

function required(profiles: Profiles, name: string): Profile {
  const one = profiles.get(name);
  if (one === undefined)
    throw new CliError(`there is no profile ${JSON.stringify(name)}`, EXIT.failed, "not_found");
  return one;
}

function requireName(name: string): void {
  if (!/^[\w][\w.-]{0,63}$/.test(name))
    throw new UsageError(
      `${JSON.stringify(name)} is no name for a profile: up to 64 letters, digits, dots, - and _`,
    );
}

function requireUrl(url: string): void {
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url))
    throw new UsageError(`${JSON.stringify(url)} is not an http:// or https:// URL`);
}

/** Never from the command line itself: that stays in the shell's history, and in the list of processes for all to see. */
async function readKey(cli: Cli, source: string): Promise<string> {
  if (source !== "-" && !source.startsWith("@"))
    throw new UsageError("--api-key takes no key itself, which would stay in the history: give @FILE or -");
  const key = (source === "-" ? await cli.io.readStdin() : readKeyFile(source.slice(1))).trim();
  if (key === "" || /\s/.test(key)) throw new UsageError("--api-key: what was read is not one key");
  return key;
}

function readKeyFile(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new UsageError(`--api-key: cannot read ${file}: ${(error as Error).message}`);
  }
}

const shown = ({ name, url, apiKey }: Row) => ({
  name,
  url: url ?? DEFAULT_URL,
  key: maskKey(apiKey) ?? null,
});
