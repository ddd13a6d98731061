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
  readonly examples: readonly [string, ...string[]];
}

const VERBS: readonly Verb[] = [
  {
    name: "cancel",
    about: "end intents as CANCELED, whoever works on them",
    past: "canceled",
    statuses: UNFINISHED,
    takesReason: true,
    examples: [
      "perdure cancel 4f1c2ab9 --reason 'not needed any more'",
      "perdure cancel --agent reporter --since 1h --yes",
    ],
  },
  {
    name: "pause",
    about: "let no further step begin",
    past: "paused",
    statuses: UNFINISHED,
    takesReason: true,
    examples: ["perdure pause 4f1c2ab9", "perdure pause --type etl.v1 --yes"],
  },
  {
    name: "unpause",
    about: "undo pause",
    past: "unpaused",
    statuses: UNFINISHED,
    takesReason: false,
    examples: ["perdure unpause 4f1c2ab9"],
  },
  {
    name: "retry",
    about: "put ended intents back to work; done steps are kept",
    past: "retried",
    statuses: "FAILED,TIMED_OUT",
    takesReason: false,
    examples: ["perdure retry 4f1c2ab9", "perdure retry --code delivery_attempts_exhausted --since 1d --yes"],
  },
];

export function operatorCommands(cli: Cli): Command[] {
  return VERBS.map((verb) => {
    const command = withFilters(newCommand(`${verb.name} [ids...]`, verb.about, ...verb.examples)).option(
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
      `${ids.length === 1 ? "1 intent matches" : `${ids.length} intents match`} and would be ${verb.past}; add --yes to do it, or see them with: perdure list`,
    );
  }
  return ids;
}

function definedOnly<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** Some at a time, so that many share a commit. One refusal does not spare the rest. */
async function applyToAll(cli: Cli, verb: Verb, ids: readonly string[], body: object): Promise<number> {
  let exit: number = EXIT.ok;
  let done = 0;
  cli.progress(verb.past, done, ids.length);
  await eachOf(ids, async (id) => {
    const refused = await apply(cli, verb, id, body, ids.length === 1);
    exit = refused ?? exit;
    done += 1;
    cli.progress(verb.past, done, ids.length);
  }).finally(() => cli.endProgress());
  if (ids.length === 0) cli.note("no intents match");
  return exit;
}

/** The exit code of a refusal. */
async function apply(
  cli: Cli,
  verb: Verb,
  id: string,
  body: object,
  only: boolean,
): Promise<number | undefined> {
  try {
    const answer = await cli.api.post(intentPath(id, verb.name), { body });
    cli.above(() => {
      if (cli.json) cli.printJson(answer);
      else cli.io.out(`${id}  ${verb.past}, now ${answer.intent.status}`);
    });
    return undefined;
  } catch (error) {
    const failure = describeFailure(error, cli.connection);
    // An absent server or a bad key is the same for all of them.
    if (only || (failure.exit !== EXIT.failed && failure.exit !== EXIT.usage)) throw error;
    cli.above(() => cli.io.err(`${id}  ${failure.message}`));
    return failure.exit;
  }
}

const AT_ONCE = 8;

/** The first that throws ends it; what is under way then still comes to its end. */
async function eachOf(ids: readonly string[], work: (id: string) => Promise<void>): Promise<void> {
  const left = [...ids].reverse();
  const worker = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      try {
        await work(id);
      } catch (error) {
        left.length = 0;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
