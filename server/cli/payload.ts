// Owns reading JSON from the command line: itself, @file, or - for stdin. Must not change a digit of it.
import { readFile } from "node:fs/promises";
import { UsageError } from "./exit-codes.ts";
import type { Io } from "./io.ts";

/** The text of a JSON object, as its author wrote it. */
export async function readPayload(given: string | undefined, io: Io): Promise<string> {
  if (given === undefined) return "{}";
  const { text, value, where } = await readSource(given, "the payload", io);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UsageError(`${where} must be a JSON object, such as {"n": 1}`);
  return text;
}

/** The text of any JSON value, as its author wrote it. `what` names one that is neither in a file nor on stdin. */
export async function readJson(given: string, what: string, io: Io): Promise<string> {
  return (await readSource(given, what, io)).text;
}

/** The text of a JSON object: `fields`, and one more whose value is JSON already. */
export function jsonWith(fields: object, key: string, text: string): string {
  const others = JSON.stringify(fields).slice(1, -1);
  return `{${others}${others === "" ? "" : ","}${JSON.stringify(key)}:${text}}`;
}

/** `k=v` pairs, each key once. */
export function readPairs(pairs: readonly string[], option: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) throw new UsageError(`${option}: ${JSON.stringify(pair)} is not KEY=VALUE`);
    const key = pair.slice(0, at);
    if (fields.has(key)) throw new UsageError(`${option}: ${JSON.stringify(key)} is given twice`);
    fields.set(key, pair.slice(at + 1));
  }
  return fields;
}

/** Pairs as the text of a JSON object. A value that is JSON stays what it is; any other, and where `isText` says so, is a text. */
export function pairsAsJson(pairs: ReadonlyMap<string, string>, isText: (key: string) => boolean): string {
  const members = [...pairs].map(([key, text]) => {
    const taken = isJson(text) && (!isText(key) || text.trim().startsWith('"'));
    return `${JSON.stringify(key)}:${taken ? text : JSON.stringify(text)}`;
  });
  return `{${members.join(",")}}`;
}

async function readSource(
  given: string,
  what: string,
  io: Io,
): Promise<{ text: string; value: unknown; where: string }> {
  const { text, where } = await readText(given, what, io);
  try {
    return { text, value: JSON.parse(text), where };
  } catch (error) {
    const hint = /^[\w-]+$/.test(text.trim()) ? `; a text needs its quotes: '"${text.trim()}"'` : "";
    throw new UsageError(`${where} is not JSON: ${(error as Error).message}${hint}`);
  }
}

async function readText(given: string, what: string, io: Io): Promise<{ text: string; where: string }> {
  if (given === "-") return { text: await io.readStdin(), where: "stdin" };
  if (!given.startsWith("@")) return { text: given, where: what };
  const path = given.slice(1);
  try {
    return { text: await readFile(path, "utf8"), where: path };
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`);
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
