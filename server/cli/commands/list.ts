// Owns `perdure list`: intents, newest first; with --watch as they change.
import type { Command } from "commander";
import type { Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { describeDuration } from "../duration.ts";
import { type FilterOptions, filterQuery, intentsOf, withFilters } from "../filters.ts";
import { collectListing, type LimitOptions, printListing, withLimit } from "../listing.ts";
import { type Column, statusColour } from "../table.ts";
import { type WatchOptions, watchList, withWatch } from "../watch.ts";

const COLUMNS: readonly Column<Json>[] = [
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
    moves: true,
  },
  { title: "ERROR", text: (intent) => intent.error?.code ?? "" },
];

const NOTHING = "no intents";

export function listCommand(cli: Cli): Command {
  const command = newCommand(
    "list",
    "list intents, newest first",
    "perdure list --status FAILED --since 1d",
    "perdure list --agent reporter --watch",
  );
  return runs(
    cli,
    withWatch(withLimit(withFilters(command))),
    (_args: [], options: FilterOptions & LimitOptions & WatchOptions) => {
      const listing = intentsOf(filterQuery(options));
      if (!options.watch) return printListing(cli, listing, options, COLUMNS, NOTHING);
      const look = () => collectListing(cli.api, listing, options);
      const key = (intent: Json) => intent.intent_id;
      return watchList(cli, { columns: COLUMNS, key, look, nothing: NOTHING }, options);
    },
  );
}

function describeSteps(progress: Json): string {
  const { done = 0, total } = progress ?? {};
  if (total !== undefined && total !== null) return `${done}/${total}`;
  return done === 0 ? "" : String(done);
}
