// Owns which server a command talks to, with which key, and where it has both from. Must not connect.
// Options come before the environment, the environment before profiles. A profile that is named by an option is an option.
import { UsageError } from "./exit-codes.ts";
import { isExposed, type Profile, type Profiles, profilesFile, readProfiles } from "./profiles.ts";

export interface ConnectionOptions {
  readonly url?: string | undefined;
  readonly profile?: string | undefined;
}

export interface Connection {
  readonly url: string;
  /** Where the URL is from, as people name it: `PERDURE_URL`. */
  readonly urlFrom: string;
  readonly apiKey?: string;
  readonly keyFrom?: string;
  /** The profile that was asked for, or the one called default. */
  readonly profile?: string;
  /** What its user should know. */
  readonly remarks: readonly string[];
}

export const DEFAULT_URL = "http://127.0.0.1:7070";
/** The profile of those who name none. */
export const DEFAULT_PROFILE = "default";

type Env = Readonly<Record<string, string | undefined>>;

interface Found {
  readonly value: string;
  readonly from: string;
}

interface Chosen extends Profile {
  readonly name: string;
  readonly file: string;
}

/** Throws a UsageError for a profile that is not there. */
export function connectionOf(env: Env, options: ConnectionOptions): Connection {
  const given = options.url || undefined;
  const named = options.profile ?? (env.PERDURE_PROFILE || undefined);
  // A file that nobody needs may be as broken as it likes: agents have it all from their environment.
  const needed = named !== undefined || !(env.PERDURE_API_KEY && (given ?? env.PERDURE_URL));
  const chosen = needed ? chooseProfile(env, named) : undefined;
  const ofProfile = (value: string | undefined) => found(value, `profile ${chosen?.name}`);
  const ofEnv = (name: string) => found(env[name], name);
  const rank = (value: Found | undefined, inEnv: Found | undefined) =>
    options.profile === undefined ? (inEnv ?? value) : (value ?? inEnv);
  const url = found(given, "--url") ??
    rank(ofProfile(chosen?.url), ofEnv("PERDURE_URL")) ?? { value: DEFAULT_URL, from: "the default" };
  const isThere = sameServer(url.value, chosen?.url ?? DEFAULT_URL);
  const key = rank(isThere ? ofProfile(chosen?.apiKey) : undefined, ofEnv("PERDURE_API_KEY"));
  return {
    url: withoutSlash(url.value),
    urlFrom: url.from,
    ...(key === undefined ? {} : { apiKey: key.value, keyFrom: key.from }),
    ...(chosen === undefined ? {} : { profile: chosen.name }),
    remarks: chosen === undefined ? [] : remarksOn(chosen, isThere, url, key),
  };
}

/** A key is not sent to any other server than the one it was stored for. */
function remarksOn(chosen: Chosen, isThere: boolean, url: Found, key: Found | undefined): string[] {
  const remarks: string[] = [];
  if (chosen.apiKey !== undefined && !isThere && key === undefined)
    remarks.push(
      `the key of profile ${chosen.name} is for ${chosen.url ?? DEFAULT_URL}: it is not sent to ${url.value} (${url.from})`,
    );
  if (chosen.apiKey !== undefined && isExposed(chosen.file))
    remarks.push(`others can read the keys in ${chosen.file}: chmod 600 ${chosen.file}`);
  return remarks;
}

function chooseProfile(env: Env, named: string | undefined): Chosen | undefined {
  const file = profilesFile(env);
  const profiles: Profiles = file === undefined ? new Map() : readProfiles(file);
  const name = named ?? DEFAULT_PROFILE;
  const one = profiles.get(name);
  if (one !== undefined && file !== undefined) return { ...one, name, file };
  if (named === undefined) return undefined;
  const others = profiles.size === 0 ? "there are none" : `there are ${[...profiles.keys()].join(", ")}`;
  throw new UsageError(
    `there is no profile ${JSON.stringify(name)}; ${others}. To make it: perdure profiles set ${name} URL`,
  );
}

const found = (value: string | undefined, from: string): Found | undefined =>
  value ? { value, from } : undefined;

const withoutSlash = (url: string): string => url.replace(/\/+$/, "");

const sameServer = (one: string, other: string): boolean => withoutSlash(one) === withoutSlash(other);
