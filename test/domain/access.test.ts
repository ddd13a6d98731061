// What a key may touch, and what a key looks like.
import { describe, expect, test } from "vitest";
import {
  type Access,
  checkPattern,
  covers,
  coversNamespace,
  coversPattern,
  EVERYTHING,
  isSender,
  mayActOn,
  maySee,
  maySendTo,
  type Owned,
  seesEverything,
} from "../../server/domain/access.ts";
import { isKeyText, keyDigest, looksLikeKey, newKeyText } from "../../server/domain/api-key.ts";
import { requireHolderRight, requireSenderRight } from "../../server/domain/decide/authority.ts";
import type { Actor } from "../../server/domain/intent.ts";
import { created, refusal } from "./builders.ts";

const access = (more: Partial<Access> = {}): Access => ({
  verbs: ["send", "act", "read"],
  namespace: "acme/prod",
  address: "acme/prod/web",
  patterns: [],
  ...more,
});
const intent = (toAgent: string, sentBy: string | null = "acme/prod/other"): Owned => ({
  namespace: toAgent.split("/").slice(0, 2).join("/"),
  toAgent,
  sentBy,
});

describe("an address pattern", () => {
  test.each(["*", "acme/*", "acme/prod/*", "acme/prod/etl", "acme/prod/etl-*"])("may be %s", (pattern) => {
    expect(checkPattern(pattern)).toBe(pattern);
  });

  test.each([
    "",
    "acme",
    "acme*",
    "acme/pr*",
    "*/prod/x",
    "acme/*/x",
    "acme/prod/*x",
    "a/b/c/d",
    "a/b/c**",
    "a/b/c\n",
    "a/b/c d",
    "a/../*",
    "a/b/\u200bc*",
    "a/b/..",
    "a/b#/*",
  ])("may not be %j, whose reach one would misjudge", (pattern) => {
    expect(() => checkPattern(pattern)).toThrow(/not an address pattern/);
  });

  test("may not be longer than an address", () => {
    expect(() => checkPattern(`a/b/${"c".repeat(700)}`)).toThrow(/not an address pattern/);
  });

  test("covers what begins like it, and ends at the slash", () => {
    const { patterns } = access({ patterns: ["acme/*", "beta/prod/etl-*", "gamma/x/one"] });
    const covered = (address: string) => covers(access({ patterns }), address);
    expect(
      ["acme/staging/a", "beta/prod/etl-1", "gamma/x/one", "acme/prod/web"].filter(covered),
    ).toHaveLength(4);
    expect(["acmecorp/prod/a", "beta/prod/web", "gamma/x/one-more", "x/y/z"].filter(covered)).toEqual([]);
  });

  test("contains another when all that one covers is covered", () => {
    const wide = access({ patterns: ["acme/*", "beta/prod/one"] });
    expect(coversPattern(wide, "acme/prod/*")).toBe(true);
    expect(coversPattern(wide, "acme/*")).toBe(true);
    expect(coversPattern(wide, "beta/prod/one")).toBe(true);
    expect(coversPattern(wide, "beta/prod/*")).toBe(false);
    expect(coversPattern(wide, "*")).toBe(false);
    expect(coversNamespace(wide, "acme/staging")).toBe(true);
    expect(coversNamespace(wide, "acme/prod")).toBe(true);
    expect(coversNamespace(wide, "beta/prod")).toBe(false);
  });
});

