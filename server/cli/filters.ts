// Owns the options that choose intents. Must not show anything.
import { type Command, Option } from "commander";
import type { Query } from "./api.ts";
import { offering } from "./completions.ts";
import { collect } from "./context.ts";
import { parseMoment } from "./duration.ts";
import { UsageError } from "./exit-codes.ts";
import type { Listing } from "./listing.ts";

export interface FilterOptions {
  status?: string;
  agent?: string;
  type?: string;
  session?: string;
  code?: string;
  since?: string;
  meta?: string[];
}

const STATUSES = [
  "CREATED",
  "SUBMITTED",
  "DELIVERED",
  "ACKNOWLEDGED",
  "IN_PROGRESS",
  "WAITING",
  "COMPLETED",
  "FAILED",
  "CANCELED",
  "TIMED_OUT",
];
export const UNFINISHED = "CREATED,SUBMITTED,DELIVERED,ACKNOWLEDGED,IN_PROGRESS,WAITING";

export function withFilters(command: Command): Command {
  return command
    .addOption(statusOption("of these statuses, separated by commas"))
    .option("--agent <address>", "for this agent")
    .option("--type <type>", "of this intent type")
    .option("--session <name>", "of this session")
    .option("--code <code>", "with this error code")
    .option("--since <time>", "created since: 1h, 2d, or a time")
    .addOption(metadataOption());
}

export function statusOption(about: string): Option {
  return offering(new Option("--status <list>", about), STATUSES);
}

export function metadataOption(): Option {
  return new Option("--meta <k=v>", "with this metadata (repeatable)").argParser<string[]>(collect);
}

export function hasFilter(options: FilterOptions): boolean {
  const { status, agent, type, session, code, since, meta } = options;
  return [status, agent, type, session, code, since, meta].some((value) => value !== undefined);
}

export function filterQuery(options: FilterOptions): Query {
  const query: Query = {
    status: options.status === undefined ? undefined : parseStatuses(options.status).join(","),
    to_agent: options.agent,
    intent_type: options.type,
    session: options.session,
    code: options.code,
    created_from: options.since === undefined ? undefined : parseMoment(options.since, "--since", "back"),
  };
  for (const [key, value] of Object.entries(parseMetadata(options.meta) ?? {}))
    query[`metadata.${key}`] = value;
  return query;
}

export function parseMetadata(pairs: readonly string[] | undefined): Record<string, string> | undefined {
  if (pairs === undefined) return undefined;
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at < 1) throw new UsageError(`--meta: ${JSON.stringify(pair)} is not KEY=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

export function parseStatuses(text: string): string[] {
  const statuses = text.split(",").map((status) => status.trim().toUpperCase().replaceAll("-", "_"));
  for (const status of statuses) {
    if (!STATUSES.includes(status))
      throw new UsageError(`--status: ${JSON.stringify(status)} is none of ${STATUSES.join(", ")}`);
  }
  return statuses;
}

/** The list of those chosen. */
export function intentsOf(query: Query): Listing {
  return { path: "/v1/intents", field: "intents", query };
}
