// Calls the server that served the page, with the key that was typed. The key lives in this tab's session and in a header, never in a URL.

import { parseExactly } from "./exact-json.ts";
import { value } from "./store.ts";

const KEY = "perdure.key";
const TIMEOUT_MS = 30_000;

export class ApiError extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Whether the server wants a key, and does not have one that it knows. */
export const keyWanted = value<false | "none" | "wrong">(false);
/** Grows when another key is used: whoever shows data reads it again. */
export const keyChanges = value(0);

const storedKey = (): string | null => sessionStorage.getItem(KEY);

export function applyKey(key: string): void {
  sessionStorage.setItem(KEY, key);
  keyWanted.set(false);
  keyChanges.set(keyChanges.get() + 1);
}

export function forgetKey(): void {
  sessionStorage.removeItem(KEY);
  keyChanges.set(keyChanges.get() + 1);
}

export const hasKey = (): boolean => storedKey() !== null;

export function headersOf(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const key = storedKey();
  return key === null ? { ...more } : { ...more, "x-api-key": key };
}

export function refusedKey(): void {
  keyWanted.set(hasKey() ? "wrong" : "none");
}

async function problemOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as {
    detail?: string;
    code?: string;
    errors?: readonly { pointer?: string; detail?: string }[];
  };
  const places = (body.errors ?? []).map(({ pointer, detail }) => `${pointer ?? ""} ${detail ?? ""}`.trim());
  const message = [body.detail ?? `the server answered ${response.status}`, ...places].join("; ");
  return new ApiError(response.status, body.code ?? "unknown", message);
}

export interface Call {
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  readonly idempotencyKey?: string;
}

export async function call<T>(
  method: string,
  path: string,
  { body, signal, idempotencyKey }: Call = {},
): Promise<T> {
  const late = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(path, {
    method,
    headers: headersOf({
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
    }),
    signal: signal === undefined ? late : AbortSignal.any([signal, late]),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  }).catch((error: Error) => {
    if (signal?.aborted === true) throw error;
    throw new ApiError(0, "unreachable", "the server cannot be reached");
  });
  if (response.status === 401) refusedKey();
  if (!response.ok) throw await problemOf(response);
  return parseExactly(await response.text()) as T;
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> =>
  call<T>("GET", path, signal === undefined ? {} : { signal });

export const post = <T>(path: string, body: unknown = {}): Promise<T> => call<T>("POST", path, { body });

export const part = (text: string): string => encodeURIComponent(text);

export function query(params: Readonly<Record<string, string | number | undefined | null>>): string {
  const given = Object.entries(params).filter(([, one]) => one !== undefined && one !== null && one !== "");
  if (given.length === 0) return "";
  return `?${new URLSearchParams(given.map(([name, one]) => [name, String(one)])).toString()}`;
}
