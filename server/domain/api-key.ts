// The text of an API key: `pdr_`, 32 random bytes in base 62, and a checksum, so that a typo is told without asking anybody
// and secret scanners know one when they see it. Only the digest is ever stored.

import { hash, randomBytes } from "node:crypto";

const PREFIX = "pdr_";
const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE = BigInt(ALPHABET.length);
const RANDOM_BYTES = 32;
/** 62^43 > 2^256. */
const RANDOM_CHARS = 43;
/** 62^6 > 2^32. */
const CHECK_CHARS = 6;
const SHAPE = new RegExp(`^${PREFIX}[0-9A-Za-z]{${RANDOM_CHARS + CHECK_CHARS}}$`);

function base62(bytes: Uint8Array, chars: number): string {
  let rest = BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
  let text = "";
  for (let i = 0; i < chars; i += 1) {
    text = ALPHABET.charAt(Number(rest % BASE)) + text;
    rest /= BASE;
  }
  return text;
}

const checksum = (body: string): string => base62(keyDigest(body).subarray(0, 4), CHECK_CHARS);

/** SHA-256: enough for a secret of 256 random bits, which nobody can guess through. */
export const keyDigest = (text: string): Buffer => hash("sha256", text, "buffer");

export function newKeyText(random: Uint8Array = randomBytes(RANDOM_BYTES)): string {
  const body = PREFIX + base62(random, RANDOM_CHARS);
  return body + checksum(body);
}

export const looksLikeKey = (text: string): boolean => text.startsWith(PREFIX);

/** Whether this can be a key at all; most typos cannot. */
export function isKeyText(text: string): boolean {
  return SHAPE.test(text) && checksum(text.slice(0, -CHECK_CHARS)) === text.slice(-CHECK_CHARS);
}
