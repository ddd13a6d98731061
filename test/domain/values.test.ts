import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress } from "../../server/domain/address.ts";
import { mayTake } from "../../server/domain/consumer.ts";
import { editStep } from "../../server/domain/draft.ts";
import { newId } from "../../server/domain/ids.ts";
import { ACTIONS, isTerminal, LIFECYCLE, nextStatus, STATUSES } from "../../server/domain/lifecycle.ts";
import { encodeJson, encodeJsonLine, RawJson } from "../../server/domain/raw-json.ts";
import { releaseDelayMs, retryDelayMs } from "../../server/domain/retry.ts";
import { isClaimable } from "../../server/domain/schedule.ts";
import { created, refusal } from "./builders.ts";

describe("the lifecycle", () => {
  test("answers every action in every status, and every refusal has words", () => {
    for (const status of STATUSES) {
      for (const action of ACTIONS) {
        const cell = LIFECYCLE[status][action];
        if (!cell.startsWith("!")) expect(STATUSES).toContain(nextStatus(status, action));
        else expect(refusal(() => nextStatus(status, action))).toBe(cell.slice(1));
      }
    }
  });

  test("leaves a terminal status only by retry and restore", () => {
    for (const status of STATUSES.filter(isTerminal)) {
      for (const action of ACTIONS) {
        if (action !== "retry" && action !== "restore")
          expect(LIFECYCLE[status][action]).toBe("!intent_terminal");
      }
    }
    expect(LIFECYCLE.COMPLETED.retry).toBe("!not_retryable");
  });
});

describe("addresses", () => {
  test.each([
    ["etl", "local/dev/etl"],
    ["acme/etl", "acme/default/etl"],
    ["acme/prod/etl", "acme/prod/etl"],
    ["agent://acme/prod/etl", "acme/prod/etl"],
    ["AGENT://acme/prod/etl", "acme/prod/etl"],
    ["agent%3A%2F%2Facme%2Fprod%2Fetl", "acme/prod/etl"],
    ["acme%2Fprod%2Fetl", "acme/prod/etl"],
    ["agent://acme/prod/caf%C3%A9", "acme/prod/café"],
  ])("%s is %s", (text, canonical) => {
    expect(parseAddress(text).canonical).toBe(canonical);
  });

  test.each([
    "",
    "a/b/c/d",
    "a//b",
    "../b",
    "a/./b",
    "a b",
    "a\nb",
    "%zz",
    "agent%3A%2F%2F%zz",
    "a/%00",
    "x".repeat(201),
  ])("%j is refused", (text) => {
    expect(refusal(() => parseAddress(text))).toBe("invalid_address");
  });

  test("are shown encoded", () => {
    expect(formatAddress("acme/prod/café")).toBe("agent://acme/prod/caf%C3%A9");
    expect(parseAddress("x", "acme/prod").namespace).toBe("acme/prod");
  });
});

test("retry delays grow to their cap, with jitter below", () => {
  const policy = { maxRetries: 9, initialDelayMs: 100, factor: 2, maxDelayMs: 300 };
  expect([1, 2, 3].map((n) => retryDelayMs(policy, n, 1))).toEqual([100, 200, 300]);
  expect(retryDelayMs(policy, 1, 0)).toBe(50);
  expect([1, 2, 3, 50].map(releaseDelayMs)).toEqual([0, 400, 800, 30_000]);
});

test("ids sort by time and are of version 7", () => {
  expect(newId(1_000) < newId(2_000)).toBe(true);
  expect(newId()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
});

test("a created intent may be claimed, an unknown step may not be edited", () => {
  const draft = created();
  expect(isClaimable(draft.intent)).toBe(true);
  expect(refusal(() => editStep(draft, "x"))).toBe("step_not_found");
});

describe("raw JSON", () => {
  test("keeps its text inside whatever holds it", () => {
    expect(encodeJson({ a: new RawJson("12345678901234567890"), b: [new RawJson("1.0")] })).toBe(
      '{"a":12345678901234567890,"b":[1.0]}',
    );
    expect(encodeJson(new RawJson("1"))).toBe("1");
    expect(encodeJson(undefined)).toBe("null");
    expect(RawJson.of(new RawJson("2")).text).toBe("2");
    expect(JSON.stringify({ a: new RawJson("[1]") })).toBe('{"a":[1]}');
    expect(RawJson.of({ a: 1 }).parse()).toEqual({ a: 1 });
  });

  test("survives text that looks like its placeholder", () => {
    expect(encodeJson({ a: "\u0000raw0\u0000", b: new RawJson("1") })).toBe(
      '{"a":"\\u0000raw0\\u0000","b":1}',
    );
  });

  test("fits one line of an event stream", () => {
    expect(encodeJsonLine({ a: "x" })).toBe('{"a":"x"}');
    expect(encodeJsonLine(new RawJson('{\n  "a": 1\n}'))).toBe('{"a": 1}');
    expect(JSON.parse(encodeJsonLine("a\u2028b"))).toBe("a\u2028b");
    expect(encodeJsonLine("a\u2028b")).not.toContain("\u2028");
  });
});

test("a consumer may be given work with a running lease, through its newest stream, while that is open", () => {
  const taker = { mode: "stream", leaseUntil: 10, streamNo: 2, closedStreamNo: 1 } as const;
  expect(mayTake(taker, 2, 9)).toBe(true);
  expect(mayTake(taker, 2, 10)).toBe(false);
  expect(mayTake({ ...taker, leaseUntil: null }, 2, 9)).toBe(false);
  expect(mayTake(taker, 1, 9)).toBe(false);
  expect(mayTake({ ...taker, closedStreamNo: 2 }, 2, 9)).toBe(false);
  expect(mayTake({ ...taker, mode: "claim", closedStreamNo: 2 }, 2, 9)).toBe(true);
});

test("an address is bounded in bytes, not only in characters, and has nothing invisible in it", () => {
  expect(refusal(() => parseAddress(`${"字".repeat(200)}/${"字".repeat(200)}/a`))).toBe("invalid_address");
  expect(refusal(() => parseAddress("a\u200bb"))).toBe("invalid_address");
});
