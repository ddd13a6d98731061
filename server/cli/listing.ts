// Owns a list of the server's: reading its pages up to a limit, and showing them as JSON lines or as a table.
import type { Command } from "commander";
import type { Api, Json, Query } from "./api.ts";
import type { Cli } from "./context.ts";
import { EXIT } from "./exit-codes.ts";
import { parseWhole } from "./numbers.ts";
import { type Column, formatTable } from "./table.ts";

export interface Listing {
  readonly path: string;
  /** The field of its answers that holds the entries. */
  readonly field: string;
  readonly query?: Query;
}

export interface LimitOptions {
  limit: string;
  all?: boolean;
}

const PAGE = 100;

/** Up to `max` entries; `more` when there are others. */
export async function readPages(
  api: Api,
  { path, field, query }: Listing,
  max: number,
  onPage: (entries: Json[]) => void,
): Promise<{ more: boolean }> {
  let left = max;
  let cursor: string | undefined;
  for (;;) {
    const page = await api.get(path, { ...query, limit: Math.min(PAGE, left), cursor });
    onPage(page[field]);
    left -= page[field].length;
    cursor = page.next_cursor ?? undefined;
    if (cursor === undefined) return { more: false };
    if (left <= 0) return { more: true };
  }
}

export function withLimit(command: Command): Command {
  return command.option("--limit <n>", "at most so many", "50").option("--all", "every one");
}

/** What the options ask for, before any of it is shown. */
export async function collectListing(
  api: Api,
  listing: Listing,
  options: LimitOptions,
): Promise<{ rows: Json[]; more: boolean }> {
  const rows: Json[] = [];
  const { more } = await readPages(api, listing, mostOf(options), (page) => rows.push(...page));
  return { rows, more };
}

const mostOf = ({ limit, all }: LimitOptions): number => {
  const most = parseWhole(limit, "--limit", 1);
  return all ? Number.POSITIVE_INFINITY : most;
};

/** `nothing` is the remark about an empty list. */
export async function printListing(
  cli: Cli,
  listing: Listing,
  options: LimitOptions,
  columns: readonly Column<Json>[],
  nothing: string,
): Promise<number> {
  const max = mostOf(options);
  const entries: Json[] = [];
  const { more } = await readPages(cli.api, listing, max, (page) => {
    if (cli.json) for (const entry of page) cli.printJson(entry);
    else entries.push(...page);
  });
  if (entries.length > 0) cli.io.out(formatTable(columns, entries, cli.io.colour.out));
  else cli.note(nothing);
  // Also beside JSON lines: a list that ends early must not look complete.
  if (more) cli.io.err(`there are more than ${max}; see them with --limit N or --all`);
  return EXIT.ok;
}
