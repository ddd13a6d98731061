// Owns `perdure signal`: telling an intent something that it waits for, or will wait for.
import type { Command } from "commander";
import { intentPath } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { jsonWith, readJson } from "../payload.ts";

export function signalCommand(cli: Cli): Command {
  const command = newCommand(
    "signal <id> <name> [json]",
    "send an intent a signal; JSON is its data, @file reads a file, - stdin",
    `perdure signal 4f1c2ab9 paid '{"amount": 12}'`,
  );
  return runs(cli, command, async ([given, name, json]: [string, string, string?]) => {
    const body = json === undefined ? {} : jsonWith({}, "data", await readJson(json, "the data", cli.io));
    const id = await resolveId(cli.api, given);
    const answer = await cli.api.post(intentPath(id, "signals", name), { body });
    if (cli.json) cli.printJson(answer);
    else {
      const how = answer.delivered ? "taken by a wait" : "kept until a wait takes it";
      cli.io.out(`${id}  signal ${name} ${how}, now ${answer.status}`);
    }
    return EXIT.ok;
  });
}
