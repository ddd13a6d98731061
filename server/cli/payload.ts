// Owns reading JSON from the command line: itself, @file, or - for stdin. Must not change a digit of it.
import { readFile } from "node:fs/promises";
import { UsageError } from "./exit-codes.ts";
import type { Io } from "./io.ts";

/** The text of a JSON object, as its author wrote it. */
export async function readPayload(given: string | undefined, io: Io): Promise<string> {
  if (given === undefined) return "{}";
  const { text, where } = await readSource(given, io);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${where} is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UsageError(`${where} must be a JSON object, such as {"n": 1}`);
  return text;
}

async function readSource(given: string, io: Io): Promise<{ text: string; where: string }> {
  if (given === "-") return { text: await io.readStdin(), where: "stdin" };
  if (!given.startsWith("@")) return { text: given, where: "the payload" };
  const path = given.slice(1);
  try {
    return { text: await readFile(path, "utf8"), where: path };
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`);
  }
}
