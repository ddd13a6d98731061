// Owns `perdure state`: the entries of a scope, for people and scripts.
import type { Command } from "commander";
import type { Json, Query } from "../api.ts";
import { type Cli, newCommand, newGroup, runs } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { readPages } from "../listing.ts";
import { parseWhole } from "../numbers.ts";
import { jsonWith, readJson } from "../payload.ts";
import { formatTable } from "../table.ts";
import { formatResult } from "../waiting.ts";

const scopePath = (scope: string, ...more: string[]): string =>
  ["/v1/state", ...[scope, ...more].map(encodeURIComponent)].join("/");

const AT = ["--at <seq>", "as it was at this seq of the intent's log"] as const;
const IF_VERSION = [
  "--if-version <n>",
  "only if this is the current version; 0: only if there is none",
] as const;

export function stateCommand(cli: Cli): Command {
  const about = "read and write state: SCOPE is intent:ID, session:NAME or agent:ADDRESS";
  return newGroup("state", about, [get(cli), set(cli), remove(cli), list(cli), history(cli)]);
}

const ifVersion = (options: { ifVersion?: string }) =>
  options.ifVersion === undefined ? {} : { if_version: parseWhole(options.ifVersion, "--if-version") };

function get(cli: Cli): Command {
  const command = newCommand("get <scope> <key>", "print a value", "perdure state get session:trip-42 budget")
    .option(...AT)
    .option("--version <n>", "an old version");
  return runs(
    cli,
    command,
    async ([scope, key]: [string, string], options: { at?: string; version?: string }) => {
      const answer = await cli.api.get(scopePath(scope, key), { seq: options.at, version: options.version });
      if (cli.json) cli.printJson(answer);
      else cli.io.out(formatResult(answer.entry.value ?? null));
      return EXIT.ok;
    },
  );
}

function set(cli: Cli): Command {
  const command = newCommand(
    "set <scope> <key> <json>",
    "write a value: JSON, @file reads a file, - stdin",
    "perdure state set session:trip-42 budget 1200 --if-version 3",
  ).option(...IF_VERSION);
  return runs(
    cli,
    command,
    async ([scope, key, given]: [string, string, string], options: { ifVersion?: string }) => {
      const version = ifVersion(options);
      // The text as it is: numbers beyond 2^53 stay what they are.
      const body = jsonWith(version, "value", await readJson(given, "the value", cli.io));
      const answer = await cli.api.put(scopePath(scope, key), { body });
      if (cli.json) cli.printJson(answer);
      else cli.io.out(`version ${answer.entry.version}`);
      return EXIT.ok;
    },
  );
}

function remove(cli: Cli): Command {
  const command = newCommand(
    "delete <scope> <key>",
    "remove a value; its history stays",
    "perdure state delete session:trip-42 budget",
  ).option(...IF_VERSION);
  return runs(cli, command, async ([scope, key]: [string, string], options: { ifVersion?: string }) => {
    const one = { scope, key, delete: true, ...ifVersion(options) };
    const answer = await cli.api.post("/v1/state/commit", { body: { writes: [one] } });
    if (cli.json) cli.printJson(answer);
    else cli.io.out(answer.entries.length === 0 ? "there was nothing to remove" : "removed");
    return EXIT.ok;
  });
}

function list(cli: Cli): Command {
  const command = newCommand(
    "list <scope>",
    "list entries",
    "perdure state list agent:researcher --prefix notes/",
  )
    .option("--prefix <text>", "only keys that begin so")
    .option(...AT);
  return runs(cli, command, async ([scope]: [string], options: { prefix?: string; at?: string }) => {
    const entries = await pages(
      cli,
      scopePath(scope),
      { prefix: options.prefix, seq: options.at },
      "entries",
    );
    print(cli, entries, "the scope is empty");
    return EXIT.ok;
  });
}

function history(cli: Cli): Command {
  const command = newCommand(
    "history <scope> <key>",
    "list the versions of a value, the newest first",
    "perdure state history session:trip-42 budget",
  );
  return runs(cli, command, async ([scope, key]: [string, string]) => {
    print(
      cli,
      await pages(cli, `${scopePath(scope, key)}/versions`, {}, "versions"),
      "there is no such entry",
    );
    return EXIT.ok;
  });
}

async function pages(cli: Cli, path: string, query: Query, field: string): Promise<Json[]> {
  const found: Json[] = [];
  await readPages(cli.api, { path, field, query }, Number.POSITIVE_INFINITY, (page) => found.push(...page));
  return found;
}

const LONGEST = 60;

function print(cli: Cli, entries: readonly Json[], nothing: string): void {
  if (cli.json) {
    for (const entry of entries) cli.printJson(entry);
    return;
  }
  if (entries.length === 0) {
    cli.note(nothing);
    return;
  }
  const shorten = (text: string) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);
  const columns = [
    { title: "KEY", text: (entry: Json) => entry.key },
    { title: "VERSION", text: (entry: Json) => String(entry.version) },
    { title: "UPDATED", text: (entry: Json) => entry.updated_at },
    {
      title: "VALUE",
      text: (entry: Json) => (entry.deleted ? "(removed)" : shorten(JSON.stringify(entry.value))),
    },
  ];
  cli.io.out(formatTable(columns, entries, cli.io.colour.out));
}
