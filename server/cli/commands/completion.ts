// Owns `perdure completion`: what can be typed, read from the command tree itself, so that it is never out of date.
import { Argument, type Command } from "commander";
import { wordsFor } from "../completions.ts";
import { type Cli, newCommand, runs, usualOf } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { type CompletedCommand, type CompletedOption, SCRIPTS, type Shell } from "../shells.ts";

const SHELLS = Object.keys(SCRIPTS) as Shell[];

const HELP = `
  bash   eval "$(perdure completion bash)"      in ~/.bashrc
  zsh    eval "$(perdure completion zsh)"       in ~/.zshrc, after compinit
  fish   perdure completion fish | source      in ~/.config/fish/config.fish`;

export function completionCommand(cli: Cli): Command {
  const command = newCommand(
    "completion",
    "print the completion script of bash, zsh or fish",
    'eval "$(perdure completion bash)"',
  )
    .addArgument(new Argument("<shell>", "the shell that is to complete").choices(SHELLS))
    .addHelpText("after", HELP);
  return runs(cli, command, ([shell]: [Shell]) => {
    const program = command.parent ?? command;
    cli.io.out(SCRIPTS[shell](commandsOf(program), optionsOf(program)));
    return EXIT.ok;
  });
}

function commandsOf(group: Command): CompletedCommand[] {
  return group
    .createHelp()
    .visibleCommands(group)
    .filter((command) => command.name() !== "help" || group.parent === null)
    .map((command) => ({
      name: command.name(),
      about: command.description(),
      options: optionsOf(command),
      words: argumentWords(command, group),
      below: commandsOf(command).filter(({ name }) => name !== "help"),
      usual: usualOf(command)?.name(),
    }));
}

function optionsOf(command: Command): CompletedOption[] {
  return command.options.flatMap((option) => {
    const { long, required, optional, description: about } = option;
    // An optional value is written behind `=`, and completes as nothing.
    return long ? [{ flag: long, about, takesValue: required && !optional, words: wordsFor(option) }] : [];
  });
}

function argumentWords(command: Command, group: Command): readonly string[] {
  if (command.name() === "help") return group.commands.map((one) => one.name());
  return command.registeredArguments.flatMap((argument) => argument.argChoices ?? []);
}
