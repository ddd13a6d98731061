import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

// The direction of the house: a room may import only the rooms listed for it.
const MAY_IMPORT: Record<string, readonly string[]> = {
  domain: [],
  store: ["domain"],
  wire: ["domain", "store"],
  engine: ["domain", "store"],
  delivery: ["domain", "store", "wire", "engine"],
  workers: ["domain", "store", "engine"],
  observability: [],
  postgres: [],
  http: ["domain", "store", "wire", "engine", "delivery", "observability", "errors"],
  cli: ["main", "store", "config", "version"],
  config: ["settings"],
  settings: [],
  errors: [],
  version: [],
  app: ["*"],
  main: ["*"],
};

const root = fileURLToPath(new URL("..", import.meta.url));
const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file !== "");
const sources = tracked.filter((file) => /^(server|sdk\/src)\/.*\.ts$/.test(file));

const importsIn = (file: string, text: string): string[] =>
  [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map((match) =>
    normalize(join(dirname(file), match[1] ?? "")),
  );
const importsOf = (file: string): string[] => importsIn(file, readFileSync(join(root, file), "utf8"));

/** Imports that exist at run time: a type may refer to a neighbour that refers back. */
const runtimeImportsOf = (file: string): string[] =>
  importsIn(file, readFileSync(join(root, file), "utf8").replaceAll(/import type [^;]+;/g, ""));

const roomOf = (file: string): string => {
  const [, first = ""] = file.split("/");
  return first.replace(/\.ts$/, "");
};

test("every import goes in the direction of the house", () => {
  const wrong: string[] = [];
  for (const file of sources) {
    for (const target of importsOf(file)) {
      if (file.startsWith("sdk/")) {
        if (!target.startsWith("sdk/"))
          wrong.push(`${file} imports ${target}: the SDK imports nothing of ours`);
        continue;
      }
      const [from, to] = [roomOf(file), roomOf(target)];
      const allowed = MAY_IMPORT[from];
      if (allowed === undefined) wrong.push(`${file}: the room ${from} is not in the plan of the house`);
      else if (from !== to && !allowed.includes("*") && !allowed.includes(to))
        wrong.push(`${file} imports ${target}: ${from} may import only ${allowed.join(", ") || "nothing"}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("no module imports itself through others", () => {
  const graph = new Map(
    sources.map((file) => [file, runtimeImportsOf(file).filter((target) => sources.includes(target))]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of sources) visit(file, []);
  expect(cycles).toEqual([]);
});

test("no source file grows beyond 400 lines", () => {
  const long = sources.filter((file) => readFileSync(join(root, file), "utf8").split("\n").length > 400);
  expect(long).toEqual([]);
});

test("the lock file names no registry host", () => {
  expect(readFileSync(join(root, "package-lock.json"), "utf8")).not.toMatch(/"resolved": "http/);
});
