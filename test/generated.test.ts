import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { EVENT_TYPES } from "../server/domain/event.ts";
import { ON_INTERRUPT, STEP_STATUSES } from "../server/domain/intent.ts";
import { STATUSES, TERMINAL_STATUSES, WAITING_REASONS } from "../server/domain/lifecycle.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const checks = readFileSync(`${root}/migrations/0010_checks.sql`, "utf8");

/** The values that the check of a row `what` accepts in one of its columns. */
function accepted(what: string, column: string): string[] {
  const body =
    new RegExp(`create function perdure_is_${what}\\(([\\s\\S]*?)end;? \\$\\$;`).exec(checks)?.[1] ?? "";
  const list = new RegExp(`\\b${column} in \\(([^)]*)\\)`).exec(body)?.[1] ?? "";
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
  expect(accepted("intent", "status")).toEqual([...STATUSES]);
  expect(accepted("intent", "waiting_reason")).toEqual([...WAITING_REASONS]);
  expect(accepted("intent", "on_interrupt")).toEqual([...ON_INTERRUPT]);
  expect(accepted("end", "status")).toEqual([...TERMINAL_STATUSES]);
  expect(accepted("event", "type")).toEqual([...EVENT_TYPES]);
  expect(accepted("step", "status")).toEqual([...STEP_STATUSES]);
  expect(accepted("step", "on_interrupt")).toEqual([...ON_INTERRUPT]);
});
