// Owns `perdure list`: intents, newest first.
import type { Command } from "commander";
import type { Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { describeDuration } from "../duration.ts";
import { type FilterOptions, filterQuery, intentsOf, withFilters } from "../filters.ts";
import { type LimitOptions, printListing, withLimit } from "../listing.ts";
import { type Column, statusColour } from "../table.ts";

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
  const command = withLimit(withFilters(newCommand("list", "list intents, newest first")));
  return runs(cli, command, (_args: [], options: FilterOptions & LimitOptions) =>
    printListing(cli, intentsOf(filterQuery(options)), options, INTENT_COLUMNS, "no intents"),
  );
}

function describeSteps(progress: Json): string {
  const { done = 0, total } = progress ?? {};
  if (total !== undefined && total !== null) return `${done}/${total}`;
  return done === 0 ? "" : String(done);
}
