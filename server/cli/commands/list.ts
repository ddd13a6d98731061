// Owns `perdure list`: intents, newest first.
import type { Command } from "commander";
import type { Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { describeDuration } from "../duration.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { type FilterOptions, filterQuery, readIntents, withFilters } from "../filters.ts";
import { type Column, formatTable, statusColour } from "../table.ts";

interface ListOptions extends FilterOptions {
  limit: string;
  all?: boolean;
}

export const INTENT_COLUMNS: readonly Column<Json>[] = [
  { title: "ID", text: (intent) => intent.intent_id },
  {
    title: "STATUS",
    text: (intent) => (intent.paused ? `${intent.status} paused` : intent.status),
    colour: (intent) => statusColour(intent.status),
  },
  { title: "TYPE", text: (intent) => intent.intent_type },
  { title: "AGENT", text: (intent) => intent.to_agent },
  { title: "STEPS", text: (intent) => describeSteps(intent.progress) },
  { title: "ATTEMPT", text: (intent) => String(intent.attempt ?? 0) },
  {
    title: "AGE",
    text: (intent) => describeDuration(Math.max(0, Date.now() - Date.parse(intent.created_at))),
  },
  { title: "ERROR", text: (intent) => intent.error?.code ?? "" },
];

export function listCommand(cli: Cli): Command {
  const command = withFilters(newCommand("list", "list intents, newest first"))
    .option("--limit <n>", "at most so many", "50")
    .option("--all", "every one");
  return runs(cli, command, async (_args: [], options: ListOptions) => {
    if (!/^[1-9]\d{0,6}$/.test(options.limit))
      throw new UsageError(`--limit: ${JSON.stringify(options.limit)} is not a whole number of 1 or more`);
    const max = options.all ? Number.POSITIVE_INFINITY : Number(options.limit);
    const intents: Json[] = [];
    const { more } = await readIntents(cli.api, filterQuery(options), max, (page) => {
      if (cli.json) for (const intent of page) cli.printJson(intent);
      else intents.push(...page);
    });
    if (!cli.json && intents.length > 0) cli.io.out(formatTable(INTENT_COLUMNS, intents, cli.io.colour.out));
    if (!cli.json && intents.length === 0) cli.note("no intents");
    // Also beside JSON lines: a list that ends early must not look complete.
    if (more) cli.io.err(`there are more than ${max}; see them with --limit N or --all`);
    return EXIT.ok;
  });
}

function describeSteps(progress: Json): string {
  const { done = 0, total } = progress ?? {};
  if (total !== undefined && total !== null) return `${done}/${total}`;
  return done === 0 ? "" : String(done);
}
