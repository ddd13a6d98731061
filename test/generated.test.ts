import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { EVENT_TYPES } from "../server/domain/event.ts";
import { ON_INTERRUPT, STEP_STATUSES } from "../server/domain/intent.ts";
import { STATUSES, TERMINAL_STATUSES, WAITING_REASONS } from "../server/domain/lifecycle.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const schema = readFileSync(`${root}/migrations/0001_foundation.sql`, "utf8");
const wider = readFileSync(`${root}/migrations/0007_axp.sql`, "utf8");

/** The values of every `check (column in (…))` of one table. */
function checked(table: string, column: string): string[] {
  const body = new RegExp(`create table ${table} \\(([\\s\\S]*?)\\n\\)`).exec(schema)?.[1] ?? "";
  const list = new RegExp(`check \\(${column} in \\(([^)]*)\\)\\)`).exec(body)?.[1] ?? "";
  return [...list.matchAll(/'([^']+)'/g)].map((match) => match[1] ?? "");
}

test.each(["generate-cli", "generate-lifecycle", "generate-settings"])(
  "what %s writes is current",
  (script) => {
    execFileSync(process.execPath, ["--import", "tsx", `scripts/${script}.ts`, "--check"], {
      cwd: root,
      stdio: "pipe",
    });
  },
);

test("the database accepts exactly the domain's values", () => {
  expect(checked("intents", "status")).toEqual([...STATUSES]);
  expect(checked("intents", "waiting_reason")).toEqual([...WAITING_REASONS]);
  expect(checked("intents", "on_interrupt")).toEqual([...ON_INTERRUPT]);
  expect(checked("outcomes", "status")).toEqual([...TERMINAL_STATUSES]);
  const events = /events_type_check check \(type in \(([^)]*)\)\)/.exec(wider)?.[1] ?? "";
  expect([...events.matchAll(/'([^']+)'/g)].map((match) => match[1])).toEqual([...EVENT_TYPES]);
  expect(checked("steps", "status")).toEqual([...STEP_STATUSES]);
  expect(checked("steps", "on_interrupt")).toEqual([...ON_INTERRUPT]);
});
