// What the dashboard computes before it draws: timelines, lists that the feed keeps current, differences.
import { describe, expect, test } from "vitest";
import { diffLines } from "../../dashboard/src/diff.ts";
import { parseExactly } from "../../dashboard/src/exact-json.ts";
import {
  addPage,
  applyFrames,
  type Filters,
  filtersOf,
  isFiltered,
  metadataOf,
  ORDERS,
  requestOf,
  SHOWN_STATUSES,
} from "../../dashboard/src/intent-list.ts";
import { extendTo, NONE, picked, type Selection, toggle, toggleAll } from "../../dashboard/src/selection.ts";
import { scaleOf, ticksOf, timelineOf } from "../../dashboard/src/timeline-model.ts";
import {
  type FeedFrame,
  hasEnded,
  type IntentEvent,
  type IntentRow,
  STATUSES,
} from "../../dashboard/src/wire.ts";
import * as lifecycle from "../../server/domain/lifecycle.ts";
import { SORT_ORDERS } from "../../server/store/queries/sorted.ts";

const AT = Date.parse("2026-01-01T00:00:00.000Z");

let seq = 0;
const event = (
  type: string,
  ms: number,
  details: object | null = null,
  attempt: number | null = null,
): IntentEvent => ({
  intent_id: "i",
  seq: ++seq,
  event_type: `intent.${type}`,
  status: "IN_PROGRESS",
  at: new Date(AT + ms).toISOString(),
  waiting_reason: null,
  actor: "a",
  attempt,
  details: details as IntentEvent["details"],
});

const crashed = [
  event("created", 0),
  event("submitted", 0),
  event("delivered", 100, { consumer: "one" }, 1),
  event("step_running", 150, { key: "extract", tries: 1 }, 1),
  event("step_done", 400, { key: "extract" }, 1),
  event("step_running", 400, { key: "load", tries: 1 }, 1),
  event("lost", 900, { reason: "takeover" }, 1),
  event("step_interrupted", 900, { key: "load" }, 1),
  event("delivered", 1_000, { consumer: "two" }, 2),
  event("step_running", 1_050, { key: "load", tries: 2, interrupted: true }, 2),
  event("step_done", 1_500, { key: "load" }, 2),
  event("completed", 1_500, null, 2),
];

describe("a timeline", () => {
  test("shows the queue, the lost attempt, the interrupted step and the redelivery", () => {
    const { attempts, steps, marks } = timelineOf(crashed, AT + 99_999, true);
    expect(attempts.bars.map(({ kind, from, to }) => [kind, from - AT, to - AT])).toEqual([
      ["queued", 0, 100],
      ["lost", 100, 900],
      ["queued", 900, 1_000],
      ["done", 1_000, 1_500],
    ]);
    expect(steps.map(({ name, bars }) => [name, bars.map(({ kind }) => kind)])).toEqual([
      ["extract", ["done"]],
      ["load", ["interrupted", "done"]],
    ]);
    expect(marks.map(({ kind }) => kind)).toEqual(["crash", "redelivery", "end"]);
  });

  test("goes on until now while the intent lives", () => {
    const { attempts, steps, to } = timelineOf(crashed.slice(0, 6), AT + 5_000, false);
    expect(to).toBe(AT + 5_000);
    expect(attempts.bars.at(-1)).toMatchObject({ kind: "attempt", open: true, to: AT + 5_000 });
    expect(steps.at(-1)?.bars.at(-1)).toMatchObject({ kind: "running", open: true });
  });

  test("can cut out a long wait, and keeps the order of everything", () => {
    const waiting = [
      event("created", 0),
      event("delivered", 100, { consumer: "one" }, 1),
      event("step_waiting", 200, { key: "approve" }, 1),
      event("waiting", 200, null, 1),
      event("step_done", 3_600_000, { key: "approve" }),
      event("resumed", 3_600_000),
      event("delivered", 3_600_100, { consumer: "one" }, 2),
      event("completed", 3_600_500, null, 2),
    ];
    const timeline = timelineOf(waiting, AT, true);
    const [whole, cut] = [scaleOf(timeline, false), scaleOf(timeline, true)];
    expect(whole.breaks).toEqual([]);
    expect(cut.breaks.length).toBe(1);
    expect(whole.at(AT + 200)).toBeLessThan(0.001);
    expect(cut.at(AT + 200)).toBeGreaterThan(0.1);
    const places = waiting.map(({ at }) => cut.at(Date.parse(at)));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places.at(-1)).toBeCloseTo(1);
    expect(timeline.steps[0]?.bars[0]?.kind).toBe("waiting");
  });

  test("of nothing is empty, and its axis has few ticks whatever its length", () => {
    expect(timelineOf([], AT, false).steps).toEqual([]);
    for (const length of [1, 100, 60_000, 86_400_000, 40 * 86_400_000]) {
      const ticks = ticksOf({ ...timelineOf(crashed, AT, true), from: AT, to: AT + length }, 8);
      expect(ticks.length, String(length)).toBeLessThanOrEqual(10);
    }
  });
});

