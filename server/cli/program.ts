// Owns the command tree. Each command is a file; none of them loads the server or the SDK before it runs.
import { Command } from "commander";
import { agentsCommand } from "./commands/agents.ts";
import { auditCommand } from "./commands/audit.ts";
import { checkpointsCommand, restoreCommand } from "./commands/checkpoints.ts";
import { completionCommand } from "./commands/completion.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { execCommand } from "./commands/exec.ts";
import { explainCommand } from "./commands/explain.ts";
import { exportCommand } from "./commands/export.ts";
import { getCommand } from "./commands/get.ts";
import { keysCommand } from "./commands/keys.ts";
import { listCommand } from "./commands/list.ts";
import { listenCommand } from "./commands/listen.ts";
import { migrateCommand } from "./commands/migrate.ts";
import { operatorCommands } from "./commands/operate.ts";
import { profilesCommand } from "./commands/profiles.ts";
import { resolveStepCommand } from "./commands/resolve-step.ts";
import { sendCommand } from "./commands/send.ts";
import { serveCommand } from "./commands/serve.ts";
import { sessionsCommand } from "./commands/sessions.ts";
import { signalCommand } from "./commands/signal.ts";
import { stateCommand } from "./commands/state.ts";
import { stepsCommand } from "./commands/steps.ts";
import { tailCommand } from "./commands/tail.ts";
import { decisionCommands, tasksCommand } from "./commands/tasks.ts";
import { verifyCommand } from "./commands/verify.ts";
import { waitCommand } from "./commands/wait.ts";
import { type Cli, withGlobalOptions } from "./context.ts";

const HELP = `
Examples:
  perdure serve
  perdure send reporter report.v1 '{"month": "2026-02"}' --wait
  perdure list --watch
  perdure tail

Ids may be shortened to their last 6 or more characters. The server is at PERDURE_URL (http://127.0.0.1:7070), the key in
PERDURE_API_KEY; or both in a profile (perdure profiles), chosen with --profile or PERDURE_PROFILE. perdure doctor tells which
are in force. Colours, bars and live tables are for terminals only; NO_COLOR turns colours off. Ctrl+C in wait, tail and
--watch ends the watching, never the work. perdure --version prints the version.

Exit codes: 0 ok, 1 FAILED or refused, 2 usage, 3 not allowed, 4 CANCELED, 5 server unreachable, 6 TIMED_OUT, 124 still
running when the wait ended, 130 detached by Ctrl+C.`;

/** In the order in which one comes to need them. */
const commandsByGroup = (cli: Cli): readonly (readonly [string, readonly Command[]])[] => [
  [
    "Send and look:",
    [
      sendCommand(cli),
      waitCommand(cli),
      getCommand(cli),
      listCommand(cli),
      tailCommand(cli),
      stepsCommand(cli),
      explainCommand(cli),
      exportCommand(cli),
    ],
  ],
  [
    "Steer:",
    [
      ...operatorCommands(cli),
      checkpointsCommand(cli),
      restoreCommand(cli),
      resolveStepCommand(cli),
      sessionsCommand(cli),
      agentsCommand(cli),
    ],
  ],
  ["Decide and tell:", [tasksCommand(cli), ...decisionCommands(cli), signalCommand(cli)]],
  ["Be an agent:", [listenCommand(cli), execCommand(cli)]],
  ["Remember:", [stateCommand(cli)]],
  [
    "Run the server:",
    [serveCommand(cli), migrateCommand(cli), verifyCommand(cli), keysCommand(cli), auditCommand(cli)],
  ],
  ["This command line:", [doctorCommand(cli), profilesCommand(cli), completionCommand(cli)]],
];

/** Throws commander's errors instead of ending the process. */
export function buildProgram(cli: Cli): Command {
  const program = withGlobalOptions(new Command("perdure"))
    .description("durable intents for agents")
    .commandsGroup("This command line:")
    .helpCommand(true)
    .addHelpText("after", HELP);
  for (const [heading, commands] of commandsByGroup(cli))
    for (const command of commands) program.addCommand(command.helpGroup(heading));
  const { commands } = program;
  for (const command of [program, ...commands, ...commands.flatMap((one) => one.commands)]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => cli.io.out(text.trimEnd()),
      writeErr: (text) => cli.io.err(text.trimEnd()),
      getOutHasColors: () => cli.io.colour.out,
      getErrHasColors: () => cli.io.colour.err,
    });
    command.configureHelp({ showGlobalOptions: command !== program });
  }
  return program;
}
