// What the command line says of itself: every command has a description and examples, and what an example shows can be typed.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { examplesOf } from "../../server/cli/context.ts";
import { VERSION } from "../../server/version.ts";
import { freshProgram, leavesOf } from "./command-tree.ts";
import { perdure } from "./terminal.ts";

const NOWHERE = "http://127.0.0.1:1";
const leaves = leavesOf(freshProgram());
const groups = freshProgram().commands.filter((command) => command.commands.length > 0);

/** The words of each line as a shell takes them apart, without its redirections and what is set for it. */
function wordsOf(lines: readonly string[]): string[][] {
  const script = `perdure() { printf '%s\\0' "$@"; printf '\\1'; }\ncd "$(mktemp -d)"\n${lines
    .map((line) => line.replace(/^eval "\$\((.*)\)"$/, "$1").replace(/ > \S+$/, ""))
    .join("\n")}\nrmdir "$PWD"`;
  const printed = execFileSync("bash", ["-euc", script], { encoding: "utf8" });
  return printed
    .split("\u0001")
    .slice(0, -1)
    .map((words) => words.split("\0").slice(0, -1));
}

/** What a command line means to the program: the command it ends up in. Nothing is run. */
async function commandFor(words: readonly string[]): Promise<string> {
  const program = freshProgram();
  let reached = "";
  for (const { path, command } of leavesOf(program))
    command.action(() => {
      reached = path;
    });
  await program.parseAsync([...words], { from: "user" });
  return reached;
}

describe("every command", () => {
  test("is one of those known here", () => {
    expect(leaves.length).toBeGreaterThan(45);
    for (const name of ["tail", "doctor", "profiles set", "agents pause", "state history"])
      expect(leaves.map(({ path }) => path)).toContain(name);
  });

  test("has a description, and says of each option what it does", () => {
    for (const { path, command } of leaves) {
      expect(command.description(), path).toMatch(/\w{3,}/);
      for (const option of command.options)
        expect(option.description, `${path} ${option.flags}`).not.toBe("");
    }
  });

  test("shows in its help an example of itself that can be typed", async () => {
    const shown = leaves.flatMap(({ path, command }) =>
      examplesOf(command).map((line) => ({ path, command, line })),
    );
    const words = wordsOf(shown.map(({ line }) => line));
    expect(words).toHaveLength(shown.length);
    const reached = new Map<string, string[]>();
    for (const [index, { path, command, line }] of shown.entries()) {
      let help = "";
      command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
      expect(help).toContain(`  ${line}`);
      reached.set(path, [...(reached.get(path) ?? []), await commandFor(words[index] ?? [])]);
    }
    for (const { path } of leaves) expect(reached.get(path), path).toContain(path);
    for (const [path, ends] of reached) expect(ends[0], path).toBe(path);
  });

  test("answers --help without a server, and without its arguments", async () => {
    for (const path of [...leaves.map((leaf) => leaf.path), ...groups.map((group) => group.name())]) {
      const ran = await perdure(NOWHERE, [...path.split(" "), "--help"]);
      expect(ran, path).toMatchObject({ exit: 0, err: "" });
      expect(ran.out).toContain(`Usage: perdure ${path}`);
      expect(ran.out).toMatch(/Examples?:\n {2}.*perdure/);
      expect(ran.out).toContain("--profile <name>");
    }
  });
});

test("the help of the program lists every command under what it is for, with examples and exit codes", async () => {
  const { out, exit } = await perdure(NOWHERE, ["--help"]);
  expect(exit).toBe(0);
  const headings = [...out.matchAll(/^(\S.*):$/gm)].map((match) => match[1]);
  expect(headings).toEqual([
    "Options",
    "Send and look",
    "Steer",
    "Decide and tell",
    "Be an agent",
    "Remember",
    "Run the server",
    "This command line",
    "Examples",
  ]);
  for (const command of freshProgram().commands)
    expect(out).toMatch(new RegExp(`^  ${command.name()} `, "m"));
  const examples = [...out.matchAll(/^ {2}(perdure .*)$/gm)].map((match) => match[1] ?? "");
  expect(examples.length).toBeGreaterThan(2);
  for (const words of wordsOf(examples)) expect(await commandFor(words)).toBe(words[0]);
  for (const code of ["0 ok", "1 FAILED", "3 not allowed", "5 server unreachable", "124", "130"])
    expect(out).toContain(code);
});

test("options of all commands may stand before and behind them", async () => {
  for (const argv of [
    ["--json", "--url", NOWHERE, "state", "get", "session:s", "k"],
    ["state", "get", "session:s", "k", "--json", "--url", NOWHERE],
    ["state", "--json", "get", "--url", NOWHERE, "session:s", "k"],
  ]) {
    const ran = await perdure("http://elsewhere.invalid", argv);
    expect(ran.exit).toBe(5);
    expect(JSON.parse(ran.err).message).toContain(`cannot reach ${NOWHERE} (--url)`);
  }
});

test("what a program that is run gets as its own stays its own", async () => {
  const program = freshProgram();
  let given: string[] = [];
  const exec = program.commands.find((command) => command.name() === "exec") as Command;
  exec.action((argv: string[]) => {
    given = argv;
  });
  await program.parseAsync(["exec", "--step", "a", "--", "tool", "--json", "--url", "x"], { from: "user" });
  expect(given).toEqual(["tool", "--json", "--url", "x"]);
});

describe("a word that is mistyped", () => {
  test.each([
    [["sned"], "send"],
    [["lits"], "list"],
    [["doctr"], "doctor"],
    [["state", "gte"], "get"],
    [["list", "--staus", "FAILED"], "--status"],
    [["wait", "4f1c2ab9", "--timout", "1s"], "--timeout"],
    [["list", "--jsn"], "--json"],
  ])("%j is asked about", async (argv, meant) => {
    const ran = await perdure(NOWHERE, argv);
    expect(ran).toMatchObject({ exit: 2, out: "" });
    expect(ran.err).toContain(`Did you mean ${meant}?`);
  });
});

test("--version prints the version, and is no version of a value", async () => {
  expect(await perdure(NOWHERE, ["--version"])).toEqual({ exit: 0, out: `${VERSION}\n`, err: "" });
  expect((await perdure(NOWHERE, ["state", "get", "s", "k", "--version", "2"])).exit).toBe(5);
});

/** Lines of the guides' shell blocks that begin with a command of ours. */
function linesOf(page: string): string[] {
  const text = readFileSync(new URL(`../../${page}`, import.meta.url), "utf8");
  const blocks = [...text.matchAll(/```bash\n([\s\S]*?)```/g)].map((match) => match[1] ?? "");
  return blocks
    .flatMap((block) => block.split("\n"))
    .filter((line) => /^(PERDURE_\w+=\S+ )?perdure /.test(line))
    .map((line) => line.replace(/ ([|<] .*|&& .*)$/, ""));
}

test.each([
  ["docs/guides/cli.md", 20],
  ["docs/guides/sessions.md", 7],
  ["docs/guides/keys.md", 6],
])("what %s shows can be typed", async (page, atLeast) => {
  const lines = linesOf(page);
  expect(lines.length).toBeGreaterThanOrEqual(atLeast);
  const words = wordsOf(lines);
  expect(words).toHaveLength(lines.length);
  for (const [index, line] of lines.entries())
    expect(await commandFor(words[index] ?? []), line).not.toBe("");
});