const row = (id: string, created: number, more: Partial<IntentRow> = {}): IntentRow => ({
  intent_id: id,
  intent_type: "t",
  address: "agent://local/dev/x",
  seq: 1,
  status: "SUBMITTED",
  lifecycle_waiting_reason: null,
  paused: false,
  attempt: 0,
  lost_deliveries: 0,
  max_delivery_attempts: 3,
  priority: 0,
  deadline_at: null,
  parent_intent_id: null,
  created_at: new Date(AT + created).toISOString(),
  updated_at: new Date(AT + created).toISOString(),
  progress: { done: 0 },
  ...more,
});

const frame = (one: IntentRow): FeedFrame => {
  const { intent_id, ...intent } = one;
  return { ...event("progress", 0), intent_id, events: 1, intent };
};

const filters = (text = ""): Filters => filtersOf(new URLSearchParams(text));
const ids = (rows: readonly IntentRow[]) => rows.map(({ intent_id }) => intent_id).join(" ");

describe("a list that the feed keeps current", () => {
  const rows = { list: [row("c", 30), row("b", 20), row("a", 10)], complete: false };

  test("takes what is new in its place, and changes what it has", () => {
    const frames = [
      frame(row("d", 40)),
      frame(row("bb", 25)),
      frame(row("b", 20, { status: "COMPLETED", seq: 3 })),
    ];
    const { list, unsure } = applyFrames(rows, frames, filters());
    expect(ids(list)).toBe("d c bb b a");
    expect(list[3]?.status).toBe("COMPLETED");
    expect(unsure).toBe(false);
    expect(
      ids(applyFrames({ ...rows, list: [...rows.list].reverse() }, frames, filters("order=oldest")).list),
    ).toBe("a b bb c");
  });

  test("never goes back to an older state", () => {
    const known = { ...rows, list: [row("c", 30, { seq: 5, status: "COMPLETED" })] };
    expect(applyFrames(known, [frame(row("c", 30, { seq: 4 }))], filters()).list[0]?.status).toBe(
      "COMPLETED",
    );
  });

  test("leaves what is not loaded to its page, and drops what no longer matches", () => {
    expect(ids(applyFrames(rows, [frame(row("old", 1))], filters()).list)).toBe("c b a");
    expect(ids(applyFrames({ ...rows, complete: true }, [frame(row("old", 1))], filters()).list)).toBe(
      "c b a old",
    );
    const ended = frame(row("c", 30, { status: "FAILED", seq: 2 }));
    expect(ids(applyFrames(rows, [ended], filters("status=SUBMITTED")).list)).toBe("b a");
    expect(ids(applyFrames(rows, [frame(row("z", 50))], filters("agent=y")).list)).toBe("c b a");
    expect(ids(applyFrames(rows, [frame(row("z", 50))], filters("agent=x")).list)).toBe("z c b a");
  });

  test("of another order moves what has changed to its place", () => {
    const changed = (id: string, at: number, more: Partial<IntentRow> = {}) =>
      row(id, 0, { updated_at: new Date(AT + at).toISOString(), seq: 2, ...more });
    const list = [changed("c", 30), changed("b", 20), changed("a", 10)];
    const told = (order: string, frames: readonly FeedFrame[], complete = false, of = list) =>
      ids(applyFrames({ list: of, complete }, frames, filters(`order=${order}`)).list);
    const moved = frame(changed("a", 40, { seq: 3 }));
    expect(told("recently_changed", [moved])).toBe("a c b");
    expect(told("recently_changed", [frame(changed("old", 50, { status: "FAILED" })), moved])).toBe(
      "old a c b",
    );
    const upside = [...list].reverse();
    // Behind what is loaded it comes with its page, and not before.
    expect(told("longest_unchanged", [moved], false, upside)).toBe("b c");
    expect(told("longest_unchanged", [moved], true, upside)).toBe("b c a");
    expect(
      told("longest_unchanged", [frame(changed("b", 45, { seq: 3, status: "COMPLETED" }))], true, upside),
    ).toBe("a c");
    const ranked = [row("x", 3, { priority: 9 }), row("y", 2, { priority: 4 }), row("z", 1, { priority: 4 })];
    expect(told("priority", [frame(row("w", 9, { priority: 4 }))], true, ranked)).toBe("x w y z");
    const due = (id: string, minutes: number | null) =>
      row(id, 0, { deadline_at: minutes === null ? null : new Date(AT + minutes * 60_000).toISOString() });
    expect(
      told("deadline", [frame(due("m", 5)), frame(due("n", null))], true, [due("k", 1), due("l", 9)]),
    ).toBe("k m l");
  });

  test("knows the orders of the server, and that a text is looked for by creation alone", () => {
    expect([...ORDERS]).toEqual(["newest", "oldest", ...SORT_ORDERS]);
    expect(filters("order=priority").order).toBe("priority");
    expect(filters("order=priority&text=x").order).toBe("newest");
    expect(filters("order=sideways").order).toBe("newest");
  });

  test("is of a time between two instants", () => {
    const between = filters("from=2026-01-01T00:00:00.015Z&to=2026-01-01T00:00:00.025Z");
    expect(requestOf(between, AT)).toEqual({
      created_from: "2026-01-01T00:00:00.015Z",
      created_to: "2026-01-01T00:00:00.025Z",
    });
    const frames = [frame(row("n", 14)), frame(row("in", 16)), frame(row("out", 25))];
    expect(ids(applyFrames({ list: [], complete: true }, frames, between).list)).toBe("in");
    expect(isFiltered(filters("from=yesterday"))).toBe(false);
  });

  test("says when only the server can judge", () => {
    const judged = applyFrames(rows, [frame(row("z", 50))], filters("session=s"));
    expect(judged).toMatchObject({ unsure: true });
    expect(ids(judged.list)).toBe("c b a");
  });

  test("adds a page without what it has already", () => {
    expect(ids(addPage(rows.list, [row("a", 10), row("0", 5)]))).toBe("c b a 0");
  });

  test("reads metadata as it is typed", () => {
    expect(metadataOf(" team = blue, tier=1,broken, =x")).toEqual({ team: "blue", tier: "1" });
  });
});

