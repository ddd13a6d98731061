// Owns waiting for intents from a terminal: the outcome as output and exit code, and Ctrl+C that only detaches.
import type { Json } from "./api.ts";
import { intentPath } from "./api.ts";
import type { Cli } from "./context.ts";
import { describeError } from "./event-line.ts";
import { CliError, EXIT, exitForStatus } from "./exit-codes.ts";
import { isRefusal } from "./failure.ts";
import { paint } from "./io.ts";
import { statusColour } from "./table.ts";
import { WaitBoard } from "./wait-board.ts";

/** Runs `work` until it ends or Ctrl+C. What happens on the server is not touched either way. */
export async function untilDetached<T>(
  cli: Cli,
  again: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const detaching = new AbortController();
  const detached = new CliError(
    `detached; the work goes on. To come back: ${again}`,
    EXIT.detached,
    "detached",
  );
  const undo = cli.io.onSignal(["SIGINT", "SIGTERM"], () => detaching.abort(detached));
  try {
    const result = await work(detaching.signal);
    if (detaching.signal.aborted) throw detached;
    return result;
  } catch (error) {
    throw detaching.signal.aborted ? detached : error;
  } finally {
    undo();
  }
}

/** Waits for each, prints each as it ends, and answers the exit code of the first that did not complete. */
export async function waitAndReport(
  cli: Cli,
  ids: readonly string[],
  timeoutMs: number | undefined,
): Promise<number> {
  // The first look tells an unknown id or an absent server at once; from there on the SDK waits over restarts.
  await Promise.all(ids.map((id) => cli.api.get(intentPath(id))));
  const client = await connect(cli);
  const exits = await untilDetached(cli, `perdure wait ${ids.join(" ")}`, async (signal) => {
    const board = WaitBoard.open(cli, ids);
    const limits = { signal, ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }) };
    const printAbove = (id: string, print: () => void) =>
      board === undefined ? print() : board.ended(id, print);
    const waitForOne = async (id: string): Promise<number> => {
      try {
        await client.waitFor(id, limits);
      } catch (error) {
        if (!isRefusal(error, "wait_timeout")) throw error;
        const remark = `${id} has not ended yet; it goes on. To wait again: perdure wait ${id}`;
        printAbove(id, () => cli.io.err(remark));
        return EXIT.waitTimeout;
      }
      const { intent } = await cli.api.get(intentPath(id));
      printAbove(id, () => printOutcome(cli, intent, ids.length > 1));
      return exitForStatus(intent.status) ?? EXIT.waitTimeout;
    };
    try {
      return await Promise.all(ids.map(waitForOne));
    } finally {
      board?.stop();
    }
  });
  return exits.find((exit) => exit !== EXIT.ok) ?? EXIT.ok;
}

/** The result on stdout; any other end on stderr. Several intents share stdout, so that each gets a line with its id. */
export function printOutcome(cli: Cli, intent: Json, several: boolean): void {
  const { intent_id: id, status, result, error } = intent;
  if (cli.json) {
    cli.printJson(intent);
    return;
  }
  const why = error === null || error === undefined ? "" : `  ${describeError(error)}`;
  if (several)
    cli.io.out(`${id}  ${status}${status === "COMPLETED" ? `  ${JSON.stringify(result ?? null)}` : why}`);
  else if (status === "COMPLETED") cli.io.out(formatResult(result));
  else cli.io.err(`${id}  ${paint(cli.io.colour.err, statusColour(status) ?? "bold", status)}${why}`);
}

/** For programs: text without its quotes, anything else as JSON. */
export function formatResult(result: Json): string {
  return typeof result === "string" ? result : JSON.stringify(result ?? null);
}

/** The SDK, loaded only by commands that wait, follow or listen. */
export async function connect(cli: Cli, logger?: Pick<Console, "debug" | "info" | "warn" | "error">) {
  const { PerdureClient } = await import("@perdure/sdk");
  const { baseUrl, apiKey } = cli.api;
  const log = (text: unknown) => cli.note(String(text));
  return new PerdureClient({
    baseUrl,
    ...(apiKey === undefined ? {} : { apiKey }),
    logger: logger ?? { debug() {}, info: log, warn: log, error: log },
  });
}
