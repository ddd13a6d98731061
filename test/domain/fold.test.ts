// Entries of a log that random lives reach seldom.
import { expect, test } from "vitest";
import { foldLog, type LogEntry } from "../../server/domain/fold.ts";

const entry = (seq: number, type: string, details: LogEntry["details"] = null): LogEntry => ({
  seq,
  type: `intent.${type}` as LogEntry["type"],
  attempt: 1,
  at: seq,
  details,
  result: null,
});
const statuses = (...log: LogEntry[]) =>
  Object.fromEntries([...foldLog(log).steps.values()].map((step) => [step.key, step.status]));

test("a step handed back before it ran is as it was before it was begun", () => {
  const begun = [entry(1, "step_running", { key: "a", tries: 1 }), entry(2, "released", { not_run: ["a"] })];
  expect(statuses(...begun)).toEqual({ a: "planned" });
  const again = [
    entry(1, "step_running", { key: "a", tries: 1 }),
    entry(2, "step_interrupted", { key: "a", tries: 1 }),
    entry(3, "step_running", { key: "a", tries: 2 }),
    entry(4, "released", { not_run: ["a"] }),
  ];
  expect(statuses(...again)).toEqual({ a: "interrupted" });
});

test("an answer to a step in doubt is part of the story", () => {
  const doubt = [
    entry(1, "step_running", { key: "a", tries: 1 }),
    entry(2, "step_interrupted", { key: "a" }),
  ];
  expect(statuses(...doubt, entry(3, "step_decided", { key: "a", decision: "retry" }))).toEqual({
    a: "planned",
  });
  expect(statuses(...doubt, entry(3, "step_decided", { key: "a", decision: "fail" }))).toEqual({
    a: "failed",
  });
  expect(statuses(...doubt, entry(3, "step_decided", { key: "a", decision: "done" }))).toEqual({
    a: "interrupted",
  });
});

test("entries without details change nothing that they do not name", () => {
  expect(
    statuses(entry(1, "created"), entry(2, "in_progress"), entry(3, "released"), entry(4, "progress")),
  ).toEqual({});
  expect(foldLog([entry(1, "step_waiting", { key: "a" })]).steps.get("a")?.wait).toBeNull();
});

test("another plan supersedes what is not done of the first, and takes back what it names again", () => {
  const first = [
    entry(1, "created", { steps: ["a", "b", "c"] }),
    { ...entry(2, "step_done", { key: "a", tries: 1 }), result: null },
    entry(3, "in_progress", { steps: ["c", "d"] }),
  ];
  expect(statuses(...first)).toEqual({ a: "done", b: "superseded", c: "planned", d: "planned" });
  expect(statuses(...first, entry(4, "in_progress", { steps: ["b"] }))).toMatchObject({
    b: "planned",
    c: "superseded",
  });
  expect(statuses(...first, entry(4, "step_running", { key: "b", tries: 1 }))).toMatchObject({
    b: "running",
  });
});
