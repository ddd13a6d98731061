// Owns `perdure get`: one intent as it is now, its result alone, or its log.
import type { Command } from "commander";
import { intentPath, type Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { describeError, formatEvent } from "../event-line.ts";
import { CliError, EXIT, exitForStatus } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { paint } from "../io.ts";
import { formatFields, statusColour } from "../table.ts";
import { formatResult, printOutcome } from "../waiting.ts";

export function getCommand(cli: Cli): Command {
  const command = newCommand(
    "get <id>",
    "show an intent",
    "perdure get 4f1c2ab9",
    "perdure get 4f1c2ab9 --result",
  )
    .option("--result", "only the result; exits by the outcome, 124 while there is none")
    .option("--events", "its log");
  return runs(cli, command, async ([given]: [string], options: { result?: boolean; events?: boolean }) => {
    const id = await resolveId(cli.api, given);
    if (options.events) return await printEvents(cli, id);
    const answer = await cli.api.get(intentPath(id));
    if (options.result) return printResult(cli, answer.intent);
    if (cli.json) cli.printJson(answer);
    else cli.io.out(formatIntent(cli, answer.intent));
    return EXIT.ok;
  });
}

async function printEvents(cli: Cli, id: string): Promise<number> {
  let since: string | number | undefined;
  do {
    const page = await cli.api.get(intentPath(id, "events"), { since });
    for (const event of page.events) {
      if (cli.json) cli.printJson(event);
      else cli.io.out(formatEvent(event, cli.io));
    }
    // The cursor of an event list is a seq; next_cursor only says that there is more.
    since = page.next_cursor === null || page.next_cursor === undefined ? undefined : page.events.at(-1)?.seq;
  } while (since !== undefined);
  return EXIT.ok;
}

function printResult(cli: Cli, intent: Json): number {
  const exit = exitForStatus(intent.status);
  if (exit === undefined)
    throw new CliError(
      `${intent.intent_id} is ${intent.status}: there is no result yet`,
      EXIT.waitTimeout,
      "not_ended",
    );
  if (exit !== EXIT.ok) printOutcome(cli, intent, false);
  else if (cli.json) cli.printJson(intent.result ?? null);
  else cli.io.out(formatResult(intent.result));
  return exit;
}

function formatIntent(cli: Cli, intent: Json): string {
  const { io } = cli;
  const colour = statusColour(intent.status);
  const status = colour === undefined ? intent.status : paint(io.colour.out, colour, intent.status);
  const { done = 0, total, current } = intent.progress ?? {};
  const steps = total === undefined || total === null ? done : `${done}/${total}`;
  const waitingFor = intent.lifecycle_waiting_reason;
  const fields: [string, unknown][] = [
    ["id", intent.intent_id],
    ["type", intent.intent_type],
    [
      "status",
      [status, intent.paused ? "(paused)" : "", waitingFor ? `for ${waitingFor}` : ""]
        .filter(Boolean)
        .join(" "),
    ],
    ["agent", intent.to_agent],
    ["from", intent.from_agent],
    ["session", intent.session],
    ["parent", intent.parent_intent_id],
    ["steps", current ? `${steps}, at ${current}` : steps || undefined],
    ["attempt", intent.attempt],
    [
      "lost",
      intent.lost_deliveries
        ? `${intent.lost_deliveries} of ${intent.max_delivery_attempts} deliveries`
        : undefined,
    ],
    ["created", intent.created_at],
    ["updated", intent.updated_at],
    ["deadline", intent.deadline_at],
    [
      "metadata",
      Object.keys(intent.metadata ?? {}).length === 0 ? undefined : JSON.stringify(intent.metadata),
    ],
    ["payload", JSON.stringify(intent.payload, null, 2)],
    ["result", intent.status === "COMPLETED" ? JSON.stringify(intent.result ?? null, null, 2) : undefined],
    ["error", intent.error ? describeError(intent.error) : undefined],
  ];
  return formatFields(fields, io);
}
