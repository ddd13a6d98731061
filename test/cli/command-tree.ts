// Owns the commands there are, as tests walk them. Must not run any.
import type { Command } from "commander";
import { Cli } from "../../server/cli/context.ts";
import { buildProgram } from "../../server/cli/program.ts";
import { openTerminal } from "./terminal.ts";

export interface Leaf {
  /** Its whole name, such as `sessions show`. */
  readonly path: string;
  readonly command: Command;
}

export const freshProgram = (): Command => buildProgram(new Cli(openTerminal().io));

/** Every command that does something. */
export function leavesOf(group: Command, above = ""): Leaf[] {
  return group.commands.flatMap((command) => {
    const path = `${above}${command.name()}`;
    return command.commands.length > 0 ? leavesOf(command, `${path} `) : [{ path, command }];
  });
}
