// Owns: the little the SDK asks of the runtime around it, always guarded. Must not: import a runtime's modules: browsers have none.

interface ProcessLike {
  pid?: number;
  env?: Record<string, string | undefined>;
  getBuiltinModule?(id: string): { hostname?(): string } | undefined;
  on?(event: string, listener: (signal: string) => void): unknown;
  off?(event: string, listener: (signal: string) => void): unknown;
  listenerCount?(event: string): number;
  exit?(code: number): never;
}

/** Node's `process` (also bun's and deno's), or undefined in a browser. */
export function runtimeProcess(): ProcessLike | undefined {
  return (globalThis as unknown as { process?: ProcessLike }).process;
}

/** An environment variable; undefined when unset, empty, not permitted or not existing in this runtime. */
export function environmentVariable(name: string): string | undefined {
  try {
    return runtimeProcess()?.env?.[name] || undefined;
  } catch {
    return undefined; // deno without --allow-env throws
  }
}

const afterThisTurn: (callback: () => void) => void =
  (globalThis as unknown as { setImmediate?: (callback: () => void) => void }).setImmediate ?? queueMicrotask;

/** Calls back once the runtime has handled what is at hand now, without waiting for anything. */
export function soon(callback: () => void): void {
  afterThisTurn(callback);
}

/** A random UUID. `crypto.randomUUID` is many times faster, and missing on plain-http pages; `getRandomValues` is not. */
export function randomId(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** A consumer name nobody else has: `host-pid-random`. Random, because two live processes of one name would fight over work. */
export function defaultConsumerName(): string {
  let host: string | undefined;
  try {
    host = runtimeProcess()?.getBuiltinModule?.("node:os")?.hostname?.();
  } catch {
    host = undefined; // deno without --allow-sys
  }
  host ??= environmentVariable("HOSTNAME") ?? "agent";
  return `${host.slice(0, 60)}-${runtimeProcess()?.pid ?? 0}-${randomId().slice(0, 8)}`;
}
