// Owns the human tasks: `perdure tasks` lists those that wait, `perdure approve` and `perdure reject` decide one.
import type { Command } from "commander";
import { intentPath, type Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { describeDuration } from "../duration.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { type LimitOptions, printListing, withLimit } from "../listing.ts";
import { jsonWith, pairsAsJson, readPairs } from "../payload.ts";
import type { Column } from "../table.ts";
import { outcomesOf } from "../wait-line.ts";

const COLUMNS: readonly Column<Json>[] = [
  { title: "ID", text: (task) => task.intent_id },
  { title: "STEP", text: (task) => task.step ?? "" },
  { title: "FROM", text: (task) => task.from_agent ?? "" },
  {
    title: "WAITS",
    text: (task) => describeDuration(Math.max(0, Date.now() - Date.parse(task.assigned_at))),
  },
  { title: "DUE", text: (task) => task.due_at ?? "" },
  { title: "ASSIGNEES", text: (task) => (task.human_task.assignees ?? []).join(", ") },
  { title: "OUTCOMES", text: (task) => outcomesOf(task.human_task).join(", ") },
  { title: "TITLE", text: (task) => task.human_task.title },
];

export function tasksCommand(cli: Cli): Command {
  const command = withLimit(
    newCommand("tasks", "list what waits for a person's decision", "perdure tasks --assignee ada").option(
      "--assignee <name>",
      "only what is assigned to this one",
    ),
  );
  return runs(cli, command, (_args: [], options: LimitOptions & { assignee?: string }) => {
    const listing = { path: "/v1/me/tasks", field: "tasks", query: { assignee: options.assignee } };
    return printListing(cli, listing, options, COLUMNS, "no task waits for a decision");
  });
}

interface Verdict {
  readonly name: string;
  readonly about: string;
  readonly example: string;
  /** The outcome when none is given. */
  readonly usual: string;
  /** The outcome instead, when the task does not allow that: one that the other verdict would not take. */
  readonly place: "first" | "last";
  instead(allowed: readonly string[]): string | undefined;
}

const APPROVED = "approved";
const REJECTED = "rejected";

const firstOf = (allowed: readonly string[]) => allowed.find((outcome) => outcome !== REJECTED);

const VERDICTS: readonly Verdict[] = [
  {
    name: "approve",
    about: "decide a human task in favour",
    example: "perdure approve 4f1c2ab9 --comment 'well done' --data amount=12",
    usual: APPROVED,
    place: "first",
    instead: firstOf,
  },
  {
    name: "reject",
    about: "decide a human task against it",
    example: "perdure reject 4f1c2ab9 --comment 'too expensive'",
    usual: REJECTED,
    place: "last",
    instead: (allowed) => {
      const inFavour = allowed.includes(APPROVED) ? APPROVED : firstOf(allowed);
      return allowed.findLast((outcome) => outcome !== inFavour);
    },
  },
];

interface DecisionOptions {
  outcome?: string;
  comment?: string;
  data?: string[];
  step?: string;
}

export function decisionCommands(cli: Cli): Command[] {
  return VERDICTS.map((verdict) => {
    const { name, about, usual, place, example } = verdict;
    const command = newCommand(`${name} <id>`, about, example)
      .option("--outcome <name>", `${usual} unless given, or the ${place} one that the task allows`)
      .option("--comment <text>", "kept with the decision")
      .option("--data <k=v...>", "fields of the form; a value that is JSON is taken as such")
      .option("--step <key>", "which task, when the intent has several");
    return runs(cli, command, ([given]: [string], options: DecisionOptions) =>
      decide(cli, verdict, given, options),
    );
  });
}

async function decide(cli: Cli, verdict: Verdict, given: string, options: DecisionOptions): Promise<number> {
  const pairs = options.data === undefined ? undefined : readPairs(options.data, "--data");
  const id = await resolveId(cli.api, given);
  const task = await findTask(cli, id, options.step);
  const outcome = options.outcome ?? chooseOutcome(cli, verdict, task);
  const decision = { outcome, comment: options.comment };
  // The data goes out as it was typed: numbers of any size stay what they are.
  const result =
    pairs === undefined
      ? JSON.stringify(decision)
      : jsonWith(decision, "data", pairsAsJson(pairs, isTextOf(task)));
  const body = jsonWith({ step: task?.key ?? options.step }, "task_result", result);
  const answer = await cli.api.post(intentPath(id, "resume"), { body });
  if (cli.json) cli.printJson(answer);
  else {
    const how = answer.applied ? "decided" : "was decided so before";
    cli.io.out(`${id}  ${answer.step?.key ?? "task"} ${how}: ${outcome}, now ${answer.intent.status}`);
  }
  return EXIT.ok;
}

/** The usual word where there is no task: then the server says so. */
function chooseOutcome(cli: Cli, { name, usual, instead }: Verdict, task: Json | undefined): string {
  const allowed = outcomesOf(task?.wait.human_task);
  if (allowed.length === 0 || allowed.includes(usual)) return usual;
  const outcome = instead(allowed);
  const listed = allowed.join(", ");
  if (outcome === undefined)
    throw new UsageError(
      `no outcome of ${task.key} is one to ${name} it with; choose by --outcome: ${listed}`,
    );
  cli.note(`${task.key} does not allow ${usual} (but ${listed}): took ${outcome}; --outcome takes another`);
  return outcome;
}

/** Whether its form asks for a text, which then may look like a number. */
function isTextOf(task: Json | undefined): (key: string) => boolean {
  const properties = task?.wait.human_task.form_schema?.properties ?? {};
  return (key) => Object.hasOwn(properties, key) && properties[key]?.type === "string";
}

/** The task that waits; when none does, the one decided last: the same decision again is no error. */
async function findTask(cli: Cli, id: string, key: string | undefined): Promise<Json | undefined> {
  const { steps } = await cli.api.get(intentPath(id, "steps"));
  const tasks: Json[] = steps.filter(
    (step: Json) => step.wait?.human_task && (key === undefined || step.key === key),
  );
  const waiting = tasks.filter((task) => task.status === "waiting");
  if (waiting.length > 1) {
    const keys = waiting.map((task) => task.key).join(", ");
    throw new UsageError(`several tasks of ${id} wait; choose one with --step KEY. Among them: ${keys}`);
  }
  const decided = tasks.filter((task) => task.status === "done");
  return waiting[0] ?? decided.sort((a, b) => b.finished_at.localeCompare(a.finished_at))[0];
}
