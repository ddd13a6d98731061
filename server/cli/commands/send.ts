// Owns `perdure send`: one intent from the command line.
import type { Command } from "commander";
import { type Cli, collect, newCommand, runs } from "../context.ts";
import { looksLikeDuration, parseDuration, parseMoment } from "../duration.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { parseMetadata } from "../filters.ts";
import { resolveId } from "../intent-ids.ts";
import { jsonWith, readPayload } from "../payload.ts";
import { waitAndReport } from "../waiting.ts";

interface SendOptions {
  steps?: string;
  key?: string;
  session?: string;
  ttl?: string;
  at?: string;
  priority?: string;
  meta?: string[];
  parent?: string;
  human?: string;
  outcomes?: string;
  wait?: string;
}

/** What a bare `--wait` stands for. */
const NO_LIMIT = "no-limit";

export function sendCommand(cli: Cli): Command {
  const command = newCommand(
    "send <address> <type> [json]",
    "send an intent; JSON is its payload, @file reads a file, - stdin",
    `perdure send reporter report.v1 '{"month": "2026-02"}' --key feb --wait=60s`,
    "perdure send etl etl.v1 @job.json --steps extract,load --session nightly --ttl 1h",
  )
    .option("--steps <a,b>", "the plan: step keys, separated by commas")
    .option("--key <key>", "idempotency key: the same call again answers the first intent")
    .option("--session <name>", "label to find and group intents by")
    .option("--ttl <duration>", "TIMED_OUT after this long")
    .option("--at <time>", "not delivered before: 10m, or a time")
    .option("--priority <n>", "higher goes first; default 0")
    .option("--meta <k=v>", "metadata (repeatable)", collect)
    .option("--parent <id>", "the intent it is a child of")
    .option("--human <title>", "for a person to decide instead of an agent: see perdure tasks")
    .option("--outcomes <a,b>", "with --human: what may be decided; default approved,rejected")
    .option("--wait [=duration]", "wait for the end, print the result, exit by the outcome");
  return runs(
    cli,
    command,
    async ([address, type, json]: [string, string, string?], options: SendOptions) => {
      const waitMs = waitLimit(options.wait);
      const payload = await readPayload(json, cli.io);
      const fields = {
        intent_type: type,
        to_agent: address,
        ...optionFields(options),
        ...humanFields(options),
        ...(await parentFields(cli, options.parent)),
      };
      // The payload goes out as it was written: numbers of any size stay what they are.
      const body = jsonWith(fields, "payload", payload);
      const answer = await cli.api.post("/v1/intents", {
        body,
        ...(options.key === undefined ? {} : { idempotencyKey: options.key }),
      });
      const id: string = answer.intent_id;
      for (const warning of answer.warnings ?? [])
        cli.note(`warning: ${typeof warning === "string" ? warning : JSON.stringify(warning)}`);
      if (answer.listeners === 0 && options.human === undefined)
        cli.note(`no agent listens at ${address} now; the intent is kept until one does`);
      if (options.wait === undefined) {
        if (cli.json) cli.printJson(answer);
        else cli.io.out(id);
        return EXIT.ok;
      }
      cli.note(id);
      return await waitAndReport(cli, [id], waitMs);
    },
  );
}

function optionFields(options: SendOptions): Record<string, unknown> {
  return {
    steps: options.steps === undefined ? undefined : splitList(options.steps),
    session: options.session,
    ttl_seconds: options.ttl === undefined ? undefined : parseDuration(options.ttl, "--ttl") / 1_000,
    deliver_at: options.at === undefined ? undefined : parseMoment(options.at, "--at", "ahead"),
    priority: options.priority === undefined ? undefined : parseInteger(options.priority),
    metadata: parseMetadata(options.meta),
  };
}

function humanFields({ human, outcomes }: SendOptions): Record<string, unknown> {
  if (human === undefined && outcomes !== undefined)
    throw new UsageError("--outcomes are what a person may decide: give the question with --human TITLE");
  if (human === undefined) return {};
  const allowed = outcomes === undefined ? undefined : splitList(outcomes);
  return { human_task: { title: human, allowed_outcomes: allowed } };
}

/** From within a command of the parent's own attempt, only while that attempt is the current one. */
async function parentFields(cli: Cli, parent: string | undefined): Promise<Record<string, unknown>> {
  if (parent === undefined) return {};
  const id = await resolveId(cli.api, parent);
  const { PERDURE_INTENT_ID: working, PERDURE_ATTEMPT: attempt, PERDURE_STEP: step } = cli.io.env;
  if (working !== id || !attempt) return { parent_intent_id: id };
  return { parent_intent_id: id, parent_attempt: Number(attempt), parent_step: step || undefined };
}

const splitList = (text: string): string[] => text.split(",").map((part) => part.trim());

function parseInteger(text: string): number {
  if (!/^-?\d{1,9}$/.test(text))
    throw new UsageError(`--priority: ${JSON.stringify(text)} is not a whole number`);
  return Number(text);
}

function waitLimit(given: string | undefined): number | undefined {
  return given === undefined || given === NO_LIMIT ? undefined : parseDuration(given, "--wait");
}

/** `--wait` takes its time after `=`; alone it must not swallow the word behind it. */
export function separateWait(argv: readonly string[]): string[] {
  if (argv[0] !== "send") return [...argv];
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  return argv.map((word, index) => {
    if (word !== "--wait" || index >= end) return word;
    return looksLikeDuration(argv[index + 1] ?? "") ? word : `--wait=${NO_LIMIT}`;
  });
}
