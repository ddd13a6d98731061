// Owns the positions of an intent: `perdure checkpoints` names them, `perdure restore` goes back to one.
import { type Command, Option } from "commander";
import { intentPath, type Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { type Column, formatFields, formatTable } from "../table.ts";

const COLUMNS: readonly Column<Json>[] = [
  { title: "NAME", text: (checkpoint) => checkpoint.name },
  { title: "SEQ", text: (checkpoint) => String(checkpoint.seq) },
  { title: "CREATED", text: (checkpoint) => checkpoint.created_at },
  { title: "BY", text: (checkpoint) => checkpoint.created_by ?? "" },
  { title: "STEPS DONE", text: (checkpoint) => describeDone(checkpoint.steps_done) },
  {
    title: "METADATA",
    text: ({ metadata }) => (Object.keys(metadata ?? {}).length === 0 ? "" : JSON.stringify(metadata)),
  },
];

const isSeq = (text: string): boolean => /^\d{1,15}$/.test(text);

export function checkpointsCommand(cli: Cli): Command {
  const command = newCommand(
    "checkpoints <id>",
    "list the named positions of an intent",
    "perdure checkpoints 4f1c2ab9",
    "perdure checkpoints 4f1c2ab9 --name before-migration",
  )
    .addOption(
      new Option("--name <name>", "name the present position; moves a name that is taken").conflicts(
        "delete",
      ),
    )
    .option("--delete <name>", "forget a name; nothing else changes");
  return runs(cli, command, async ([given]: [string], options: { name?: string; delete?: string }) => {
    if (options.name !== undefined && isSeq(options.name))
      throw new UsageError("--name: digits alone would be taken for a number of the log; add a letter");
    const id = await resolveId(cli.api, given);
    if (options.name !== undefined) return await nameCheckpoint(cli, id, options.name);
    if (options.delete !== undefined) return await deleteCheckpoint(cli, id, options.delete);
    const answer = await cli.api.get(intentPath(id, "checkpoints"));
    if (cli.json) cli.printJson(answer);
    else if (answer.checkpoints.length === 0)
      cli.note(`no checkpoints; name the present position with: perdure checkpoints ${id} --name NAME`);
    else cli.io.out(formatTable(COLUMNS, answer.checkpoints, cli.io.colour.out));
    return EXIT.ok;
  });
}

async function nameCheckpoint(cli: Cli, id: string, name: string): Promise<number> {
  const answer = await cli.api.put(intentPath(id, "checkpoints", name));
  if (cli.json) cli.printJson(answer);
  else cli.io.out(`${id}  ${name} is at seq ${answer.checkpoint.seq}`);
  return EXIT.ok;
}

async function deleteCheckpoint(cli: Cli, id: string, name: string): Promise<number> {
  const answer = await cli.api.delete(intentPath(id, "checkpoints", name));
  if (cli.json) cli.printJson(answer);
  else cli.io.out(`${id}  ${name} is forgotten`);
  return EXIT.ok;
}

export function restoreCommand(cli: Cli): Command {
  const command = newCommand(
    "restore <id>",
    "put an intent back to where it was and to work",
    "perdure restore 4f1c2ab9 --to before-migration",
    "perdure restore 4f1c2ab9 --to 0",
  ).requiredOption(
    "--to <name|seq>",
    "a checkpoint's name, or the number of an entry of its log; 0 starts afresh",
  );
  return runs(cli, command, async ([given]: [string], { to }: { to: string }) => {
    const id = await resolveId(cli.api, given);
    const body = { to: isSeq(to) ? Number(to) : to };
    const answer = await cli.api.post(intentPath(id, "restore"), { body });
    if (cli.json) cli.printJson(answer);
    else cli.io.out(formatRestored(cli, id, answer));
    return EXIT.ok;
  });
}

function formatRestored(cli: Cli, id: string, { intent, restored }: Json): string {
  const { seq, name, kept = [], run_again: again = [], superseded = [] } = restored;
  const where = name ? `${name}, seq ${seq}` : `seq ${seq}`;
  const keys: [string, string][] = [
    ["kept", kept.join(", ")],
    ["run again", again.join(", ")],
    ["superseded", superseded.join(", ")],
  ];
  const lines = keys.some(([, list]) => list !== "") ? `\n${formatFields(keys, cli.io)}` : "";
  return `${id}  restored to ${where}, now ${intent.status}${lines}`;
}

/** A number or the keys, as the server counts them. */
function describeDone(done: Json): string {
  return Array.isArray(done) ? done.join(", ") : String(done ?? "");
}
