import { expect, test } from "vitest";
import { judgeWindows, type LogRow, type WindowTold } from "./windows.ts";

const told = (more: Partial<WindowTold> = {}): WindowTold => ({
  client: "a",
  intentId: "i",
  attempt: 1,
  seq: 1,
  status: "DELIVERED",
  ...more,
});
const lost = (details: LogRow["details"]): LogRow => ({ intent_id: "i", type: "intent.lost", details });
const found = (frames: readonly WindowTold[], log: readonly LogRow[] = []) =>
  judgeWindows(frames, log).map((one) => one.invariant);

test("what clients of windows are told in order is no violation", () => {
  const again = told({ attempt: 2, seq: 2, status: "IN_PROGRESS" });
  expect(found([told(), again, told({ client: "b", intentId: "j" })])).toEqual([]);
  const takeover = { reason: "takeover", consumer: "window-1", lost_deliveries: 2, max_delivery_attempts: 3 };
  expect(
    found([], [lost(takeover), lost({ ...takeover, reason: "lease_expired", lost_deliveries: 3 })]),
  ).toEqual([]);
  expect(found([], [lost({ ...takeover, consumer: "live", lost_deliveries: 3 }), lost(null)])).toEqual([]);
});

test("one delivery told twice, a number twice, a wrong status and a newcomer's last strike are noticed", () => {
  expect(found([told(), told({ client: "b" })])).toEqual(["I6"]);
  expect(found([told(), told({ intentId: "j" })])).toEqual(["I10"]);
  expect(found([told({ status: "IN_PROGRESS" })])).toEqual(["I6"]);
  expect(found([told({ attempt: 2 })])).toEqual(["I6"]);
  const last = { reason: "takeover", consumer: "window-1", lost_deliveries: 3, max_delivery_attempts: 3 };
  expect(found([], [lost(last)])).toEqual(["I12"]);
});
