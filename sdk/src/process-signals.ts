// Owns: SIGINT and SIGTERM for all agents of the process together. Must not: exist where there is no process.
import { runtimeProcess } from "./environment.ts";
import type { Logger } from "./logger.ts";

interface Drainable {
  stop(): Promise<unknown>;
  logger: Logger;
}

const EXIT_CODES: Record<string, number> = { SIGINT: 130, SIGTERM: 143 };
const agents = new Set<Drainable>();
let draining = false;

/** Stops the agent on SIGINT and SIGTERM, then lets the process end; the second signal ends it at once. Returns the undoing. */
export function drainOnSignals(agent: Drainable): () => void {
  const process = runtimeProcess();
  if (process?.on === undefined) return () => undefined;
  if (agents.size === 0) for (const signal of Object.keys(EXIT_CODES)) process.on(signal, onSignal);
  agents.add(agent);
  return () => {
    agents.delete(agent);
    // While a drain is on its way the second signal must still find us.
    if (agents.size === 0 && !draining) removeListeners();
  };
}

function removeListeners(): void {
  for (const signal of Object.keys(EXIT_CODES)) runtimeProcess()?.off?.(signal, onSignal);
}

function onSignal(signal: string): void {
  const process = runtimeProcess();
  if (draining) {
    process?.exit?.(EXIT_CODES[signal] ?? 1);
    return;
  }
  draining = true;
  const stopping = [...agents];
  stopping[0]?.logger.info(
    `${signal}: finishing the current step, then handing back; once more to exit at once`,
  );
  void Promise.allSettled(stopping.map((agent) => agent.stop())).then(() => {
    draining = false;
    // A program with its own listener decides itself when to end.
    const alone = (process?.listenerCount?.(signal) ?? 0) <= 1;
    if (agents.size === 0) removeListeners();
    if (alone) process?.exit?.(0);
  });
}
