// What a caller may touch: its verbs, its own address, and the addresses its patterns cover. Whatever is out of sight does
// not exist for it. Pure: who the caller is has been found out before.

import { isSegment } from "./address.ts";
import { Refusal } from "./refusal.ts";

export const VERBS = ["send", "act", "read", "operate", "admin"] as const;
export type Verb = (typeof VERBS)[number];

export interface Access {
  readonly verbs: readonly Verb[];
  /** `org/workspace`: the key's own. */
  readonly namespace: string;
  /** The key's own address, canonical: what it sends from, and is covered without any pattern. */
  readonly address: string;
  /** `*`, `org/*`, `org/workspace/*`, `org/workspace/name` or `org/workspace/prefix*`. */
  readonly patterns: readonly string[];
}

/** What decides who sees an intent. */
export interface Owned {
  readonly namespace: string;
  readonly toAgent: string;
  /** Canonical address of the sender; null when nobody in particular. */
  readonly sentBy: string | null;
}

/** The server itself, and development on one's own machine. */
export const EVERYTHING: Access = {
  verbs: VERBS,
  namespace: "local/dev",
  address: "local/dev/server",
  patterns: ["*"],
};

const PATTERN = /^(?:\*|[^/*]+\/\*|[^/*]+\/[^/*]+\/(?:\*|[^/*]+\*?))$/;

/** Throws `invalid_address` for what is no pattern: a star stands alone, or behind a slash, or ends a name. */
export function checkPattern(pattern: string): string {
  // Behind the last slash there may be nothing but the star.
  const names = pattern.replace(/\*$/, "").split("/");
  if (names.at(-1) === "") names.pop();
  if (pattern.length <= 640 && PATTERN.test(pattern) && names.every(isSegment)) return pattern;
  throw new Refusal(
    "invalid_address",
    `${JSON.stringify(pattern.slice(0, 80))} is not an address pattern. Write org/workspace/name, org/workspace/*, org/* or *`,
  );
}

function matches(pattern: string, address: string): boolean {
  return pattern.endsWith("*") ? address.startsWith(pattern.slice(0, -1)) : pattern === address;
}

export const seesEverything = (access: Access): boolean => access.patterns.includes("*");

/** Whether it may stand in for this address: listen there, send from there, read what it was given. */
export function covers(access: Access, address: string): boolean {
  return address === access.address || access.patterns.some((pattern) => matches(pattern, address));
}

export function coversNamespace(access: Access, namespace: string): boolean {
  return namespace === access.namespace || coversPattern(access, `${namespace}/*`);
}

/** Whether everything that a pattern covers is covered: nobody gives away more than there is. */
export function coversPattern(access: Access, pattern: string): boolean {
  return access.patterns.some((own) => own === pattern || (own.endsWith("*") && matches(own, pattern)));
}

export const may = (access: Access, verb: Verb): boolean => access.verbs.includes(verb);

/** Work may be sent within one's own namespace, and to what the patterns cover. */
export const maySendTo = (access: Access, address: string, namespace: string): boolean =>
  namespace === access.namespace || covers(access, address);

export const isSender = (access: Access, intent: Owned): boolean =>
  intent.sentBy !== null && covers(access, intent.sentBy);

/** In its own namespace whoever operates sees all, a sender its own; anywhere, what the patterns cover. */
export function maySee(access: Access, intent: Owned): boolean {
  if (covers(access, intent.toAgent)) return true;
  return intent.namespace === access.namespace && (may(access, "operate") || isSender(access, intent));
}

/** Whether it may hold this intent. */
export const mayActOn = (access: Access, intent: Owned): boolean =>
  may(access, "act") && covers(access, intent.toAgent);
