// Runs one peer from the command line to its one line of JSON.

import { atEnd, cleanUp } from "./cleanup.mjs";
import { readCommand } from "./command.mjs";
import { ownCpu } from "./cpu.mjs";
import { createDatabase } from "./database.mjs";
import { checkResult, payloadOf, STEPS } from "./job.mjs";
import { closedLoop, lightLoad } from "./measure.mjs";
import { installedVersion } from "./versions.mjs";

const LIMIT_MS = 300_000;

const plus = (a, b) => (a === null || b === null ? null : a + b);

/**
 * `client_s` is what users of the peer run themselves: initiator and workers. `server_s` is the rest: the peer's own server,
 * if it has one, and PostgreSQL. The parts are given as well.
 */
function cpuReader(database, parts) {
  return () => {
    const initiator = ownCpu();
    const worker = parts.worker?.() ?? 0;
    const server = parts.server?.() ?? 0;
    const postgres = parts.usesPostgres === false ? 0 : database.cpu();
    return {
      client_s: plus(initiator, worker),
      server_s: plus(server, postgres),
      initiator_s: initiator,
      worker_s: worker,
      peer_server_s: server,
      postgres_s: postgres,
    };
  };
}

/**
 * What a started peer gives; it has said `atEnd` how to stop it. Each is called with the job's number and its payload.
 * @typedef {object} Started
 * @property {(number: number, payload: object) => Promise<object>} fourStep resolves with the workflow's result
 * @property {(number: number, payload: object) => Promise<object | number | undefined>} noStep resolves with the job's result,
 *   or, where jobs have none, when it is done: with a number if that was more than one
 * @property {(number: number, payload: object) => Promise<number>} startedAt resolves with the time its handler began
 * @property {() => Promise<number>} [countDone] how many jobs are durably done
 * @property {number} [lanes] how many jobs or batches are in flight, where that is not what was asked for
 * @property {object} [facts] what else belongs in the result
 * @property {{worker?: () => number | null, server?: () => number | null, usesPostgres?: boolean}} cpu
 */

function jobRunner(workload, started) {
  if (workload === "four-step") {
    return async (number) => checkResult(await started.fourStep(number, payloadOf(number)), number, STEPS);
  }
  return async (number) => {
    const outcome = await started.noStep(number, payloadOf(number));
    if (typeof outcome !== "object") return outcome;
    checkResult(outcome, number, 0);
  };
}

function measure(command, started, readCpu) {
  const { workload, inFlight, seconds, warmup, rounds } = command;
  if (workload === "latency") {
    return lightLoad({ rounds, readCpu, startedAt: (number) => started.startedAt(number, payloadOf(number)) });
  }
  const { lanes = inFlight, countDone } = started;
  return closedLoop({ inFlight: lanes, countDone, seconds, warmup, readCpu, runJob: jobRunner(workload, started) });
}

async function run({ peer, workloads, settings, measureOn }) {
  const command = readCommand({ workloads, settings: Object.keys(settings) });
  const database = await createDatabase(command.databaseUrl, peer);
  atEnd(database.drop);
  const { version, ...measured } = await measureOn(database, command, settings[command.setting]);
  return {
    peer,
    version,
    workload: command.workload,
    setting: command.setting,
    in_flight: command.inFlight,
    durable: database.durable,
    postgres: database.version,
    node: process.versions.node,
    ...measured,
  };
}

/** Nothing of it goes on beyond this, whatever a peer does. */
function endUnfinished() {
  const give = (reason, code) => {
    console.error(reason);
    cleanUp().finally(() => process.exit(code));
  };
  process.once("SIGINT", () => give("interrupted", 130)).once("SIGTERM", () => give("ended", 143));
  setTimeout(() => give(`not done after ${LIMIT_MS} ms`, 1), LIMIT_MS).unref();
}

/** Runs `measureOn` in a database of its own and prints what it gives, with what was asked, as one line. */
export async function reportRun(definition) {
  endUnfinished();
  try {
    const line = await run(definition);
    await cleanUp();
    process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit());
  } catch (error) {
    console.error(error);
    await cleanUp();
    process.exit(1);
  }
}

/** @param {{peer: string, packageName: string, workloads: string[], settings: Record<string, object>, start: (given: object) => Promise<Started>}} definition */
export function runPeer({ packageName, start, ...definition }) {
  return reportRun({
    ...definition,
    async measureOn(database, command, setting) {
      const started = await start({ setting, command, databaseUrl: database.url });
      const measured = await measure(command, started, cpuReader(database, started.cpu ?? {}));
      return { version: installedVersion(packageName), ...measured, ...started.facts };
    },
  });
}
