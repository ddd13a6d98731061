// Owns the command tree. Each command is a file; none of them loads the server or the SDK before it runs.
import { Command } from "commander";
import { auditCommand } from "./commands/audit.ts";
import { checkpointsCommand, restoreCommand } from "./commands/checkpoints.ts";
import { completionCommand } from "./commands/completion.ts";
import { execCommand } from "./commands/exec.ts";
import { explainCommand } from "./commands/explain.ts";
import { exportCommand } from "./commands/export.ts";
import { fenceCommand } from "./commands/fence.ts";
import { getCommand } from "./commands/get.ts";
import { keysCommand } from "./commands/keys.ts";
import { listCommand } from "./commands/list.ts";
import { listenCommand } from "./commands/listen.ts";
import { migrateCommand } from "./commands/migrate.ts";
import { operatorCommands } from "./commands/operate.ts";
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
import type { Cli } from "./context.ts";

const HELP = `
Ids may be shortened to their last 6 or more characters. The server is at PERDURE_URL (http://127.0.0.1:7070), the key in
PERDURE_API_KEY. Exit codes: 0 ok, 1 FAILED or refused, 2 usage, 3 not allowed, 4 CANCELED, 5 server unreachable, 6 TIMED_OUT,
124 still running when the wait ended.`;

/** Throws commander's errors instead of ending the process. */
export function buildProgram(cli: Cli): Command {
  const program = new Command("perdure")
    .description("durable intents for agents")
    .helpCommand(true)
    .addHelpText("after", HELP);
  const commands = [
    serveCommand(cli),
    migrateCommand(cli),
    verifyCommand(cli),
    fenceCommand(cli),
    sendCommand(cli),
    waitCommand(cli),
    getCommand(cli),
    listCommand(cli),
    tailCommand(cli),
    stepsCommand(cli),
    stateCommand(cli),
    explainCommand(cli),
    exportCommand(cli),
    ...operatorCommands(cli),
    resolveStepCommand(cli),
    checkpointsCommand(cli),
    restoreCommand(cli),
    sessionsCommand(cli),
    tasksCommand(cli),
    ...decisionCommands(cli),
    signalCommand(cli),
    listenCommand(cli),
    execCommand(cli),
    keysCommand(cli),
    auditCommand(cli),
    completionCommand(cli),
  ];
  for (const command of commands) program.addCommand(command);
  for (const command of [program, ...commands, ...commands.flatMap((one) => one.commands)]) {
    command.exitOverride().configureOutput({
      writeOut: (text) => cli.io.out(text.trimEnd()),
      writeErr: (text) => cli.io.err(text.trimEnd()),
      getOutHasColors: () => cli.io.colour.out,
      getErrHasColors: () => cli.io.colour.err,
    });
  }
  return program;
}
