// This build's version, from package.json beside the sources or the build.

import { readFileSync } from "node:fs";

function readVersion(): string {
  for (const up of ["../package.json", "../../package.json"]) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), "utf8"));
      if (name === "perdure") return version;
    } catch {
      // Source and build lie at different depths.
    }
  }
  return "0.0.0";
}

export const VERSION = readVersion();
