// Builds the dashboard into dist/dashboard: one script, one style sheet, the page that names them. Names change with what is inside,
// so that browsers may keep them for ever.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = `${root}dist/dashboard/`;

const { outputFiles } = await build({
  entryPoints: { app: `${root}dashboard/src/main.tsx`, style: `${root}dashboard/src/style.css` },
  bundle: true,
  minify: true,
  write: false,
  format: "esm",
  target: ["es2022", "chrome123", "firefox120", "safari17.5"],
  jsx: "automatic",
  jsxImportSource: "preact",
  outdir: out,
  entryNames: "[name]-[hash]",
  legalComments: "none",
  banner: { js: "/* Perdure, Apache-2.0. Contains preact, MIT, (c) Jason Miller: see licenses.txt */" },
});

const hash = (data) => createHash("sha256").update(data).digest("hex").slice(0, 10);
const icon = readFileSync(`${root}dashboard/icon.svg`);
const iconName = `icon-${hash(icon)}.svg`;
const nameOf = (start) =>
  outputFiles.map(({ path }) => path.slice(path.lastIndexOf("/") + 1)).find((name) => name.startsWith(start));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const { path, contents } of outputFiles)
  writeFileSync(`${out}${path.slice(path.lastIndexOf("/") + 1)}`, contents);
writeFileSync(`${out}${iconName}`, icon);
writeFileSync(
  `${out}licenses.txt`,
  `preact\n\n${readFileSync(`${root}node_modules/preact/LICENSE`, "utf8")}`,
);
writeFileSync(
  `${out}index.html`,
  readFileSync(`${root}dashboard/index.html`, "utf8")
    .replace("SCRIPT", `/assets/${nameOf("app-")}`)
    .replace("STYLE", `/assets/${nameOf("style-")}`)
    .replace("ICON", `/assets/${iconName}`),
);