describe("an intent is seen by", () => {
  test("whoever stands for the address it was given to", () => {
    expect(maySee(access(), intent("acme/prod/web"))).toBe(true);
    expect(maySee(access({ patterns: ["beta/*"] }), intent("beta/x/y"))).toBe(true);
    expect(maySee(access(), intent("acme/prod/db"))).toBe(false);
  });

  test("its sender, within the sender's namespace", () => {
    expect(maySee(access(), intent("acme/prod/db", "acme/prod/web"))).toBe(true);
    expect(maySee(access(), intent("beta/prod/db", "acme/prod/web"))).toBe(false);
    expect(maySee(access(), intent("acme/prod/db", null))).toBe(false);
    expect(isSender(access(), intent("acme/prod/db", null))).toBe(false);
  });

  test("operators of its namespace, and of no other", () => {
    const operator = access({ verbs: ["operate"] });
    expect(maySee(operator, intent("acme/prod/db"))).toBe(true);
    expect(maySee(operator, intent("acme/staging/db"))).toBe(false);
  });

  test("whoever sees everything", () => {
    expect(seesEverything(EVERYTHING)).toBe(true);
    expect(seesEverything(access({ patterns: ["acme/*"] }))).toBe(false);
    expect(maySee(EVERYTHING, intent("x/y/z", null))).toBe(true);
  });
});

test("work is sent within one's namespace and to what the patterns cover", () => {
  expect(maySendTo(access(), "acme/prod/anybody", "acme/prod")).toBe(true);
  expect(maySendTo(access({ patterns: ["beta/prod/one"] }), "beta/prod/one", "beta/prod")).toBe(true);
  expect(maySendTo(access(), "beta/prod/one", "beta/prod")).toBe(false);
});

test("only a key with the scope act whose patterns cover the address may hold an intent", () => {
  expect(mayActOn(access(), intent("acme/prod/web"))).toBe(true);
  expect(mayActOn(access({ verbs: ["send"] }), intent("acme/prod/web"))).toBe(false);
  expect(mayActOn(access(), intent("acme/prod/db"))).toBe(false);
});

describe("the text of a key", () => {
  test("is different each time, recognisable, and has its checksum", () => {
    const one = newKeyText();
    expect(one).toMatch(/^pdr_[0-9A-Za-z]{49}$/);
    expect(newKeyText()).not.toBe(one);
    expect(isKeyText(one)).toBe(true);
    expect(looksLikeKey(one)).toBe(true);
    expect(newKeyText(new Uint8Array(32).fill(0xff))).toHaveLength(one.length);
  });

  test("with a typo anywhere is told without asking the database", () => {
    const text = newKeyText();
    for (let i = 4; i < text.length; i += 1) {
      const other = text[i] === "a" ? "b" : "a";
      expect(isKeyText(text.slice(0, i) + other + text.slice(i + 1)), `at ${i}`).toBe(false);
    }
    expect(isKeyText(text.slice(0, -1))).toBe(false);
    expect(isKeyText("")).toBe(false);
  });

  test("is stored as its SHA-256", () => {
    expect(keyDigest("pdr_x").toString("hex")).toBe(
      "1cdd2279a29c2c70f0a04aa07ee28b3dd5f7c8baf0d5eb37931ba8fc991ad9c9",
    );
  });
});

describe("of those who see an intent,", () => {
  const holder = created({ toAgent: "acme/prod/web", namespace: "acme/prod", sentBy: "acme/prod/sender" });
  const actor = (more: Partial<Access>, operator = false): Actor => ({
    name: "x",
    operator,
    access: access(more),
  });
  const asSender = (who: Actor) => refusal(() => requireSenderRight({ actor: who, intent: holder.intent }));
  const asHolder = (who: Actor) => refusal(() => requireHolderRight(who, holder.intent));

  test("only its agent and operators act on it", () => {
    expect(asHolder(actor({}))).toBe("none");
    expect(asHolder(actor({ address: "acme/prod/sender" }))).toBe("forbidden");
    expect(asHolder(actor({ address: "acme/prod/sender" }, true))).toBe("none");
  });

  test("only its sender and operators take it back", () => {
    expect(asSender(actor({ address: "acme/prod/sender" }))).toBe("none");
    expect(asSender(actor({ address: "acme/prod/sender", verbs: ["read"] }))).toBe("forbidden");
    expect(asSender(actor({}))).toBe("forbidden");
    expect(asSender(actor({}, true))).toBe("none");
  });
});
