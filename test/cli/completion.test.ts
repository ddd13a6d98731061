// Completion as a shell does it: the script is sourced by the real program, which is asked what it would offer.
import { execFileSync, spawnSync } from "node:child_process";
import { beforeAll, describe, expect, test } from "vitest";
import { STATUSES } from "../../server/domain/lifecycle.ts";
import { freshProgram, leavesOf } from "./command-tree.ts";
import { perdure } from "./terminal.ts";

const NOWHERE = "http://127.0.0.1:1";
const SHELLS = ["bash", "zsh", "fish"];
const installed = (shell: string): boolean => spawnSync(shell, ["-c", "exit 0"]).status === 0;

const scripts = new Map<string, string>();
beforeAll(async () => {
  for (const shell of SHELLS) scripts.set(shell, (await perdure(NOWHERE, ["completion", shell])).out);
});

test.each(SHELLS)("the script of %s knows every command and option", (shell) => {
  const script = scripts.get(shell) ?? "";
  for (const { path, command } of leavesOf(freshProgram()))
    for (const word of [...path.split(" "), ...command.options.map((option) => option.long?.slice(2) ?? "")])
      expect(script, `${path}: ${word}`).toContain(word);
});

test.each(SHELLS.filter(installed))("%s takes its script without a complaint", (shell) => {
  const ran = spawnSync(shell, ["-n"], { input: scripts.get(shell), encoding: "utf8" });
  expect(ran).toMatchObject({ status: 0, stderr: "" });
});

describe("bash offers", () => {
  /** The last of `words` is the one that is being typed. */
  const complete = (...words: string[]): string[] => {
    const typed = ["perdure", ...words].map((word) => `'${word}'`).join(" ");
    const asked = `COMP_WORDS=(${typed}); COMP_CWORD=${words.length}; _perdure; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const out = execFileSync("bash", ["-euc", `${scripts.get("bash")}\n${asked}`], { encoding: "utf8" });
    return out.split("\n").filter((word) => word !== "");
  };

  test("is asked through the function it has registered", () => {
    const registered = execFileSync("bash", ["-c", `${scripts.get("bash")}\ncomplete -p perdure`], {
      encoding: "utf8",
    });
    expect(registered.trim()).toBe("complete -o default -F _perdure perdure");
  });

  test("commands, and those of a group", () => {
    expect(complete("che")).toEqual(["checkpoints"]);
    expect(complete("").sort()).toEqual(
      [...freshProgram().commands.map((command) => command.name()), "help"].sort(),
    );
    expect(complete("sessions", "")).toEqual(["list", "show", "pause", "unpause", "cancel", "delete"]);
    expect(complete("help", "ver")).toEqual(["verify"]);
  });

  test("the options of what is typed, and those of all", () => {
    expect(complete("sessions", "delete", "--")).toEqual([
      ...["--older-than", "--yes"],
      ...["--json", "--url", "--profile", "--help"],
    ]);
    expect(complete("state", "get", "--v")).toEqual(["--version"]);
    expect(complete("list", "--a")).toEqual(["--agent", "--all"]);
    expect(complete("agents", "--wa")).toEqual(["--watch"]);
    expect(complete("agents", "pause", "an-agent", "--re")).toEqual(["--reason"]);
  });

  test("what an option may be, also for the next of a list", () => {
    expect(complete("list", "--status", "").sort()).toEqual([...STATUSES].sort());
    expect(complete("list", "--agent", "a", "--status", "FAILED,TIM")).toEqual(["FAILED,TIMED_OUT"]);
    expect(complete("exec", "--on-interrupt", "")).toEqual(["retry", "fail", "ask"]);
    expect(complete("completion", "")).toEqual(SHELLS);
  });

  test("commands behind options of all, and nothing where a value of the user's own comes", () => {
    expect(complete("--json", "--profile", "staging", "wa")).toEqual(["wait"]);
    expect(complete("--profile", "")).toEqual([]);
    expect(complete("send", "--session", "l")).toEqual([]);
  });
});