describe("a selection", () => {
  const order = ["a", "b", "c", "d", "e"];
  const of = (selection: Selection) => picked(selection, order).join("");

  test("takes one by one, and gives up what was taken", () => {
    const two = toggle(toggle(NONE, "d"), "b");
    expect(of(two)).toBe("bd");
    expect(of(toggle(two, "d"))).toBe("b");
  });

  test("reaches from the last one taken, up or down, and keeps what it had", () => {
    const start = toggle(toggle(NONE, "a"), "d");
    expect(of(extendTo(start, order, "b"))).toBe("abcd");
    expect(of(extendTo(start, order, "e"))).toBe("ade");
    expect(of(extendTo(NONE, order, "c"))).toBe("c");
    expect(of(extendTo(toggle(NONE, "gone"), order, "c"))).toBe("c");
  });

  test("takes all or none, and only of what is there", () => {
    const all = toggleAll(toggle(NONE, "c"), order);
    expect(of(all)).toBe("abcde");
    expect(toggleAll(all, order).ids.size).toBe(0);
    expect(picked(all, ["b", "z"])).toEqual(["b"]);
  });
});

test("numbers keep every digit that an agent wrote", () => {
  const text = '{"n":12345678901234567890,"small":3,"d":0.12345678901234567,"s":"12345678901234567890"}';
  // Node 20 has no raw numbers; browsers have.
  const exact = "rawJSON" in JSON;
  expect(JSON.stringify(parseExactly(text))).toBe(exact ? text : JSON.stringify(JSON.parse(text)));
  expect(parseExactly('{"n":3}')).toEqual({ n: 3 });
});

test("a difference keeps what stayed, and is bounded", () => {
  expect(diffLines("a\nb\nc", "a\nx\nc").map(({ kind, text }) => kind[0] + text)).toEqual([
    "sa",
    "gb",
    "nx",
    "sc",
  ]);
  const large = Array.from({ length: 3_000 }, (_, n) => String(n)).join("\n");
  expect(diffLines(large, `${large}\nx`).length).toBe(6_001);
});

test("the page knows the lifecycle's statuses, shows all that last, and knows which of them are ends", () => {
  expect(STATUSES).toEqual(lifecycle.STATUSES);
  // An intent that is created is submitted in the same commit.
  expect(SHOWN_STATUSES).toEqual(lifecycle.STATUSES.filter((status) => status !== "CREATED"));
  expect(STATUSES.filter(hasEnded)).toEqual(lifecycle.STATUSES.filter(lifecycle.isTerminal));
});
