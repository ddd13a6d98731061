// A fault test that is killed leaves nothing behind: no process, also none that is stopped, no PostgreSQL, no directory.
import { existsSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { until } from "../support/server.ts";
import { endAll, startProgram } from "./processes.ts";

afterEach(() => endAll());

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test("what a killed test had started ends with it", async () => {
  const doomed = startProgram(["--import", "tsx", "test/faults/fixtures/reaped.ts"], {});
  await doomed.says('"pids"');
  const { pids, directory } = JSON.parse(doomed.output.slice(doomed.output.indexOf("{"))) as {
    pids: number[];
    directory: string;
  };
  expect(pids.map(isAlive)).toEqual([true, true, true]);
  doomed.kill("SIGKILL");
  await until("all of it has ended", () => !pids.some(isAlive) && !existsSync(directory));
});
