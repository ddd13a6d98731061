// Owns what a workload is given, and that nothing of it is left when the workload ends.

import { type BenchServer, type ServerOptions, startServer } from "./perdure.ts";
import type { BenchEnv } from "./workload.ts";

type EnvOptions = Pick<BenchEnv, "form" | "seconds" | "warmupSeconds" | "postgres" | "peersMissing">;

export interface OpenEnv extends BenchEnv {
  /** Takes down what was set up, the last first, and goes on past what fails. */
  close(): Promise<void>;
  /** What was noted, each thing once. */
  readonly notes: readonly string[];
}

export function openEnv({ form, seconds, warmupSeconds, postgres, peersMissing }: EnvOptions): OpenEnv {
  const notes: string[] = [];
  const note = (text: string) => void (notes.includes(text) || notes.push(text));
  const closers: (() => unknown)[] = [];
  const onClose = (close: () => unknown) => void closers.push(close);
  const database = async () => {
    const url = await postgres.createDatabase();
    onClose(() => postgres.dropDatabase(url));
    return url;
  };
  const server = async ({ databaseUrl, env }: ServerOptions = {}): Promise<BenchServer> => {
    const started = await startServer(databaseUrl ?? (await database()), env);
    onClose(() => started.stop());
    return started;
  };
  const close = async () => {
    for (let last = closers.pop(); last !== undefined; last = closers.pop()) {
      try {
        await last();
      } catch (error) {
        note(`not all was taken down: ${String(error)}`);
      }
    }
  };
  const given = { form, seconds, warmupSeconds, postgres, peersMissing };
  return { ...given, onClose, database, server, note, notes, close };
}
