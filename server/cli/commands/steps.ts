// Owns `perdure steps`: an intent's steps and how far they are.
import type { Command } from "commander";
import { intentPath, type Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { describeDuration } from "../duration.ts";
import { describeError } from "../event-line.ts";
import { EXIT } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { parseWhole } from "../numbers.ts";
import { type Column, formatTable, statusColour } from "../table.ts";
import { describeWait } from "../wait-line.ts";

const COLUMNS: readonly Column<Json>[] = [
  { title: "STEP", text: (step) => step.key },
  { title: "STATUS", text: (step) => step.status, colour: (step) => statusColour(step.status) },
  { title: "TRIES", text: (step) => String(step.tries ?? 0) },
  {
    title: "TOOK",
    text: (step) => (typeof step.duration_ms === "number" ? describeDuration(step.duration_ms) : ""),
  },
  { title: "RESULT", text: describeStepResult },
];

export function stepsCommand(cli: Cli): Command {
  const command = newCommand("steps <id>", "show an intent's steps", "perdure steps 4f1c2ab9").option(
    "--seq <n>",
    "as they were after this entry of its log",
  );
  return runs(cli, command, async ([given]: [string], options: { seq?: string }) => {
    const seq = options.seq === undefined ? undefined : parseWhole(options.seq, "--seq");
    const answer = await cli.api.get(intentPath(await resolveId(cli.api, given), "steps"), { seq });
    if (cli.json) cli.printJson(answer);
    else if (answer.steps.length === 0) cli.note("no steps");
    else cli.io.out(formatTable(COLUMNS, answer.steps, cli.io.colour.out));
    return EXIT.ok;
  });
}

function describeStepResult(step: Json): string {
  if (step.status === "failed") return describeError(step.error);
  if (step.status === "done") return JSON.stringify(step.result ?? null);
  if (step.status === "waiting") return `waits ${describeWait(step.wait)}`;
  return step.title ?? "";
}
