// Owns the operator's verbs, which differ only in name: cancel, pause, unpause, retry; on ids, or on what filters choose.
import type { Command } from "commander";
import { intentPath, type Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { describeFailure } from "../failure.ts";
import {
  type FilterOptions,
  filterQuery,
  hasFilter,
  intentsOf,
  UNFINISHED,
  withFilters,
} from "../filters.ts";
import { resolveIds } from "../intent-ids.ts";
import { readPages } from "../listing.ts";

interface VerbOptions extends FilterOptions {
  yes?: boolean;
  reason?: string;
}

interface Verb {
  readonly name: string;
  readonly about: string;
  readonly past: string;
  /** What it is for when filters leave the status open. */
  readonly statuses: string;
  readonly takesReason: boolean;
}

const VERBS: readonly Verb[] = [
  {
    name: "cancel",
    about: "end intents as CANCELED, whoever works on them",
    past: "canceled",
    statuses: UNFINISHED,
    takesReason: true,
  },
  {
    name: "pause",
    about: "let no further step begin",
    past: "paused",
    statuses: UNFINISHED,
    takesReason: true,
  },
  { name: "unpause", about: "undo pause", past: "unpaused", statuses: UNFINISHED, takesReason: false },
  {
    name: "retry",
    about: "put ended intents back to work; done steps are kept",
    past: "retried",
    statuses: "FAILED,TIMED_OUT",
    takesReason: false,
  },
];

export function operatorCommands(cli: Cli): Command[] {
  return VERBS.map((verb) => {
    const command = withFilters(newCommand(`${verb.name} [ids...]`, verb.about)).option(
      "--yes",
      "with filters instead of ids: really do it",
    );
    if (verb.takesReason) command.option("--reason <text>", "kept in the log");
    return runs(cli, command, async ([given]: [string[]], options: VerbOptions) => {
      const ids = await chooseIds(cli, verb, given, options);
      return await applyToAll(cli, verb, ids, options.reason === undefined ? {} : { reason: options.reason });
    });
  });
}

async function chooseIds(
  cli: Cli,
  verb: Verb,
  given: readonly string[],
  options: VerbOptions,
): Promise<string[]> {
  const filtered = hasFilter(options);
  if (given.length > 0 && filtered) throw new UsageError("give either ids or filters, not both");
  if (given.length > 0) return await resolveIds(cli.api, given);
  if (!filtered) throw new UsageError(`${verb.name} what? Give ids, or filters such as --session NAME --yes`);
  const ids: string[] = [];
  const query = { status: verb.statuses, ...definedOnly(filterQuery(options)) };
  await readPages(cli.api, intentsOf(query), Number.POSITIVE_INFINITY, (page) => {
    ids.push(...page.map((intent: Json) => intent.intent_id));
  });
  if (!options.yes && ids.length > 0) {
    throw new UsageError(
      `${ids.length} intents match and would be ${verb.past}; add --yes to do it, or see them with: perdure list`,
    );
  }
  return ids;
}

function definedOnly<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** One after the other; one refusal does not spare the rest. */
async function applyToAll(cli: Cli, verb: Verb, ids: readonly string[], body: object): Promise<number> {
  let exit: number = EXIT.ok;
  for (const id of ids) {
    try {
      const answer = await cli.api.post(intentPath(id, verb.name), { body });
      if (cli.json) cli.printJson(answer);
      else cli.io.out(`${id}  ${verb.past}, now ${answer.intent.status}`);
    } catch (error) {
      const failure = describeFailure(error, cli.api.baseUrl);
      // An absent server or a bad key is the same for all of them.
      if (ids.length === 1 || (failure.exit !== EXIT.failed && failure.exit !== EXIT.usage)) throw error;
      cli.io.err(`${id}  ${failure.message}`);
      exit = failure.exit;
    }
  }
  if (ids.length === 0) cli.note("no intents match");
  return exit;
}
