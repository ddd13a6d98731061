// Owns an agent whose work is commands: one per delivery, or one per step. Delivery, leases, recording and hand-backs are the SDK's.
// Loaded only by `listen`, because it brings the SDK with it.
import {
  type AgentHandle,
  type Context,
  IntentFailure,
  type ListenOptions,
  PerdureError,
  type Step,
  type Steps,
} from "@perdure/sdk";
import type { Json } from "./api.ts";
import type { Cli } from "./context.ts";
import { commandEnv, commandInput, fetchDelivery, isAttemptOver, resultsOf } from "./delivery.ts";
import { EXIT } from "./exit-codes.ts";
import { HandBackControl } from "./hand-back.ts";
import { failureOf, resultOf, runCommand } from "./run-command.ts";
import { connect } from "./waiting.ts";

/** Shell lines: one for a whole delivery, or one for each step in the plan's order. */
export type CommandWork = { readonly exec: string } | { readonly steps: ReadonlyMap<string, string> };

const EXIT_OF_SIGNAL = { SIGINT: 130, SIGTERM: 143 };

/** Listens until stopped by a signal. The first drains, the second ends everything at once. */
export async function runCommandAgent(
  cli: Cli,
  address: string,
  work: CommandWork,
  options: ListenOptions,
): Promise<number> {
  const control = new HandBackControl();
  const commands = new Commands(cli, control);
  const client = await connect(cli, loggerOf(cli));
  const full = { ...options, handleSignals: false };
  const agent =
    "exec" in work
      ? client.listen(address, (ctx) => commands.run(ctx, work.exec), full)
      : client.listen(address, stepsOf(work.steps, commands), full);
  agent.ready.then(
    () => log(cli, "info", `listening at ${agent.address} as ${agent.consumer}`),
    () => undefined, // `closed` says the same
  );
  try {
    return await untilStopped(cli, agent, control, commands);
  } finally {
    await commands.settled();
    control.remove();
    await client.close();
  }
}

function stepsOf(lines: ReadonlyMap<string, string>, commands: Commands): Steps {
  return Object.fromEntries(
    [...lines].map(([key, line]) => [key, (ctx: Context, step: Step) => commands.run(ctx, line, step)]),
  );
}

/** The commands at work. */
class Commands {
  readonly #cli: Cli;
  readonly #control: HandBackControl;
  readonly #killing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  /** The steps of one delivery share what was fetched for the first. */
  readonly #deliveries = new WeakMap<Context, Promise<Json>>();

  constructor(cli: Cli, control: HandBackControl) {
    this.#cli = cli;
    this.#control = control;
  }

  /** Runs one command to its end and answers its result. Throws as a handler does. */
  run(ctx: Context, line: string, step?: Step): Promise<unknown> {
    const running = this.#run(ctx, line, step).finally(() => this.#running.delete(running));
    this.#running.add(running);
    return running;
  }

  killAll(): void {
    this.#killing.abort();
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  async #run(ctx: Context, line: string, step: Step | undefined): Promise<unknown> {
    const { io, api } = this.#cli;
    const delivery = await this.#delivery(ctx);
    const next = step === undefined ? delivery.next_step : undefined;
    const end = await runCommand({
      shell: line,
      group: true,
      // Results recorded since the delivery was fetched count too.
      stdin: commandInput(delivery, { ...resultsOf(delivery), ...ctx.results }, step),
      env: commandEnv(io.env, api, {
        id: ctx.id,
        attempt: ctx.attempt,
        step: step?.key ?? next?.key,
        // Without a step the intent itself is what must not happen twice.
        idempotencyKey: step?.idempotencyKey ?? next?.idempotency_key ?? ctx.id,
        controlDir: this.#control.directory,
      }),
      signal: step?.signal ?? ctx.signal,
      kill: this.#killing.signal,
      onStderr: (chunk) => io.errBytes(chunk),
    });
    if (this.#control.takeBack(ctx.id, ctx.attempt)) {
      throw new PerdureError("handing_back", "an exec inside the command was not allowed to begin its step");
    }
    const failure = failureOf(end);
    if (failure === undefined) return resultOf(end.stdout);
    const { code, message, retryable, details } = failure;
    throw new IntentFailure(message, { code, retryable, details });
  }

  async #delivery(ctx: Context): Promise<Json> {
    let fetched = this.#deliveries.get(ctx);
    if (fetched === undefined) {
      fetched = fetchDelivery(this.#cli.api, ctx.id, ctx.attempt);
      this.#deliveries.set(ctx, fetched);
    }
    try {
      return await fetched;
    } catch (error) {
      if (!isAttemptOver(error)) throw error;
      throw new PerdureError("handing_back", (error as Error).message);
    }
  }
}

async function untilStopped(
  cli: Cli,
  agent: AgentHandle,
  control: HandBackControl,
  commands: Commands,
): Promise<number> {
  let stopping: Promise<unknown> | undefined;
  let undo = () => {};
  const stopped = new Promise<number>((resolve, reject) => {
    undo = cli.io.onSignal(["SIGINT", "SIGTERM"], (signal) => {
      if (stopping !== undefined) {
        commands.killAll();
        resolve(EXIT_OF_SIGNAL[signal]);
        return;
      }
      log(
        cli,
        "info",
        `${signal}: finishing the current step, then handing back; once more to end it at once`,
      );
      control.drain();
      stopping = agent.stop().then(() => resolve(EXIT.ok), reject);
    });
  });
  try {
    // `closed` resolves only after a stop, which has its own answer; what matters here is that it may reject.
    return await Promise.race([stopped, agent.closed.then(() => stopped)]);
  } finally {
    undo();
  }
}

type Level = "debug" | "info" | "warn" | "error";

function loggerOf(cli: Cli): Pick<Console, Level> {
  const at = (level: Level) => (message: unknown) => log(cli, level, String(message));
  return { debug() {}, info: at("info"), warn: at("warn"), error: at("error") };
}

function log(cli: Cli, level: Level, message: string): void {
  cli.io.err(cli.json ? JSON.stringify({ at: new Date().toISOString(), level, message }) : message);
}
