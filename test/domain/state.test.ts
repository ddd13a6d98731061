import { describe, expect, test } from "vitest";
import { logState, requireStateAccess } from "../../server/domain/decide/state.ts";
import { recordDone } from "../../server/domain/decide/steps.ts";
import { openDraft } from "../../server/domain/draft.ts";
import { SERVER } from "../../server/domain/intent.ts";
import {
  decideState,
  intentScope,
  parseScope,
  type Scope,
  type StateHead,
  type StateWrite,
  stateName,
} from "../../server/domain/state.ts";
import {
  created,
  delivered,
  done,
  failed,
  json,
  NOW,
  next,
  plan,
  record,
  refusal,
  started,
  types,
} from "./builders.ts";

const ID = "00000000-0000-7000-8000-000000000001";

describe("a scope", () => {
  test("is an intent's, a session's or an agent's, in one spelling", () => {
    expect(parseScope(`intent:${ID.toUpperCase()}`, "local/dev")).toEqual(intentScope(ID, "local/dev"));
    expect(parseScope("session:my trip", "local/dev").text).toBe("session:my trip");
    expect(parseScope("agent:a", "local/dev").text).toBe("agent:local/dev/a");
  });

  test("is refused when it is anything else", () => {
    for (const text of [
      "",
      "x",
      "other:1",
      "intent:",
      "intent:7",
      "session:",
      `session:${"x".repeat(201)}`,
      "session:a\u0000",
    ])
      expect(
        refusal(() => parseScope(text, "local/dev")),
        text,
      ).toBe("invalid_scope");
    expect(refusal(() => parseScope("agent:a b", "local/dev"))).toBe("invalid_address");
  });
});

describe("writes of state", () => {
  const scope = parseScope("session:s", "local/dev");
  const write = (key: string, value: unknown, ifVersion: number | null = null): StateWrite => ({
    scope,
    key,
    value: value === undefined ? null : json(value),
    ifVersion,
  });
  const heads = (entries: Record<string, StateHead>) => (at: Scope, key: string) =>
    at.text === scope.text ? entries[key] : undefined;

  test("make the next version, also over a tombstone; removing nothing makes none", () => {
    const known = heads({ a: { version: 3, deleted: false }, gone: { version: 2, deleted: true } });
    const versions = decideState(
      [write("a", 1), write("b", 1), write("gone", undefined), write("gone2", undefined)],
      known,
    );
    expect(versions.map(({ key, version }) => [key, version])).toEqual([
      ["a", 4],
      ["b", 1],
    ]);
    expect(
      decideState([write("gone", 1, 0), write("a", undefined)], known).map(({ version }) => version),
    ).toEqual([3, 4]);
  });

  test("over another version than expected, or twice in one batch, are refused whole", () => {
    const known = heads({ a: { version: 3, deleted: false } });
    expect(refusal(() => decideState([write("a", 1, 2)], known))).toBe("version_conflict");
    expect(refusal(() => decideState([write("a", 1, 0)], known))).toBe("version_conflict");
    expect(refusal(() => decideState([write("a", 1), write("a", 2)], known))).toBe("duplicate_key");
    expect(stateName("s", "k")).not.toBe(stateName("s:k", ""));
  });

  test("of an intent need its open attempt, or an operator, and are one entry of its log", () => {
    const draft = next(delivered(created()));
    requireStateAccess(draft, 1);
    expect(refusal(() => requireStateAccess(draft, 2))).toBe("stale_attempt");
    expect(refusal(() => requireStateAccess(draft, null))).toBe("attempt_required");
    const operator = openDraft(draft.intent, draft.steps, SERVER, NOW);
    requireStateAccess(operator, null);
    logState(operator, []);
    logState(operator, [
      { namespace: "n", scope: "s", key: "a", version: 1, value: json(1) },
      { namespace: "n", scope: "s", key: "b", version: 2, value: null },
    ]);
    expect(types(operator)).toEqual(["state_changed"]);
    expect(operator.events[0]?.details).toMatchObject({
      writes: [{ key: "a" }, { key: "b", deleted: true }],
    });
  });
});

test("what steps record is bounded in all; a failure is still told, without its details", () => {
  const draft = next(started(created({ steps: [plan("a"), plan("b")] })));
  done(draft, "a", "12345678");
  const bounded = record(draft, { resultsMaxBytes: 40 });
  expect(refusal(() => recordDone(draft, "b", json("x".repeat(40)), bounded))).toBe("results_too_large");
  const told = failed(draft, "b", { ...bounded, completeIntent: false }, "y".repeat(200));
  expect(told.error?.parse()).toEqual({ code: "x", message: "x", retryable: true, final: false });
});
