// Owns `perdure keys`: making, listing, replacing and ending API keys, and the first one, which only whoever has the database
// can make. Prints a key's text once, alone on stdout, so that it can be piped into a secret store.
import type { Command } from "commander";
import type { Json } from "../api.ts";
import { type Cli, collect, newCommand, newGroup, runs } from "../context.ts";
import { parseDuration } from "../duration.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { type LimitOptions, type Listing, printListing, withLimit } from "../listing.ts";
import type { Column } from "../table.ts";

const KEYS: Listing = { path: "/v1/keys", field: "keys" };

const COLUMNS: readonly Column<Json>[] = [
  { title: "ID", text: (key) => key.id },
  { title: "NAME", text: (key) => key.name },
  { title: "LIVE", text: (key) => (key.live ? "yes" : "no"), colour: (key) => (key.live ? "green" : "red") },
  { title: "ADDRESS", text: (key) => key.address },
  { title: "SCOPES", text: (key) => key.scopes.join(",") },
  { title: "PATTERNS", text: (key) => key.patterns.join(",") },
  { title: "EXPIRES", text: (key) => key.expires_at ?? "" },
  { title: "LAST USED", text: (key) => key.last_used_at ?? "" },
];

export function keysCommand(cli: Cli): Command {
  const about = "make, list, replace and revoke API keys (needs the scope admin)";
  return newGroup("keys", about, [create(cli), rotate(cli), revoke(cli)], list(cli));
}

function list(cli: Cli): Command {
  return runs(
    cli,
    withLimit(newCommand("list", "list keys, without their texts", "perdure keys")),
    (_args: [], options: LimitOptions) => printListing(cli, KEYS, options, COLUMNS, "no keys"),
  );
}

interface CreateOptions {
  address?: string;
  scope: string[];
  pattern: string[];
  expires?: string;
  admin?: boolean;
}

function create(cli: Cli): Command {
  const command = newCommand(
    "create <name>",
    "make a key; its text is printed once and stored nowhere",
    "perdure keys create ops --admin",
    "perdure keys create web --address agent://acme/prod/web --scope send,read --expires 90d",
  )
    .option("--address <address>", "what the key sends from, and listens on with the scope act")
    .option("--scope <scopes>", "send, act, read, operate, admin; several with commas", collect, [])
    .option("--pattern <pattern>", "addresses it covers: org/workspace/*, org/*, *; repeatable", collect, [])
    .option("--expires <duration>", "it ends after so long, such as 90d")
    .option(
      "--admin",
      "the first administrator's key, written to the database of DATABASE_URL or PERDURE_DATA_DIR",
    );
  return runs(cli, command, async ([name]: [string], options: CreateOptions) => {
    const lifetimeMs = options.expires === undefined ? null : parseDuration(options.expires, "--expires");
    if (options.admin) return await createFirst(cli, name, options, lifetimeMs);
    if (options.address === undefined)
      throw new UsageError("keys create needs --address agent://org/workspace/name");
    const scopes = split(options.scope);
    if (scopes.length === 0) throw new UsageError("keys create needs --scope, such as --scope send,read");
    const body = {
      name,
      address: options.address,
      scopes,
      patterns: split(options.pattern),
      ...(lifetimeMs === null ? {} : { expires_in_seconds: lifetimeMs / 1_000 }),
    };
    return printIssued(cli, await cli.api.post("/v1/keys", { body }));
  });
}

const split = (lists: readonly string[]): string[] =>
  lists.flatMap((text) => text.split(",")).filter((text) => text !== "");

async function createFirst(
  cli: Cli,
  name: string,
  options: CreateOptions,
  lifetimeMs: number | null,
): Promise<number> {
  if (options.address !== undefined || options.scope.length > 0 || options.pattern.length > 0)
    throw new UsageError("--admin is a key for everything: it takes no --address, --scope or --pattern");
  const { createAdminKey } = await import("../../main.ts");
  const { key, text } = await createAdminKey(cli.io.env, name, lifetimeMs);
  return printIssued(cli, { ok: true, key: { id: key.id, name }, api_key: text });
}

function printIssued(cli: Cli, answer: Json): number {
  if (cli.json) {
    cli.printJson(answer);
    return EXIT.ok;
  }
  cli.io.out(answer.api_key);
  cli.note(`key ${answer.key.id} (${answer.key.name}): keep its text now, it is shown only once`);
  if (answer.old_key !== undefined) cli.note(`the old key works until ${answer.old_key.expires_at}`);
  return EXIT.ok;
}

function rotate(cli: Cli): Command {
  const command = newCommand(
    "rotate <id>",
    "make a key's successor; the old one lives on for a while",
    "perdure keys rotate 0197c5e2-8a41-7d3f-9c20-1b7e4f1c2ab9 --grace 1h",
  ).option("--grace <duration>", "how long the old one lives on", "1d");
  return runs(cli, command, async ([id]: [string], { grace }: { grace: string }) => {
    const body = { grace_seconds: parseDuration(grace, "--grace") / 1_000 };
    return printIssued(cli, await cli.api.post(`/v1/keys/${encodeURIComponent(id)}/rotate`, { body }));
  });
}

function revoke(cli: Cli): Command {
  return runs(
    cli,
    newCommand(
      "revoke <id>",
      "end a key now, and what is open with it",
      "perdure keys revoke 0197c5e2-8a41-7d3f-9c20-1b7e4f1c2ab9",
    ),
    async ([id]: [string]) => {
      const answer = await cli.api.delete(`/v1/keys/${encodeURIComponent(id)}`);
      if (cli.json) cli.printJson(answer);
      else cli.io.out(`${answer.key.id}  ${answer.key.name}  revoked`);
      return EXIT.ok;
    },
  );
}
