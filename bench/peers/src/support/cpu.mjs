// CPU time (user and system) of processes, in seconds, from /proc; null where there is no /proc.

import { readdirSync, readFileSync } from "node:fs";

// USER_HZ, which Linux fixes at 100 for everything it shows to programs.
const TICKS_PER_SECOND = 100;

// Fields of /proc/PID/stat counted after the name, which is in brackets and may itself contain blanks and brackets.
const PARENT = 1;
const UTIME = 11;
const STIME = 12;
const CUTIME = 13;
const CSTIME = 14;

function statOf(pid) {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "latin1");
    return line.slice(line.lastIndexOf(")") + 2).split(" ").map(Number);
  } catch {
    return null;
  }
}

/** One process with all its threads. */
export function processCpu(pid) {
  const stat = statOf(pid);
  return stat === null ? null : (stat[UTIME] + stat[STIME]) / TICKS_PER_SECOND;
}

/** A process, its children that live and those that have ended: a PostgreSQL server with its backends. */
export function familyCpu(pid) {
  const parent = statOf(pid);
  if (parent === null) return null;
  let ticks = parent[UTIME] + parent[STIME] + parent[CUTIME] + parent[CSTIME];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(name);
    if (stat !== null && stat[PARENT] === pid) ticks += stat[UTIME] + stat[STIME];
  }
  return ticks / TICKS_PER_SECOND;
}

/** The parent of a process that is called `name`, or null: a backend may run on another machine. */
export function parentCalled(pid, name) {
  try {
    if (readFileSync(`/proc/${pid}/comm`, "latin1").trim() !== name) return null;
  } catch {
    return null;
  }
  return statOf(pid)?.[PARENT] ?? null;
}

export const ownCpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** CPU seconds of all children of this process that have ended and were waited for. */
export function endedChildrenCpu() {
  const stat = statOf(process.pid);
  return stat === null ? null : (stat[CUTIME] + stat[CSTIME]) / TICKS_PER_SECOND;
}
