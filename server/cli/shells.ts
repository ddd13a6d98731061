// Owns the completion scripts of the shells. Must not know any command: it is given all that can be typed.

export interface CompletedOption {
  readonly flag: string;
  readonly about: string;
  readonly takesValue: boolean;
  /** What its value may be, alone or in a list with commas; empty when anything may. */
  readonly words: readonly string[];
}

export interface CompletedCommand {
  readonly name: string;
  readonly about: string;
  readonly options: readonly CompletedOption[];
  /** What its arguments may be; empty when anything may. */
  readonly words: readonly string[];
  /** The commands of a group, such as those of state. */
  readonly below: readonly CompletedCommand[];
  /** Which of those it stands for by itself, if for any. */
  readonly usual: string | undefined;
}

export type Shell = "bash" | "zsh" | "fish";
/** `everywhere`: options that may stand before and behind every command. */
type Script = (commands: readonly CompletedCommand[], everywhere: readonly CompletedOption[]) => string;

export const SCRIPTS: Readonly<Record<Shell, Script>> = { bash, zsh, fish };

interface Leaf extends CompletedCommand {
  /** Its whole name: `get`, `state get`. */
  readonly path: string;
}

const groupsOf = (commands: readonly CompletedCommand[]): CompletedCommand[] =>
  commands.filter(({ below }) => below.length > 0);

/** What takes options. A group takes those of its usual command, until another is named. */
function leavesOf(commands: readonly CompletedCommand[]): Leaf[] {
  return commands.flatMap((command) => {
    const { name, below, usual } = command;
    const alone = below.find((leaf) => leaf.name === usual) ?? command;
    return [{ ...alone, path: name }, ...below.map((leaf) => ({ ...leaf, path: `${name} ${leaf.name}` }))];
  });
}

const namesOf = (commands: readonly CompletedCommand[]): string => commands.map(({ name }) => name).join(" ");

const flagsOf = (options: readonly CompletedOption[]): string => options.map(({ flag }) => flag).join(" ");

/** The patterns of a shell's `case` for options whose value is the next word. */
const valuesTaken = (options: readonly CompletedOption[]): string =>
  options
    .filter(({ takesValue }) => takesValue)
    .map(({ flag }) => flag)
    .join("|");

function bash(commands: readonly CompletedCommand[], everywhere: readonly CompletedOption[]): string {
  const leaves = leavesOf(commands);
  const groups = groupsOf(commands).map(({ name, below }) => `    ${name}) below="${namesOf(below)}" ;;`);
  const options = leaves.map(
    ({ path, options, words }) =>
      `    "${path}") flags="${flagsOf(options)}"; words="${words.join(" ")}"; taken="${valuesTaken(options)}" ;;`,
  );
  const values = leaves.flatMap(({ path, options }) =>
    options
      .filter(({ words }) => words.length > 0)
      .map(({ flag, words }) => `    "${path} ${flag}") values="${words.join(" ")}" ;;`),
  );
  return `_perdure() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}"
  local name="" sub="" below="" flags="" words="" taken="" values="" head="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case "$word" in
      ${valuesTaken(everywhere)}) ((i++)) ;;
      -*) ;;
      *)
        if [ -z "$name" ]; then
          name="$word"
          case "$name" in
${groups.join("\n")}
          esac
        elif [ -z "$sub" ]; then
          case " $below " in *" $word "*) sub="$word" ;; esac
        fi ;;
    esac
  done
  case "$name\${sub:+ $sub}" in
${options.join("\n")}
  esac
  case "$name\${sub:+ $sub} $prev" in
${values.join("\n")}
  esac
  if [ -n "$values" ]; then
    case "$cur" in *,*) head="\${cur%,*}," ;; esac
    COMPREPLY=($(compgen -P "$head" -W "$values" -- "\${cur##*,}"))
    return
  fi
  case "|$taken|${valuesTaken(everywhere)}|" in *"|$prev|"*) return ;; esac
  case "$cur" in
    -*) COMPREPLY=($(compgen -W "$flags ${flagsOf(everywhere)} --help" -- "$cur")); return ;;
  esac
  if [ -z "$name" ]; then words="${namesOf(commands)}"
  elif [ -z "$sub" ] && [ -n "$below" ]; then words="$below"
  fi
  [ -z "$words" ] || COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _perdure perdure`;
}

