// Owns the client programs of a benchmark: Node processes of their own, told over IPC what to do. `serve` is their end, `startProgram` ours.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

interface Call {
  readonly id: number;
  readonly operation: string;
  readonly input: unknown;
}

type Reply =
  | { readonly id: number; readonly kind: "tell"; readonly what: string }
  | { readonly id: number; readonly kind: "result"; readonly value: unknown }
  | { readonly id: number; readonly kind: "error"; readonly message: string };

/** What a program can do: `tell` says how far it is, before the answer. */
// biome-ignore lint/suspicious/noExplicitAny: each operation knows its own input
type Operation = (input: any, tell: (what: string) => void) => unknown;

/** The types of a program's operations, for whoever calls them. */
export type Operations = Readonly<Record<string, Operation>>;

/** Does what the parent asks, and ends with it. */
export function serve(operations: Operations): void {
  const answer = (reply: Reply) => process.send?.(reply);
  process.on("message", ({ id, operation, input }: Call) => {
    const tell = (what: string) => answer({ id, kind: "tell", what });
    Promise.resolve()
      .then(() => operations[operation]?.(input, tell))
      .then((value) => answer({ id, kind: "result", value }))
      .catch((error) => answer({ id, kind: "error", message: String(error?.stack ?? error) }));
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.("ready");
}

/** A running program of which `O` are the operations. */
export interface Program<O extends Operations> {
  readonly pid: number;
  call<Name extends keyof O & string>(
    operation: Name,
    input: Parameters<O[Name]>[0],
    onTold?: (what: string) => void,
  ): Promise<Awaited<ReturnType<O[Name]>>>;
  stop(): Promise<void>;
}

/** Starts bench/programs/`name`.ts. */
export async function startProgram<O extends Operations>(name: string): Promise<Program<O>> {
  const path = fileURLToPath(new URL(`../programs/${name}.ts`, import.meta.url));
  const child = fork(path, { execArgv: ["--import", "tsx"], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const calls = callsOf(child);
  const [first] = await Promise.race([once(child, "message"), once(child, "exit")]);
  if (first !== "ready") throw new Error(`bench/programs/${name}.ts did not start`);
  return {
    pid: child.pid ?? 0,
    call: (operation, input, onTold) => calls(operation, input, onTold) as Promise<never>,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.disconnect();
      await exited;
    },
  };
}

function callsOf(child: ChildProcess) {
  interface Pending {
    readonly onTold: ((what: string) => void) | undefined;
    readonly resolve: (value: unknown) => void;
    readonly reject: (error: Error) => void;
  }
  const pending = new Map<number, Pending>();
  let last = 0;
  child.on("message", (reply: Reply | "ready") => {
    if (reply === "ready") return;
    const call = pending.get(reply.id);
    if (reply.kind === "tell") return call?.onTold?.(reply.what);
    pending.delete(reply.id);
    if (reply.kind === "result") call?.resolve(reply.value);
    else call?.reject(new Error(reply.message));
  });
  child.once("exit", (code) => {
    for (const { reject } of pending.values()) reject(new Error(`a client program ended with ${code}`));
  });
  return (operation: string, input: unknown, onTold?: (what: string) => void) =>
    new Promise((resolve, reject) => {
      last += 1;
      pending.set(last, { onTold, resolve, reject });
      // It may just have been stopped.
      child.send({ id: last, operation, input } satisfies Call, (error) => error && reject(error));
    });
}
