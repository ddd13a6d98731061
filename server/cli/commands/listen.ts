// Owns `perdure listen`: reading its options. What it does is in command-agent.ts.
import type { ListenOptions } from "@perdure/sdk";
import { type Command, Option } from "commander";
import type { CommandWork } from "../command-agent.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { parseDuration } from "../duration.ts";
import { UsageError } from "../exit-codes.ts";

interface Options {
  exec?: string;
  step?: string[];
  capacity?: string;
  consumer?: string;
  lease?: string;
  drainTimeout?: string;
  type?: string;
}

const HELP = `
The command gets the delivery as one line of JSON on stdin (with "results": the done steps' results by key), and in its
environment PERDURE_INTENT_ID, PERDURE_ATTEMPT, PERDURE_STEP, PERDURE_IDEMPOTENCY_KEY, PERDURE_URL and PERDURE_API_KEY.
What it prints on stdout is the result: JSON, or else text. Any exit code but 0 is a failure; 75 may be tried again.
When the intent is canceled or lost the command and all it started get SIGTERM, and SIGKILL 5 s later.`;

export function listenCommand(cli: Cli): Command {
  const command = newCommand(
    "listen <address>",
    "be an agent: run a command for each intent, or for each step",
    "perdure listen reporter --exec ./report.sh",
    "perdure listen etl --step extract='python extract.py' --step load='python load.py' --capacity 4",
  )
    .addOption(new Option("--exec <cmd>", "shell command to run once per delivery").conflicts("step"))
    .option(
      "--step <name=cmd...>",
      "shell command for one step (repeatable); their order is the plan when the sender gave none",
    )
    .option("--capacity <n>", "intents at work at once; default 1")
    .option("--consumer <name>", "this process's name among the address's consumers; default host-pid-random")
    .option("--lease <duration>", "how long the server waits for a silent agent; default 30s")
    .option("--drain-timeout <duration>", "how long a stop waits for the step at work; default 30s")
    .option("--type <list>", "take only these intent types, separated by commas")
    .addHelpText("after", HELP);
  return runs(cli, command, async ([address]: [string], options: Options) => {
    const work = parseWork(options);
    const listenOptions = parseListenOptions(options);
    const { runCommandAgent } = await import("../command-agent.ts");
    return await runCommandAgent(cli, address, work, listenOptions);
  });
}

function parseWork({ exec, step }: Options): CommandWork {
  if (exec !== undefined) return { exec };
  if (step === undefined)
    throw new UsageError("listen needs something to run: --exec CMD, or --step NAME=CMD for each step");
  const steps = new Map<string, string>();
  for (const entry of step) {
    const at = entry.indexOf("=");
    if (at < 1 || at === entry.length - 1)
      throw new UsageError(`--step: ${JSON.stringify(entry)} is not NAME=CMD`);
    const name = entry.slice(0, at);
    if (steps.has(name)) throw new UsageError(`--step: ${JSON.stringify(name)} is given twice`);
    steps.set(name, entry.slice(at + 1));
  }
  return { steps };
}

function parseListenOptions(options: Options): ListenOptions {
  const { capacity, consumer, lease, drainTimeout, type } = options;
  if (capacity !== undefined && !/^[1-9]\d{0,4}$/.test(capacity)) {
    throw new UsageError(`--capacity: ${JSON.stringify(capacity)} is not a whole number of 1 or more`);
  }
  return {
    ...(capacity === undefined ? {} : { capacity: Number(capacity) }),
    ...(consumer === undefined ? {} : { consumer }),
    ...(lease === undefined ? {} : { lease: parseDuration(lease, "--lease") }),
    ...(drainTimeout === undefined ? {} : { drainTimeout: parseDuration(drainTimeout, "--drain-timeout") }),
    ...(type === undefined ? {} : { intentTypes: type.split(",").map((name) => name.trim()) }),
  };
}
