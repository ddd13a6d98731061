// Whether a dependency has a known vulnerability, as `npm audit` says: exit 1 for each that audit-allowed.json does not
// allow. A registry that cannot be asked is said so and does no harm: CI must not depend on it.
//
// An entry of the allow-list: {"id": "GHSA-…", "why": "cannot be reached here, because …", "until": "2026-12-31"}.
// Usage: node scripts/audit.mjs [--report FILE] [--allowed FILE], the first to judge a saved `npm audit --json`.

import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

const PATIENCE_MS = 8_000;
const { values: options } = parseArgs({
  options: { report: { type: "string" }, allowed: { type: "string" } },
});

const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

function readReport() {
  if (options.report !== undefined) return parse(readFileSync(options.report, "utf8"));
  const args = ["audit", "--json", "--fetch-retries=0", `--fetch-timeout=${PATIENCE_MS}`];
  // npm exits 1 both for a vulnerability and for a registry that does not answer: only the report tells them apart.
  const { stdout } = spawnSync("npm", args, {
    encoding: "utf8",
    timeout: PATIENCE_MS,
    killSignal: "SIGKILL",
    shell: process.platform === "win32",
  });
  return parse(stdout ?? "");
}

/** Each advisory once, whatever number of packages leads to it. */
function advisoriesOf(report) {
  const found = new Map();
  for (const [name, { via }] of Object.entries(report.vulnerabilities)) {
    for (const one of via) {
      if (typeof one === "string") continue;
      const id = /GHSA-[\w-]+/.exec(one.url ?? "")?.[0] ?? String(one.source);
      found.set(id, { id, name, severity: one.severity, title: one.title, url: one.url });
    }
  }
  return [...found.values()];
}

function readAllowed() {
  const file = options.allowed ?? new URL("audit-allowed.json", import.meta.url);
  const today = new Date().toISOString().slice(0, 10);
  const entries = JSON.parse(readFileSync(file, "utf8"));
  for (const { id, why, until } of entries) {
    if (!id || !why || !/^\d{4}-\d\d-\d\d$/.test(until ?? ""))
      throw new Error(
        `each entry of the allow-list needs id, why and until: ${JSON.stringify({ id, why, until })}`,
      );
  }
  return new Map(entries.filter(({ until }) => until >= today).map((entry) => [entry.id, entry]));
}

const allowed = readAllowed();
const report = readReport();
if (report?.vulnerabilities === undefined) {
  console.log(
    `audit: the registry could not be asked (${report?.message ?? "no answer"}); nothing is known, and nothing fails`,
  );
  process.exit(0);
}
const advisories = advisoriesOf(report);
const refused = advisories.filter(({ id }) => !allowed.has(id));
for (const { id, name, severity, title, url } of refused)
  console.log(`audit: ${name}: ${severity}: ${title} (${id}, ${url})`);
for (const { id, why, until } of allowed.values()) {
  const found = advisories.some((one) => one.id === id);
  console.log(
    found ? `audit: ${id} is allowed until ${until}: ${why}` : `audit: ${id} is gone; take it off the list`,
  );
}
const packages = report.metadata?.dependencies?.total ?? 0;
console.log(`audit: ${packages} packages, ${advisories.length} advisories, ${refused.length} not allowed`);
process.exit(refused.length > 0 ? 1 : 0);
