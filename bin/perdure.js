#!/usr/bin/env node
// Starts the command line from the build.

import { existsSync } from "node:fs";

const main = new URL("../dist/bundle/cli.js", import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  console.error("perdure is not built yet: run `npm ci` (or `npm run build`) in the checkout first");
  process.exit(1);
}
