// Delays: growth, caps and jitter.
import { describe, expect, it } from "vitest";
import { Backoff, jitter, retryDelayMs } from "../../sdk/src/backoff.ts";

const most = () => 1;
const least = () => 0;

describe("retryDelayMs", () => {
  it("grows by the factor up to the longest delay", () => {
    const policy = { maxRetries: 9, initialDelay: "100ms", factor: 3, maxDelay: "2s" } as const;
    expect([1, 2, 3, 4, 5].map((retry) => retryDelayMs(policy, retry, most))).toEqual([
      100, 300, 900, 2_000, 2_000,
    ]);
  });

  it("begins with a second and doubles when nothing is said, and stays finite for ever", () => {
    expect([1, 2, 3].map((retry) => retryDelayMs({ maxRetries: 3 }, retry, most))).toEqual([
      1_000, 2_000, 4_000,
    ]);
    expect(retryDelayMs({ maxRetries: 1e6 }, 100_000, most)).toBe(60_000);
  });

  it("spreads each delay between its half and its whole", () => {
    expect(jitter(1_000, least)).toBe(500);
    expect(jitter(1_000, most)).toBe(1_000);
  });
});

describe("Backoff", () => {
  it("is quick at first, doubles to its cap, and begins anew after success", () => {
    const backoff = new Backoff(100, 500, most);
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).toEqual([100, 200, 400, 500, 500]);
    backoff.reset();
    expect(backoff.next()).toBe(100);
  });
});
