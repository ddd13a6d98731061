// Owns `perdure completion`: scripts that complete commands and options, made from the command tree itself.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT, UsageError } from "../exit-codes.ts";

interface Entry {
  readonly name: string;
  readonly about: string;
  readonly options: readonly {
    readonly flag: string;
    readonly about: string;
    readonly takesValue: boolean;
  }[];
}

const SCRIPTS: Readonly<Record<string, (entries: readonly Entry[]) => string>> = { bash, zsh, fish };

export function completionCommand(cli: Cli): Command {
  const command = newCommand(
    "completion <shell>",
    "print the completion script of bash, zsh or fish",
  ).addHelpText(
    "after",
    `
  bash   eval "$(perdure completion bash)"      in ~/.bashrc
  zsh    eval "$(perdure completion zsh)"       in ~/.zshrc, after compinit
  fish   perdure completion fish | source      in ~/.config/fish/config.fish`,
  );
  return runs(cli, command, ([shell]: [string]) => {
    const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
    if (script === undefined)
      throw new UsageError(
        `completion is for ${Object.keys(SCRIPTS).join(", ")}; not for ${JSON.stringify(shell)}`,
      );
    cli.io.out(script(entriesOf(command.parent ?? command)));
    return EXIT.ok;
  });
}

function entriesOf(program: Command): Entry[] {
  return program
    .createHelp()
    .visibleCommands(program)
    .map((command) => ({
      name: command.name(),
      about: command.description(),
      options: command.options.flatMap((option) =>
        option.long
          ? [{ flag: option.long, about: option.description, takesValue: option.required || option.optional }]
          : [],
      ),
    }));
}

function bash(entries: readonly Entry[]): string {
  const cases = entries.map(
    ({ name, options }) => `    ${name}) words="${options.map(({ flag }) => flag).join(" ")}" ;;`,
  );
  return `_perdure() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${entries.map(({ name }) => name).join(" ")}" -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
  esac
}
complete -o default -F _perdure perdure`;
}

function zsh(entries: readonly Entry[]): string {
  const commands = entries.map(({ name, about }) => `    ${quote(`${name}:${about}`)}`);
  const cases = entries.map(({ name, options }) => {
    const specs = options.map(({ flag, about, takesValue }) =>
      quote(
        `*${flag}${takesValue ? "=" : ""}[${about.replace(/[[\]]/g, "")}]${takesValue ? ":value:_files" : ""}`,
      ),
    );
    return `    ${name}) _arguments ${[...specs, quote("*:argument:_files")].join(" ")} ;;`;
  });
  return `#compdef perdure
_perdure() {
  local -a commands
  commands=(
${commands.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local name="\${words[2]}"
  shift words
  (( CURRENT-- ))
  case "$name" in
${cases.join("\n")}
  esac
}
compdef _perdure perdure`;
}

function fish(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ name, about, options }) => [
    `complete -c perdure -n __fish_use_subcommand -f -a ${name} -d ${quote(about)}`,
    ...options.map(
      ({ flag, about: what, takesValue }) =>
        `complete -c perdure -n '__fish_seen_subcommand_from ${name}' -l ${flag.slice(2)} ${takesValue ? "-r " : ""}-d ${quote(what)}`,
    ),
  ]);
  return lines.join("\n");
}

/** In single quotes, for every one of these shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "")}'`;
}
