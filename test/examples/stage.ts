// Runs examples as a reader would: programs and commands as processes of their own, their effects in a ledger file outside the server.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { call, until } from "../support/server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const PATIENCE_MS = 30_000;

/** For a server: an agent that is killed is missed by its stream at once, and one on a busy machine must not be. */
export const LONG_LEASES = {
  PERDURE_LEASE_TTL_MS: "10000",
  PERDURE_RESTART_GRACE_MS: "10000",
  PERDURE_RECONNECT_GRACE_MS: "500",
};

export interface Program {
  readonly pid: number;
  /** All it has printed. */
  readonly output: string;
  /** What it has printed, but for notes and errors. */
  readonly printed: string;
  /** Exit code or signal. */
  readonly over: Promise<number | string>;
  /** Waits for a text in the output. */
  says(text: string): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** kill -9, and it is gone. */
  kill(): Promise<void>;
}

// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
type Json = any;

export interface Stage {
  /** Lines of the ledger. */
  ledger(): string[];
  /** How often each line of the ledger was written. */
  counts(): Record<string, number>;
  ledgerHas(line: string): Promise<void>;
  /** A program of the examples, listening or waiting on its own. */
  start(script: string, env?: Record<string, string>): Program;
  /** `perdure serve` at the stage's address, until it listens. */
  serve(env: Record<string, string>): Promise<Program>;
  /** A command of the command line to its successful end; answers what it printed. */
  perdure(...argv: string[]): Promise<string>;
  /** A piece of shell to its successful end; answers what it and all it started printed. */
  bash(code: string): Promise<string>;
  /** Sends an intent; answers its id. */
  send(address: string, type: string, payload: object, session?: string): Promise<string>;
  get(id: string): Promise<Json>;
  /** Waits until the intent is in this status, and answers it. */
  reaches(id: string, status: string): Promise<Json>;
  /** Ends everything that was started here. */
  close(): Promise<void>;
}

export function openStage(url: string): Stage {
  const directory = mkdtempSync(join(tmpdir(), "perdure-examples-"));
  const file = join(directory, "ledger.txt");
  const started: Program[] = [];

  function run(command: string, args: readonly string[], env: Record<string, string> = {}): Program {
    const child = spawn(command, [...args], {
      cwd: root,
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        NO_COLOR: "1",
        PERDURE_URL: url,
        LEDGER: file,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own, so that what a shell has started ends with it.
      detached: true,
    });
    const program = watch(child);
    started.push(program);
    return program;
  }

  const ledger = () => {
    try {
      return readFileSync(file, "utf8").split("\n").slice(0, -1);
    } catch {
      return []; // nothing has happened yet
    }
  };
  const toTheEnd = async (program: Program): Promise<Program> => {
    const code = await program.over;
    if (code !== 0) throw new Error(`ended with ${code}:\n${program.output}`);
    return program;
  };
  const stage: Stage = {
    ledger,
    counts() {
      const counts: Record<string, number> = {};
      for (const line of ledger()) counts[line] = (counts[line] ?? 0) + 1;
      return counts;
    },
    async ledgerHas(line) {
      await until(`"${line}" in the ledger`, () => ledger().includes(line), PATIENCE_MS);
    },
    start: (script, env) => run(process.execPath, [join("examples", script)], env),
    async serve(env) {
      const { hostname, port } = new URL(url);
      const server = run(process.execPath, ["bin/perdure.js", "serve"], {
        HOST: hostname,
        PORT: port,
        ...env,
      });
      await server.says(`listens on ${url}`);
      return server;
    },
    perdure: async (...argv) =>
      (await toTheEnd(run(process.execPath, ["bin/perdure.js", ...argv]))).printed.trim(),
    bash: async (code) =>
      (await toTheEnd(run("bash", ["-euo", "pipefail", "-c", code], { TMPDIR: directory }))).output,
    async send(address, type, payload, session) {
      const body = { to_agent: address, intent_type: type, payload, ...(session && { session }) };
      const answer = await call({ url }, "POST", "/v1/intents", body);
      expect(answer.status).toBe(200);
      return answer.body.intent_id;
    },
    async get(id) {
      return (await call({ url }, "GET", `/v1/intents/${id}`)).body.intent;
    },
    reaches: (id, status) =>
      until(
        `${id} is ${status}`,
        async () => {
          const intent = await stage.get(id);
          return intent.status === status && intent;
        },
        PATIENCE_MS,
      ),
    async close() {
      for (const { pid } of started) {
        try {
          process.kill(-pid, "SIGKILL");
        } catch (error) {
          expect(error).toMatchObject({ code: "ESRCH" });
        }
      }
      await Promise.all(started.map((program) => program.over));
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return stage;
}

function watch(child: ChildProcess): Program {
  let output = "";
  let printed = "";
  let silent = false;
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (stream === child.stdout) printed += text;
    });
  // At "close" its last words have been read, too.
  const over = new Promise<number | string>((resolve) => {
    child.once("close", (code, signal) => {
      silent = true;
      resolve(code ?? signal ?? "gone");
    });
  });
  return {
    pid: child.pid ?? 0,
    get output() {
      return output;
    },
    get printed() {
      return printed;
    },
    over,
    async says(text) {
      await until(
        `"${text}" from the process`,
        () => {
          if (output.includes(text)) return true;
          if (silent) throw new Error(`the process ended:\n${output}`);
          return false;
        },
        PATIENCE_MS,
      );
    },
    signal: (signal) => {
      child.kill(signal);
    },
    async kill() {
      child.kill("SIGKILL");
      expect(await over).toBe("SIGKILL");
    },
  };
}
