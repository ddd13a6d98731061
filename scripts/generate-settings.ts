// Writes docs/settings.md from the table in server/settings/table.ts; with --check it only says whether the file is current.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { SETTINGS_BY_SECTION } from "../server/settings/table.ts";

const FILE = fileURLToPath(new URL("../docs/settings.md", import.meta.url));

export function settingsPage(): string {
  const lines = [
    "# Settings of the server",
    "",
    "<!-- Generated from server/settings/table.ts by scripts/generate-settings.ts; do not edit. -->",
    "",
    "Every setting is an environment variable, and an empty one counts as not set. The server checks all of them when it",
    "starts and names each that is wrong; it warns about `PERDURE_` variables it does not know.",
  ];
  for (const [section, settings] of Object.entries(SETTINGS_BY_SECTION)) {
    lines.push("", `## ${section}`, "", "| Variable | Default | Allowed | Meaning |", "|---|---|---|---|");
    for (const { env, fallback, allowed, about } of Object.values(settings)) {
      lines.push(
        `| \`${env}\` | ${fallback === undefined ? "" : `\`${fallback}\``} | ${allowed} | ${about} |`,
      );
    }
  }
  return `${lines.join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = settingsPage();
  if (!process.argv.includes("--check")) {
    writeFileSync(FILE, page);
  } else if (readFileSync(FILE, "utf8") !== page) {
    console.error("docs/settings.md is not current: run npx tsx scripts/generate-settings.ts");
    process.exitCode = 1;
  }
}
