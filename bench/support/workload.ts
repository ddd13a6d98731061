// What a workload of `npm run bench` is. Each is a file in bench/workloads and a line in bench/workloads/index.ts.
//
// A workload opens the sides it compares, and the suite measures them in turn, round by round (A B A B …), so that a slow moment of the
// machine falls on all alike. What is compared across workloads would not be interleaved: what belongs together is one workload.

import type { BenchServer, ServerOptions } from "./perdure.ts";
import type { Postgres } from "./postgres.ts";
import type { Results } from "./results.ts";

/** What one measurement found: `per_s`, `p50_ms`, `server_cpu_us` …: the unit comes last in the name. */
export type Figures = Readonly<Record<string, number>>;

/** One of the things compared. */
export interface Side {
  /** Unique within its workload, such as "perdure 256" or "5 M stored". */
  readonly name: string;
  /** It is measured in the first so many rounds only: the short form has no time to repeat what is far behind. Default in all. */
  readonly rounds?: number;
  /** One measurement, of about `env.seconds`. Throws when it failed: the side is then reported as missing. */
  measure(): Promise<Figures>;
}

export interface Workload {
  /** What `--only` names. */
  readonly name: string;
  /** What it measures, in one line above its table. */
  readonly about: string;
  /** Whether `--quick` measures it too. */
  readonly quick: boolean;
  /** Builds up what is measured, warm and ready. What must be torn down is told to `env.onClose`; databases and servers already are. */
  open(env: BenchEnv): Promise<readonly Side[]>;
  /** The lines `name=value` that it adds to the end of the output; undefined for what could not be measured. */
  headlines(results: Results): Readonly<Record<string, number | undefined>>;
}

export interface BenchEnv {
  readonly form: "quick" | "long";
  /** How long a side is measured in a round, and how long it runs before that, in seconds. */
  readonly seconds: number;
  readonly warmupSeconds: number;
  /** Why our peers cannot be measured; undefined when they can. */
  readonly peersMissing: string | undefined;
  /** The one PostgreSQL on which everything runs. */
  readonly postgres: Postgres;
  /** An empty database of its own; its URL. Dropped when the workload ends. */
  database(): Promise<string>;
  /** The built server as a process of its own, ready. On a new database unless `databaseUrl` says which. Stopped when the workload ends. */
  server(options?: ServerOptions): Promise<BenchServer>;
  /** Called when the workload ends, also after a failure; the last one first. */
  onClose(close: () => unknown): void;
  /** Tells what whoever reads the figures should know: a peer that is missing, a round that was left out. */
  note(text: string): void;
}
