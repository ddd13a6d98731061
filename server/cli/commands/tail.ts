// Owns `perdure tail`: an intent's events as they happen, over lost connections, until it ends.
import type { Command } from "commander";
import { intentPath } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { formatEvent, type WireEvent } from "../event-line.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { parseWhole } from "../numbers.ts";
import { connect, untilDetached } from "../waiting.ts";

export function tailCommand(cli: Cli): Command {
  const command = newCommand("tail [id]", "follow an intent's events until it ends")
    .option("--since <seq>", "only events after this one")
    .option("--output", "only what its handler puts out with ctx.write, as it comes");
  return runs(cli, command, async ([given]: [string?], options: { since?: string; output?: boolean }) => {
    if (given === undefined)
      throw new UsageError(
        "tail needs an intent id: this version cannot follow all intents at once; find one with: perdure list",
      );
    const since = options.since === undefined ? 0 : parseWhole(options.since, "--since");
    const id = await resolveId(cli.api, given);
    // Tells an unknown id or an absent server at once; from there on the SDK reconnects for as long as it takes.
    await cli.api.get(intentPath(id));
    const client = await connect(cli);
    await untilDetached(cli, `perdure tail ${id}`, async (signal) => {
      for await (const { intentId, type, ...rest } of client.observe(id, { since, signal })) {
        const event: WireEvent = { intent_id: intentId, event_type: type, ...rest };
        if (options.output) await writeOutput(cli, event);
        else if (cli.json) cli.printJson(event);
        else cli.io.out(formatEvent(event, cli.io));
      }
    });
    return EXIT.ok;
  });
}

async function writeOutput({ io }: Cli, { details }: WireEvent): Promise<void> {
  if (typeof details?.output === "string") await io.outBytes(Buffer.from(details.output));
}
