// The lines an agent's log says about saved work.
import { describe, expect, it } from "vitest";
import type { WireStep } from "../../sdk/src/deliveries.ts";
import { describeHandBack, describeResume, describeWait } from "../../sdk/src/report.ts";

const done = (...keys: string[]): WireStep[] =>
  keys.map((key) => ({ key, status: "done", idempotency_key: "k", tries: 1, duration_ms: 23_000 }));

describe("the agent's log", () => {
  it("says where it goes on and what it need not do again", () => {
    expect(describeResume("etl", done("extract", "validate"), 4, 2)).toBe(
      "resuming etl 3/4 (skipped extract, validate; 46 s of work kept)",
    );
    expect(describeResume("etl", done("extract"), undefined, 2)).toBe(
      "resuming etl (skipped extract; 23 s of work kept)",
    );
  });

  it("counts long lists instead of naming all of them", () => {
    const keys = Array.from({ length: 46 }, (_, i) => `s${i + 1}`);
    expect(describeResume("big", done(...keys), 50, 2)).toBe(
      "resuming big 47/50 (skipped 46 steps, the last one s46; 18 min of work kept)",
    );
  });

  it("says nothing on a first start, and that nothing was saved on a later one", () => {
    expect(describeResume("etl", [], 4, 1)).toBeUndefined();
    expect(describeResume("etl", [], 4, 2)).toBe("starting etl again (attempt 2; no step was saved)");
  });

  it("says what is saved when it hands back", () => {
    expect(describeHandBack("etl", done("extract", "validate"), 4)).toBe(
      "handed back etl 2/4 (saved extract, validate)",
    );
    expect(describeHandBack("chat", done("ask"), undefined)).toBe("handed back chat 1 step done (saved ask)");
  });

  it("says what it waits for, and that nothing is lost meanwhile", () => {
    expect(describeWait("etl", 2, 4, "for signal approve")).toBe(
      "waiting etl 3/4 (for signal approve); work is saved",
    );
    expect(describeWait("etl", 4, 4, "for 30 s")).toBe("waiting etl 4/4 (for 30 s); work is saved");
    expect(describeWait("chat", 0, undefined, "for signal go")).toBe(
      "waiting chat (for signal go); work is saved",
    );
  });
});
