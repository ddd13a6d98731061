// Runs one peer from the command line to its one line of JSON.

import { readCommand } from "./command.mjs";
import { ownCpu } from "./cpu.mjs";
import { createDatabase } from "./database.mjs";
import { checkResult, payloadOf, STEPS } from "./job.mjs";
import { closedLoop, lightLoad } from "./measure.mjs";
import { installedVersion } from "./versions.mjs";

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
 * What a started peer gives. Each is called with the job's number and its payload.
 * @typedef {object} Started
 * @property {(number: number, payload: object) => Promise<object>} fourStep resolves with the workflow's result
 * @property {(number: number, payload: object) => Promise<object | number | undefined>} noStep resolves with the job's result,
 *   or, where jobs have none, when it is done: with a number if that was more than one
 * @property {(number: number, payload: object) => Promise<number>} startedAt resolves with the time its handler began
 * @property {() => Promise<number>} [countDone] how many jobs are durably done
 * @property {number} [lanes] how many jobs or batches are in flight, where that is not what was asked for
 * @property {{worker?: () => number | null, server?: () => number | null, usesPostgres?: boolean}} cpu
 * @property {() => Promise<void>} stop
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
  const interrupt = (signal) => {
    // The database is dropped with whatever is connected to it; children are killed as this process exits.
    database.drop().finally(() => process.exit(signal === "SIGINT" ? 130 : 143));
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    const { version, ...measured } = await measureOn(database, command, settings[command.setting]);
    return {
      peer,
      version,
      workload: command.workload,
      setting: command.setting,
      in_flight: command.inFlight,
      ...measured,
      durable: database.durable,
      postgres: database.version,
      node: process.versions.node,
    };
  } finally {
    await database.drop();
  }
}

/** Runs `measureOn` in a database of its own and prints what it gives, with what was asked, as one line. */
export async function reportRun(definition) {
  try {
    const line = await run(definition);
    process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit(0));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}

/** @param {{peer: string, packageName: string, workloads: string[], settings: Record<string, object>, start: (given: object) => Promise<Started>}} definition */
export function runPeer({ packageName, start, ...definition }) {
  return reportRun({
    ...definition,
    async measureOn(database, command, setting) {
      const started = await start({ setting, command, databaseUrl: database.url });
      try {
        const measured = await measure(command, started, cpuReader(database, started.cpu ?? {}));
        return { version: installedVersion(packageName), ...measured, ...started.facts?.() };
      } finally {
        await started.stop();
      }
    },
  });
}
