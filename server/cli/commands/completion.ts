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
  /** The commands of a group, such as those of state. */
  readonly below: readonly Entry[];
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

function entriesOf(group: Command): Entry[] {
  return group
    .createHelp()
    .visibleCommands(group)
    .filter((command) => command.name() !== "help" || group.parent === null)
    .map((command) => ({
      name: command.name(),
      about: command.description(),
      options: command.options.flatMap((option) =>
        option.long
          ? [{ flag: option.long, about: option.description, takesValue: option.required || option.optional }]
          : [],
      ),
      below: command.commands.length === 0 ? [] : entriesOf(command),
    }));
}

const groupsOf = (entries: readonly Entry[]): Entry[] => entries.filter(({ below }) => below.length > 0);

/** What takes options, with its whole name: `get`, `state get`. */
function leavesOf(entries: readonly Entry[]): Entry[] {
  return entries.flatMap(({ name, below, ...rest }) =>
    below.length === 0
      ? [{ name, below, ...rest }]
      : below.map((entry) => ({ ...entry, name: `${name} ${entry.name}` })),
  );
}

const namesOf = (entries: readonly Entry[]): string => entries.map(({ name }) => name).join(" ");

function bash(entries: readonly Entry[]): string {
  const groups = groupsOf(entries).map(
    ({ name, below }) => `    ${name}) below="${namesOf(below)}"; name="${name} \${COMP_WORDS[2]}" ;;`,
  );
  const cases = leavesOf(entries).map(
    ({ name, options }) => `    "${name}") words="${options.map(({ flag }) => flag).join(" ")}" ;;`,
  );
  return `_perdure() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" name="\${COMP_WORDS[1]}" below words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${namesOf(entries)}" -- "$cur"))
    return
  fi
  case "$name" in
${groups.join("\n")}
  esac
  if [ -n "$below" ] && [ "$COMP_CWORD" -eq 2 ]; then
    COMPREPLY=($(compgen -W "$below" -- "$cur"))
    return
  fi
  case "$name" in
${cases.join("\n")}
  esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$cur")) ;;
  esac
}
complete -o default -F _perdure perdure`;
}

function zsh(entries: readonly Entry[]): string {
  const described = (some: readonly Entry[]) =>
    some.map(({ name, about }) => quote(`${name}:${about.replaceAll(":", "\\:")}`)).join(" ");
  const groups = groupsOf(entries).map(
    ({ name, below }) => `    ${name}) commands=(${described(below)}); name="${name} \${words[3]}" ;;`,
  );
  const cases = leavesOf(entries).map(({ name, options }) => {
    const specs = options.map(({ flag, about, takesValue }) =>
      quote(
        `*${flag}${takesValue ? "=" : ""}[${about.replace(/[[\]]/g, "")}]${takesValue ? ":value:_files" : ""}`,
      ),
    );
    return `    ${quote(name)}) _arguments ${[...specs, quote("*:argument:_files")].join(" ")} ;;`;
  });
  return `#compdef perdure
_perdure() {
  local -a commands
  local name="\${words[2]}"
  if (( CURRENT == 2 )); then
    commands=(${described(entries)})
    _describe command commands
    return
  fi
  case "$name" in
${groups.join("\n")}
  esac
  if (( $#commands && CURRENT == 3 )); then
    _describe command commands
    return
  fi
  local above=$(( $#commands ? 2 : 1 ))
  shift $above words
  (( CURRENT -= above ))
  case "$name" in
${cases.join("\n")}
  esac
}
compdef _perdure perdure`;
}

function fish(entries: readonly Entry[]): string {
  const seen = (names: string) => `__fish_seen_subcommand_from ${names}`;
  const groups = groupsOf(entries);
  const command = (condition: string, { name, about }: Entry) =>
    `complete -c perdure -n ${quote(condition)} -f -a ${name} -d ${quote(about)}`;
  return [
    ...entries.map((entry) => command("__fish_use_subcommand", entry)),
    ...groups.flatMap(({ name, below }) =>
      below.map((entry) => command(`${seen(name)}; and not ${seen(namesOf(below))}`, entry)),
    ),
    ...leavesOf(entries).flatMap(({ name, options }) => {
      const [first = "", second] = name.split(" ");
      // Some commands of a group have the name of another outside of it.
      const condition = `${seen(first)}; and ${second === undefined ? `not ${seen(namesOf(groups))}` : seen(second)}`;
      return options.map(
        ({ flag, about, takesValue }) =>
          `complete -c perdure -n ${quote(condition)} -l ${flag.slice(2)} ${takesValue ? "-r " : ""}-d ${quote(about)}`,
      );
    }),
  ].join("\n");
}

/** In single quotes, for every one of these shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "")}'`;
}
