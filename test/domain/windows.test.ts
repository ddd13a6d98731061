import { describe, expect, test } from "vitest";
import { deliver } from "../../server/domain/decide/attempt.ts";
import { create } from "../../server/domain/decide/create.ts";
import { resolve } from "../../server/domain/decide/resolve.ts";
import { begin } from "../../server/domain/decide/steps.ts";
import type { Draft } from "../../server/domain/draft.ts";
import { SERVER } from "../../server/domain/intent.ts";
import {
  frameStatus,
  leaseIsExtended,
  mayBeTakenOver,
  nextCursor,
  wantedBy,
} from "../../server/domain/window.ts";
import { AGENT, created, delivered, LIMITS, NOW, newIntent, next } from "./builders.ts";

/** Handed out through a window. */
function windowed(from: Draft): Draft {
  const draft = next(from);
  deliver(draft, {
    id: "00000000-0000-7000-8000-00000000c0de",
    name: "w",
    explicitAck: false,
    windowed: true,
  });
  return draft;
}

test("a frame says DELIVERED the first time and IN_PROGRESS ever after", () => {
  expect([1, 2, 7].map(frameStatus)).toEqual(["DELIVERED", "IN_PROGRESS", "IN_PROGRESS"]);
});

test("a filter on the frame's status lets through what is new, what somebody had, both or nothing", () => {
  expect(wantedBy(undefined)).toEqual({ first: true, again: true });
  expect(wantedBy(["DELIVERED"])).toEqual({ first: true, again: false });
  expect(wantedBy(["IN_PROGRESS", "FAILED"])).toEqual({ first: false, again: true });
  expect(wantedBy(["COMPLETED"])).toEqual({ first: false, again: false });
});

test("a delivery's number is beyond the address's and the client's own", () => {
  expect(nextCursor(4, 2)).toBe(5);
  expect(nextCursor(4, 9)).toBe(10);
});

describe("what went out through a window", () => {
  test("may be taken over", () => {
    expect(mayBeTakenOver(windowed(created()).intent, NOW, LIMITS)).toBe(true);
  });

  test("may not when a live agent holds it, or nobody", () => {
    expect(mayBeTakenOver(delivered(created()).intent, NOW, LIMITS)).toBe(false);
    expect(mayBeTakenOver(created().intent, NOW, LIMITS)).toBe(false);
  });

  test("may not while it is paused, after its deadline, or when that were its last loss", () => {
    const draft = windowed(created());
    const held = draft.intent;
    expect(mayBeTakenOver({ ...held, paused: true }, NOW, LIMITS)).toBe(false);
    expect(mayBeTakenOver({ ...held, deadlineAt: NOW }, NOW, LIMITS)).toBe(false);
    expect(mayBeTakenOver({ ...held, strikes: 1 }, NOW, LIMITS)).toBe(true);
    expect(mayBeTakenOver({ ...held, strikes: 2 }, NOW, LIMITS)).toBe(false);
    expect(mayBeTakenOver({ ...held, totalLosses: 99 }, NOW, LIMITS)).toBe(false);
  });

  test("ends without an attempt, and is nobody's window afterwards", () => {
    const draft = next(windowed(created()), 1, AGENT);
    resolve(draft, {
      status: "COMPLETED",
      attempt: null,
      result: null,
      error: null,
      retryable: false,
      random: 0,
      holderIsLive: false,
    });
    expect(draft.intent).toMatchObject({ status: "COMPLETED", windowed: false });
  });

  test("has a lease that lasts as long as its step may", () => {
    const draft = windowed(create(newIntent(), SERVER, NOW));
    expect(leaseIsExtended(draft.intent, NOW)).toBe(null);
    begin(draft, "long", { stepsMax: 10, timeoutMs: 5_000 });
    expect(leaseIsExtended(draft.intent, NOW)).toBe(NOW + 5_000);
    expect(leaseIsExtended(draft.intent, NOW + 5_000)).toBe(null);
    expect(leaseIsExtended({ ...draft.intent, windowed: false }, NOW)).toBe(null);
  });
});
