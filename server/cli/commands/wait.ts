// Owns `perdure wait`: until intents have ended.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { parseDuration } from "../duration.ts";
import { resolveIds } from "../intent-ids.ts";
import { waitAndReport } from "../waiting.ts";

export function waitCommand(cli: Cli): Command {
  const command = newCommand(
    "wait <ids...>",
    "wait for intents to end; prints the result, exits by the outcome",
    "perdure wait 4f1c2ab9 --timeout 60s",
  ).option("--timeout <duration>", "give up after this long with exit code 124");
  return runs(cli, command, async ([ids]: [string[]], options: { timeout?: string }) => {
    const timeoutMs = options.timeout === undefined ? undefined : parseDuration(options.timeout, "--timeout");
    return await waitAndReport(cli, await resolveIds(cli.api, ids), timeoutMs);
  });
}
