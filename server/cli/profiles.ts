// Owns the file of profiles: names for servers and the keys for them, in the user's home. Must not decide which one counts.
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { UsageError } from "./exit-codes.ts";

export interface Profile {
  readonly url?: string;
  readonly apiKey?: string;
}

export type Profiles = ReadonlyMap<string, Profile>;

type Env = Readonly<Record<string, string | undefined>>;

/** In the user's place for settings; undefined for a user without a home. */
export function profilesFile(env: Env, platform: NodeJS.Platform = process.platform): string | undefined {
  const home = env.HOME ? join(env.HOME, ".config") : undefined;
  const base = env.XDG_CONFIG_HOME || (platform === "win32" ? env.APPDATA : home);
  return base ? join(base, "perdure", "profiles.json") : undefined;
}

/** None where there is no file. */
export function readProfiles(file: string): Profiles {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return new Map();
    throw new UsageError(`cannot read ${file}: ${(error as Error).message}`);
  }
  return parseProfiles(text, file);
}

function parseProfiles(text: string, file: string): Profiles {
  const wrong = (what: string) => new UsageError(`${file} is not a file of profiles: ${what}`);
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw wrong("it is not JSON");
  }
  const listed = isObject(content) ? content.profiles : undefined;
  if (!isObject(listed)) throw wrong('it has no "profiles"');
  return new Map(
    Object.entries(listed).map(([name, one]) => {
      if (!isObject(one)) throw wrong(`${JSON.stringify(name)} is not an object`);
      const { url, api_key: apiKey } = one;
      for (const [field, value] of Object.entries({ url, api_key: apiKey }))
        if (value !== undefined && typeof value !== "string")
          throw wrong(`"${field}" of ${JSON.stringify(name)} is not a text`);
      return [name, profile(url as string | undefined, apiKey as string | undefined)];
    }),
  );
}

/** Without the fields that nobody gave. */
export function profile(url: string | undefined, apiKey: string | undefined): Profile {
  return { ...(url === undefined ? {} : { url }), ...(apiKey === undefined ? {} : { apiKey }) };
}

/** All or nothing, and readable by its owner only from the first byte: there are keys in it. */
export function writeProfiles(file: string, profiles: Profiles): void {
  const listed = [...profiles].map(([name, { url, apiKey }]) => [name, { url, api_key: apiKey }]);
  const text = `${JSON.stringify({ profiles: Object.fromEntries(listed) }, null, 2)}\n`;
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const next = `${file}.${process.pid}`;
  writeFileSync(next, text, { mode: 0o600 });
  // One that was left behind by a crash keeps the mode it had.
  chmodSync(next, 0o600);
  renameSync(next, file);
}

/** Whether others than its owner can read it. Windows has other means, and says nothing of them here. */
export function isExposed(file: string, platform: NodeJS.Platform = process.platform): boolean {
  if (platform === "win32") return false;
  return ((statSync(file, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
