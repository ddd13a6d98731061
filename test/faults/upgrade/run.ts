// npm run test:upgrade -- --from GIT_REF [--minutes M --seed S]: an upgrade from an older revision, under work, and a verdict.

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compilePrograms } from "../../support/programs.ts";
import { buildRevision, migrationsOf, NoHistoryError } from "./revision.ts";
import { runUpgrade } from "./upgrade.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const { values } = parseArgs({
  options: {
    from: { type: "string" },
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [ms, seed] = [Number(values.minutes) * 60_000, Number(values.seed)];
if (values.from === undefined || !(ms > 0) || !Number.isInteger(seed)) {
  console.error("usage: npm run test:upgrade -- --from GIT_REF [--minutes M] [--seed S]");
  process.exit(64);
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort());
await compilePrograms();
const older = await buildRevision(values.from).catch((error) => {
  if (!(error instanceof NoHistoryError)) throw error;
  console.error(error.message);
  process.exit(66);
});
interrupted.signal.addEventListener("abort", () => void older.remove());
const migrations = (await migrationsOf(root)).filter((name) => !older.migrations.includes(name));
console.log(`from        ${older.name} (${older.migrations.length} migrations)`);
console.log(
  `to          this tree (${migrations.length === 0 ? "no migration more" : migrations.join(", ")})`,
);

const began = performance.now();
const say = (line: string) =>
  console.log(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${line}`);
try {
  const upgraded = await runUpgrade({
    older: older.dist,
    newer: `${root}dist`,
    ms,
    seed,
    say,
    signal: interrupted.signal,
  });
  console.log(`\nside by side ${upgraded.beside ? "yes" : "no: all old servers had to end first"}`);
  console.log(`new server   ${upgraded.beside ? "serves" : "refuses"} after ${upgraded.newcomerMs} ms`);
  console.log(`creates      the longest meanwhile took ${upgraded.longestCreateMs} ms`);
  console.log(`operations   ${upgraded.operations} on ${upgraded.intents} intents`);
  console.log(`failures     ${upgraded.failures} answers of 500 and more (503 apart)`);
  console.log(`lost         ${upgraded.lost}`);
  console.log(`violations   ${upgraded.violations.length}`);
  for (const { invariant, intentId, message } of upgraded.violations.slice(0, 20))
    console.log(`  ${invariant} ${intentId ?? ""} ${message}`);
  if (upgraded.evidence !== null) console.log(`evidence     ${upgraded.evidence}`);
  process.exitCode =
    upgraded.violations.length === 0 && upgraded.lost === 0 && upgraded.failures === 0 ? 0 : 1;
} finally {
  await older.remove();
}
process.exit();
