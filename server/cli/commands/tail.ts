// Owns `perdure tail`: events as they happen, over lost connections: those of one intent until it ends, or of all intents.
import type { FeedFilter } from "@perdure/sdk";
import type { Command } from "commander";
import { intentPath } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { formatEvent, formatFeedEvent, type WireEvent } from "../event-line.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { metadataOption, parseMetadata, parseStatuses, statusOption } from "../filters.ts";
import { resolveId } from "../intent-ids.ts";
import { parseWhole } from "../numbers.ts";
import { connect, untilDetached } from "../waiting.ts";

interface Options {
  since?: string;
  output?: boolean;
  agent?: string;
  session?: string;
  type?: string;
  status?: string;
  event?: string;
  meta?: string[];
}

export function tailCommand(cli: Cli): Command {
  const command = newCommand(
    "tail [id]",
    "follow an intent's events until it ends; without an id those of all intents",
    "perdure tail 4f1c2ab9",
    "perdure tail --agent 'agent://acme/prod/*' --status FAILED,TIMED_OUT --json",
  )
    .option("--since <seq>", "with an id: only events after this one")
    .option("--output", "with an id: only what its handler puts out with ctx.write, as it comes")
    .option("--agent <pattern>", "for this agent; a star at the end stands for any")
    .option("--session <name>", "of this session")
    .option("--type <type>", "of this intent type")
    .addOption(statusOption("that left their intent in one of these statuses, separated by commas"))
    .option("--event <list>", "of these kinds, such as step_done,lost")
    .addOption(metadataOption());
  return runs(cli, command, async ([given]: [string?], options: Options) => {
    if (given === undefined) await tailAll(cli, options);
    else await tailOne(cli, given, options);
    return EXIT.ok;
  });
}

async function tailOne(cli: Cli, given: string, { since, output, ...filters }: Options): Promise<void> {
  const [filter] = Object.keys(filters);
  if (filter !== undefined) throw new UsageError(`--${filter} chooses among all intents: leave the id out`);
  const seq = since === undefined ? 0 : parseWhole(since, "--since");
  const id = await resolveId(cli.api, given);
  // Tells an unknown id or an absent server at once; from there on the SDK reconnects for as long as it takes.
  await cli.api.get(intentPath(id));
  const client = await connect(cli);
  await untilDetached(cli, `perdure tail ${id}`, async (signal) => {
    for await (const { intentId, type, ...rest } of client.observe(id, { since: seq, signal })) {
      const event: WireEvent = { intent_id: intentId, event_type: type, ...rest };
      if (output) await writeOutput(cli, event);
      else if (cli.json) cli.printJson(event);
      else cli.io.out(formatEvent(event, cli.io));
    }
  });
}

async function tailAll(cli: Cli, options: Options): Promise<void> {
  const { since, output } = options;
  if (since !== undefined || output)
    throw new UsageError(`${output ? "--output" : "--since"} is about one intent: give its id`);
  const filter = feedFilter(options);
  await cli.api.get("/v1/intents", { limit: 1 });
  const client = await connect(cli);
  await untilDetached(cli, "perdure tail", async (signal) => {
    let opened = false;
    const onOpen = () => {
      if (!opened) cli.note("following all intents from now on; Ctrl+C ends it");
      opened = true;
    };
    const onGap = (reason: string) => tellGap(cli, reason);
    for await (const event of client.observeAll(filter, { signal, onOpen, onGap })) {
      const { intentId, type, intentType, toAgent, ...rest } = event;
      const wire = { intent_id: intentId, event_type: type, ...rest };
      if (cli.json) cli.printJson({ ...wire, intent_type: intentType, to_agent: toAgent });
      else cli.io.out(formatFeedEvent(wire, { intentType, toAgent }, cli.io));
    }
  });
}

function feedFilter({ agent, session, type, status, event, meta }: Options): FeedFilter {
  const metadata = parseMetadata(meta);
  return {
    ...(agent === undefined ? {} : { toAgent: agent }),
    ...(session === undefined ? {} : { session }),
    ...(type === undefined ? {} : { intentType: type }),
    ...(status === undefined ? {} : { status: parseStatuses(status) as NonNullable<FeedFilter["status"]> }),
    ...(event === undefined ? {} : { eventType: event.split(",").map(eventType) }),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

const eventType = (name: string): string => `intent.${name.trim().replace(/^intent\./, "")}`;

/** A program must be able to see it too: it is one of the lines. */
function tellGap(cli: Cli, reason: string): void {
  if (cli.json) cli.printJson({ event_type: "stream.gap", reason });
  else cli.note(`events are missing here (${reason}): see perdure list`);
}

async function writeOutput({ io }: Cli, { details }: WireEvent): Promise<void> {
  if (typeof details?.output === "string") await io.outBytes(Buffer.from(details.output));
}
