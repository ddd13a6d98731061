// Owns what the system tells about processes: the CPU time and memory of one, or of a process and all it started. Linux only (/proc):
// elsewhere there are no such figures.

import { readdir, readFile } from "node:fs/promises";

/** The kernel's clock ticks a second, in which it counts CPU time. It is 100 on every Linux that Node runs on. */
const TICKS_PER_S = 100;
/** Columns of /proc/PID/stat after the name, counted from the state. */
const [PARENT, USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM] = [1, 11, 12, 13, 14];

async function statOf(pid: number | string): Promise<readonly number[] | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  // The name is in parentheses and may hold spaces and parentheses itself.
  return text
    ?.slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
}

/** Seconds of CPU that a process has used, with its children that have ended; NaN where the system does not tell. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await statOf(pid);
  const columns = [USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM];
  return columns.reduce((sum, column) => sum + (stat?.[column] ?? Number.NaN), 0) / TICKS_PER_S;
}

/** The same of a process and all its living children: PostgreSQL is a process for each connection. */
export async function familyCpuSeconds(pid: number): Promise<number> {
  const pids = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map(async (other) => [other, await statOf(other)] as const));
  const children = stats.filter(([, stat]) => stat?.[PARENT] === pid).map(([child]) => Number(child));
  const used = await Promise.all([pid, ...children].map(cpuSeconds));
  // One that ends at this moment is counted with its parent from now on.
  return used.reduce((sum, seconds) => sum + (Number.isNaN(seconds) ? 0 : seconds), 0);
}

/** What a process holds in memory, in KiB. */
export async function residentKb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN);
}