function zsh(commands: readonly CompletedCommand[], everywhere: readonly CompletedOption[]): string {
  const described = (some: readonly CompletedCommand[]) =>
    some.map(({ name, about }) => quote(`${name}:${about.replaceAll(":", "\\:")}`)).join(" ");
  const groups = groupsOf(commands).map(
    ({ name, below }) => `          ${name}) below=(${namesOf(below)}); commands=(${described(below)}) ;;`,
  );
  const specOf = ({ flag, about, takesValue, words }: CompletedOption) => {
    const value = words.length > 0 ? `_values -s , value ${words.join(" ")}` : "_files";
    return quote(`*${flag}${takesValue ? "=" : ""}[${plain(about)}]${takesValue ? `:value:${value}` : ""}`);
  };
  const cases = leavesOf(commands).map(({ path, options, words }) => {
    const argument = quote(`*:argument:${words.length > 0 ? `(${words.join(" ")})` : "_files"}`);
    return `    ${quote(path)}) _arguments ${[...options, ...everywhere].map(specOf).join(" ")} ${argument} ;;`;
  });
  return `#compdef perdure
_perdure() {
  local -a commands below
  local name="" sub="" i at=1
  for ((i = 2; i < CURRENT; i++)); do
    case "\${words[i]}" in
      ${valuesTaken(everywhere)}) ((i++)) ;;
      -*) ;;
      *)
        if [[ -z $name ]]; then
          name="\${words[i]}" at=$i
          case "$name" in
${groups.join("\n")}
          esac
        elif [[ -z $sub ]] && (( \${below[(Ie)\${words[i]}]} )); then
          sub="\${words[i]}" at=$i
        fi ;;
    esac
  done
  if [[ -z $name && "\${words[CURRENT]}" != -* ]]; then
    commands=(${described(commands)})
    _describe command commands
    return
  fi
  if [[ -n $below && -z $sub && "\${words[CURRENT]}" != -* ]]; then
    _describe command commands
    return
  fi
  shift $((at - 1)) words
  (( CURRENT -= at - 1 ))
  case "$name\${sub:+ $sub}" in
    '') _arguments ${everywhere.map(specOf).join(" ")} ;;
${cases.join("\n")}
  esac
}
compdef _perdure perdure`;
}

function fish(commands: readonly CompletedCommand[], everywhere: readonly CompletedOption[]): string {
  const seen = (names: string) => `__fish_seen_subcommand_from ${names}`;
  const groups = groupsOf(commands);
  const command = (condition: string, { name, about }: CompletedCommand) =>
    `complete -c perdure -n ${quote(condition)} -f -a ${name} -d ${quote(about)}`;
  const option = (condition: string, { flag, about, takesValue, words }: CompletedOption) => {
    // The list function asks for one word a line.
    const list = `(__fish_complete_list , "printf %s\\\\n ${words.join(" ")}")`;
    const value = words.length > 0 ? `-x -a ${quote(list)} ` : takesValue ? "-r " : "";
    const when = condition === "" ? "" : `-n ${quote(condition)} `;
    return `complete -c perdure ${when}-l ${flag.slice(2)} ${value}-d ${quote(about)}`;
  };
  return [
    ...everywhere.map((one) => option("", one)),
    ...commands.map((entry) => command("__fish_use_subcommand", entry)),
    ...groups.flatMap(({ name, below }) =>
      below.map((entry) => command(`${seen(name)}; and not ${seen(namesOf(below))}`, entry)),
    ),
    ...leavesOf(commands).flatMap(({ path, options, words }) => {
      const [first = "", second] = path.split(" ");
      const below = groups.find(({ name }) => name === first)?.below ?? [];
      // Some commands of a group have the name of another outside of it.
      const outside = below.length > 0 ? `not ${seen(namesOf(below))}` : `not ${seen(namesOf(groups))}`;
      const condition = `${seen(first)}; and ${second === undefined ? outside : seen(second)}`;
      const some = words.map((word) => `complete -c perdure -n ${quote(condition)} -f -a ${word}`);
      return [...some, ...options.map((one) => option(condition, one))];
    }),
  ].join("\n");
}

/** What zsh would take for its own signs in a description. */
const plain = (text: string): string => text.replace(/[[\]]/g, "").replaceAll(":", "\\:");

/** In single quotes, for every one of these shells. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
