// Writes docs/cli.md from the commands themselves; with --check it only says whether the file is current.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { Cli, usualOf } from "../server/cli/context.ts";
import type { Io } from "../server/cli/io.ts";
import { buildProgram } from "../server/cli/program.ts";

const FILE = fileURLToPath(new URL("../docs/cli.md", import.meta.url));
const WIDTH = 120;

/** A process that does nothing: help asks for nothing. */
const NOWHERE: Io = {
  env: {},
  out() {},
  outBytes: async () => undefined,
  err() {},
  errBytes() {},
  colour: { out: false, err: false },
  terminal: { out: false, err: false },
  rows: () => 0,
  readStdin: async () => "",
  onSignal: () => () => undefined,
};

function helpOf(command: Command): string {
  let help = "";
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
    getOutHelpWidth: () => WIDTH,
  });
  // What all commands understand stands at the top of the page.
  command.configureHelp({ showGlobalOptions: false });
  command.outputHelp();
  return help.trimEnd();
}

const block = (text: string): string[] => ["```text", text, "```"];

function section(command: Command, path: string, depth: number): string[] {
  const below = command.commands.filter((one) => one.name() !== "help");
  const own =
    below.length === 0
      ? block(helpOf(command))
      : [`To ${command.description()}. \`perdure ${path}\` alone ${aloneOf(command)}.`];
  return [
    "",
    `${"#".repeat(depth)} perdure ${path}`,
    "",
    ...own,
    ...below.flatMap((one) => section(one, `${path} ${one.name()}`, depth + 1)),
  ];
}

function aloneOf(group: Command): string {
  const usual = usualOf(group);
  return usual === undefined ? "prints its help" : `is its \`${usual.name()}\``;
}

export function cliPage(): string {
  const program = buildProgram(new Cli(NOWHERE));
  const headings = [...new Set(program.commands.map((command) => command.helpGroup()))];
  const lines = [
    "# The command line",
    "",
    "<!-- Generated from server/cli by scripts/generate-cli.ts; do not edit. -->",
    "",
    "What `perdure --help` and `perdure COMMAND --help` say. How to work with it is told in [the guide](guides/cli.md).",
    "",
    ...block(helpOf(program)),
    ...headings.flatMap((heading) => [
      "",
      `## ${heading.replace(/:$/, "")}`,
      ...program.commands
        .filter((command) => command.helpGroup() === heading)
        .flatMap((command) => section(command, command.name(), 3)),
    ]),
  ];
  return `${lines.join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = cliPage();
  if (!process.argv.includes("--check")) {
    writeFileSync(FILE, page);
  } else if (readFileSync(FILE, "utf8") !== page) {
    console.error("docs/cli.md is not current: run npx tsx scripts/generate-cli.ts");
    process.exitCode = 1;
  }
}
