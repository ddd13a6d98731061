// Real processes for fault tests: a server on a port that outlives its process, agents with a ledger outside.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compiled, SERVER } from "../support/programs.ts";
import { SHORT_LEASES, until } from "../support/server.ts";
import { bearWitness } from "../support/until.ts";
import { adopt } from "./reaper.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

export interface Process {
  readonly pid: number;
  readonly output: string;
  kill(signal: NodeJS.Signals): void;
  /** Waits for a text in the output. */
  says(text: string): Promise<void>;
  /** Resolves with exit code or signal. */
  readonly over: Promise<number | string>;
}

const running = new Set<ChildProcess>();
const witnesses = new Map<ChildProcess, () => void>();
/** Characters of a process's last words. */
const LAST_WORDS = 3_000;

/** A Node process with nothing but this environment. */
export function startProgram(args: string[], env: Record<string, string | undefined>): Process {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  adopt(child);
  running.add(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      output += chunk;
    });
  }
  witnesses.set(
    child,
    bearWitness(
      () =>
        `process ${child.pid} (${args.at(-1)}): ${child.signalCode ?? child.exitCode ?? "runs"}\n${output.slice(-LAST_WORDS)}`,
    ),
  );
  // Its last words are still read after its exit.
  let silent = false;
  child.on("close", () => {
    silent = true;
  });
  const over = new Promise<number | string>((resolve) =>
    child.on("exit", (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? "gone");
    }),
  );
  return {
    pid: child.pid ?? 0,
    get output() {
      return output;
    },
    kill: (signal) => {
      child.kill(signal);
    },
    says: async (text) => {
      await until(
        `"${text}" from the process`,
        () => {
          if (output.includes(text)) return true;
          if (silent) throw new Error(`the process ended: ${output}`);
          return false;
        },
        60_000,
      );
    },
    over,
  };
}

/** Ends what a test left running, but one. */
export async function endAll(keep?: Process): Promise<void> {
  for (const [child, forget] of witnesses) {
    if (child.pid === keep?.pid) continue;
    forget();
    witnesses.delete(child);
  }
  const left = [...running].filter((child) => child.pid !== keep?.pid);
  await Promise.all(
    left.map((child) => new Promise((resolve) => child.once("exit", resolve).kill("SIGKILL"))),
  );
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.on("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

export interface ServerOptions {
  /** Over what every server here gets. */
  readonly env?: Readonly<Record<string, string>>;
  /** Before the entry point, for a preload. */
  readonly nodeArgs?: readonly string[];
}

/** A server process; start it again with the same port to restart it. */
export async function startServer(
  databaseUrl: string,
  port: number,
  { env = {}, nodeArgs = [] }: ServerOptions = {},
): Promise<Process> {
  const server = startProgram([...nodeArgs, SERVER], {
    ...SHORT_LEASES,
    // A lease outlives a restart, as in production.
    PERDURE_LEASE_TTL_MS: "6000",
    PERDURE_RESTART_GRACE_MS: "6000",
    DATABASE_URL: databaseUrl,
    PORT: String(port),
    HOST: "127.0.0.1",
    PERDURE_LOG_LEVEL: "info",
    PERDURE_MAX_DELIVERY_ATTEMPTS: "10",
    ...env,
  });
  await server.says("listens on");
  return server;
}

export interface Hold {
  readonly when: "before" | "during" | "after";
  readonly step: string;
}

export interface LedgerLine {
  readonly step: string;
  readonly key: string;
  readonly pid: number;
}

export interface Ledger {
  readonly directory: string;
  lines(): LedgerLine[];
  /** How often each step ran. */
  counts(): Map<string, number>;
  remove(): void;
}

export function openLedger(): Ledger {
  const directory = mkdtempSync(join(tmpdir(), "perdure-ledger-"));
  const lines = () => {
    let text = "";
    try {
      text = readFileSync(join(directory, "ledger"), "utf8");
    } catch {
      // Nothing has run yet.
    }
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => {
        const [step = "", key = "", pid = ""] = line.split(" ");
        return { step, key, pid: Number(pid) };
      });
  };
  return {
    directory,
    lines,
    counts() {
      const counts = new Map<string, number>();
      for (const { step } of lines()) counts.set(step, (counts.get(step) ?? 0) + 1);
      return counts;
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** `holdFile`, once it exists, lets a held agent go on. */
export function startAgent(url: string, address: string, ledger: Ledger, hold?: Hold): Process {
  return startProgram([compiled("test/faults/fixtures/ledger-agent.ts")], {
    SERVER_URL: url,
    AGENT_ADDRESS: address,
    LEDGER: join(ledger.directory, "ledger"),
    HOLD_FILE: join(ledger.directory, "go-on"),
    ...(hold === undefined ? {} : { HOLD_WHEN: hold.when, HOLD_STEP: hold.step }),
  });
}
