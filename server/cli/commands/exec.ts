// Owns `perdure exec`: one step of the delivery that `listen --exec` runs. A step whose result is recorded is not run again.
// It never completes or fails the intent: that is for the command around it, by its own exit code.
import { constants } from "node:os";
import { type Command, Option } from "commander";
import { intentPath, type Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { commandEnv, commandInput, fetchDelivery, isAttemptOver, resultsOf } from "../delivery.ts";
import { describeError } from "../event-line.ts";
import { EXIT, UsageError } from "../exit-codes.ts";
import { isRefusal } from "../failure.ts";
import { CONTROL_DIR, isDraining, markHandedBack } from "../hand-back.ts";
import { type CommandEnd, type CommandFailure, failureOf, resultOf, runCommand } from "../run-command.ts";
import { formatResult } from "../waiting.ts";

type OnInterrupt = "retry" | "fail" | "ask";

interface Options {
  step: string;
  onInterrupt?: OnInterrupt;
}

const HELP = `
Prints the step's result: from the record if it is done, else what the command printed. Exits as the command does; 75 when no
step may begin now (paused, canceled, lost, or the agent is stopping): then the whole delivery is handed back, and continues
later with the recorded steps skipped.`;

export function execCommand(cli: Cli): Command {
  const command = newCommand(
    "exec <command...>",
    "inside listen --exec: run a command as a step, once",
    "perdure exec --step extract -- python extract.py",
  )
    .requiredOption("--step <key>", "the step's key")
    .addOption(
      new Option("--on-interrupt <what>", "when the agent is lost while the step runs").choices([
        "retry",
        "fail",
        "ask",
      ]),
    )
    .usage("--step <key> [--on-interrupt retry|fail|ask] -- <command...>")
    .addHelpText("after", HELP);
  return runs(cli, command, async ([argv]: [string[]], options: Options) => {
    const execution = new StepExecution(cli, options);
    try {
      return await execution.run(argv);
    } catch (error) {
      if (!isAttemptOver(error)) throw error;
      return execution.handBack((error as Error).message);
    }
  });
}

class StepExecution {
  readonly #cli: Cli;
  readonly #key: string;
  readonly #onInterrupt: OnInterrupt | undefined;
  readonly #id: string;
  readonly #attempt: number;
  readonly #controlDir: string | undefined;

  constructor(cli: Cli, { step, onInterrupt }: Options) {
    const { PERDURE_INTENT_ID: id, PERDURE_ATTEMPT: attempt, [CONTROL_DIR]: controlDir } = cli.io.env;
    if (!id || !/^[1-9]\d*$/.test(attempt ?? "")) {
      throw new UsageError(
        "exec runs inside the command of `perdure listen --exec`, which sets PERDURE_INTENT_ID and PERDURE_ATTEMPT",
      );
    }
    this.#cli = cli;
    this.#key = step;
    this.#onInterrupt = onInterrupt;
    this.#id = id;
    this.#attempt = Number(attempt);
    this.#controlDir = controlDir;
  }

  /** Throws the refusal when the attempt is over. */
  async run(argv: readonly string[]): Promise<number> {
    const delivery = await fetchDelivery(this.#cli.api, this.#id, this.#attempt);
    const known = delivery.steps.find((step: Json) => step.key === this.#key);
    if (known?.status === "done") return this.#print(known.result);
    if (known?.status === "failed" && known.error?.final) return this.#replayFailure(known.error);
    if (isDraining(this.#controlDir)) return this.handBack("the agent is stopping");
    // What the record says about an interruption, the server has acted upon; here is only what this call adds to it.
    const doubt =
      known?.interrupted && known.on_interrupt !== this.#onInterrupt ? this.#onInterrupt : undefined;
    if (doubt === "fail") return await this.#failInterrupted();
    const { step } = await this.#write({ status: "running", on_interrupt: this.#onInterrupt });
    if (doubt === "ask") return this.handBack("an operator has to decide about the interrupted step");
    if (step.status === "done") return this.#print(step.result);
    const end = await this.#runCommand(argv, delivery, {
      ...step,
      interrupted: known?.interrupted ?? step.interrupted,
    });
    const failure = failureOf(end);
    if (failure === undefined) return await this.#recordDone(resultOf(end.stdout));
    await this.#recordFailure(failure);
    if (end.notStarted !== undefined) this.#cli.io.err(failure.message);
    return exitOf(end);
  }

  /** Tells the listener that the command around us did not come to its end, however it takes our exit code. */
  handBack(why: string): number {
    markHandedBack(this.#controlDir, this.#id, this.#attempt);
    this.#cli.io.err(`step ${this.#key} was not run: ${why}`);
    return EXIT.temporary;
  }

  #runCommand(argv: readonly string[], delivery: Json, step: Json): Promise<CommandEnd> {
    const { io, api } = this.#cli;
    const view = {
      key: this.#key,
      idempotencyKey: step.idempotency_key,
      tries: step.tries,
      interrupted: step.interrupted === true,
    };
    return runCommand({
      argv,
      // In the group of the command around us: it is stopped together with it.
      group: false,
      stdin: commandInput(delivery, resultsOf(delivery), view),
      env: commandEnv(io.env, api, {
        id: this.#id,
        attempt: this.#attempt,
        step: this.#key,
        idempotencyKey: step.idempotency_key,
        controlDir: this.#controlDir,
      }),
      onStderr: (chunk) => io.errBytes(chunk),
    });
  }

  async #recordDone(result: unknown): Promise<number> {
    try {
      const { step } = await this.#write({ status: "done", result });
      // The first recorded result wins, also over ours.
      return this.#print("result" in step ? step.result : result);
    } catch (error) {
      if (!isRefusal(error) || (error.status !== 413 && error.status !== 422)) throw error;
      await this.#recordFailure({ code: error.code, message: error.message, retryable: false, details: {} });
      this.#cli.io.err(error.message);
      return EXIT.failed;
    }
  }

  async #recordFailure({ code, message, retryable, details }: CommandFailure): Promise<void> {
    await this.#write({ status: "failed", error: { code, message, details }, retryable });
  }

  async #failInterrupted(): Promise<number> {
    const message = `step ${this.#key} was interrupted before, and must not run twice (--on-interrupt fail)`;
    await this.#recordFailure({ code: "step_interrupted", message, retryable: false, details: {} });
    this.#cli.io.err(message);
    return EXIT.failed;
  }

  /** The same end as when it failed. */
  #replayFailure(error: Json): number {
    this.#cli.io.err(`step ${this.#key} has failed before: ${describeError(error)}`);
    const code = error.details?.exit_code;
    return Number.isInteger(code) && code > 0 && code < 256 ? code : EXIT.failed;
  }

  #write(body: Record<string, unknown>): Promise<Json> {
    const full = { ...body, attempt: this.#attempt, complete_intent: false };
    return this.#cli.api.put(intentPath(this.#id, "steps", this.#key), { body: full, fenced: true });
  }

  /** Nothing for null: a command that printed nothing prints nothing again. */
  #print(result: Json): number {
    if (this.#cli.json) this.#cli.printJson(result ?? null);
    else if (result !== null && result !== undefined) this.#cli.io.out(formatResult(result));
    return EXIT.ok;
  }
}

/** As a shell has it. */
function exitOf(end: CommandEnd): number {
  if (end.notStarted !== undefined) return EXIT.commandNotFound;
  if (end.signal !== null) return 128 + (constants.signals[end.signal] ?? 0);
  return end.code || EXIT.failed;
}
