// Owns `perdure resolve-step`: the operator's answer about a step that may or may not have happened.
import { type Command, Option } from "commander";
import { intentPath } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { resolveId } from "../intent-ids.ts";
import { jsonWith, readJson } from "../payload.ts";

interface Options {
  done?: string;
  retry?: boolean;
  fail?: boolean;
}

export function resolveStepCommand(cli: Cli): Command {
  const command = newCommand(
    "resolve-step <id> <key>",
    "settle a step in doubt: did it happen?",
    `perdure resolve-step 4f1c2ab9 charge --done '{"paid": 12}'`,
    "perdure resolve-step 4f1c2ab9 charge --retry",
  )
    .addOption(
      new Option("--done <json>", "it did, with this result (JSON, @file or -)").conflicts(["retry", "fail"]),
    )
    .addOption(new Option("--retry", "it did not: run it").conflicts("fail"))
    .option("--fail", "it must not be run again: the step has failed");
  return runs(cli, command, async ([given, key]: [string, string], options: Options) => {
    const body = await answerOf(cli, options);
    const id = await resolveId(cli.api, given);
    const answer = await cli.api.post(intentPath(id, "steps", key, "decide"), { body });
    if (cli.json) cli.printJson(answer);
    else
      cli.io.out(
        `${id}  step ${key} is ${answer.step?.status ?? "settled"}, the intent ${answer.intent.status}`,
      );
    return EXIT.ok;
  });
}

async function answerOf(cli: Cli, { done, retry, fail }: Options): Promise<string | object> {
  if (done !== undefined) return jsonWith({}, "done", await readJson(done, "--done", cli.io));
  if (retry) return { retry };
  if (fail) return { fail };
  throw new UsageError("say what has become of the step: --done JSON, --retry or --fail");
}
