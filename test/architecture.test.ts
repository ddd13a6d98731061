// Owns the plan of the house as a test: which room may import which, which room may use which package, and what no file
// may hold. It reads files only, needs no git and no database, and names file, import and rule.
import { readdirSync, readFileSync } from "node:fs";
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
  verify: [],
  observability: [],
  postgres: [],
  http: ["domain", "store", "wire", "engine", "delivery", "observability", "errors"],
  cli: ["main", "store", "verify", "config", "version"],
  config: ["settings"],
  settings: [],
  errors: [],
  version: [],
  app: ["*"],
  main: ["*"],
};

// Packages that belong to rooms. Others, and Node's own modules, are free, except where ONLY says otherwise.
const BELONGS_TO: Record<string, readonly string[]> = {
  kysely: ["store"],
  pg: ["store", "postgres", "verify"],
  fastify: ["http", "app"],
  zod: ["http", "settings", "config"],
  commander: ["cli"],
  "@perdure/sdk": ["cli"],
};

// Rooms that run anywhere: a decision must not read a file or a clock, the SDK and the dashboard run in browsers.
const ONLY: Record<string, readonly string[]> = {
  domain: ["node:crypto"],
  sdk: [],
  dashboard: ["preact", "preact/hooks"],
};

// Files that may be longer than LONGEST lines, each with its reason.
const LONGEST = 400;
const MAY_BE_LONG: readonly string[] = [];

const root = fileURLToPath(new URL("..", import.meta.url));
// Generated, or somebody's own: .git, .perdure, an editor's folder.
const SKIPPED = /^(node_modules|dist|coverage|\.(?!ci$|gitignore$|dockerignore$).*|.*\.log)$/;

const filesUnder = (directory: string): string[] =>
  readdirSync(join(root, directory), { withFileTypes: true }).flatMap((entry) => {
    const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
    if (SKIPPED.test(entry.name)) return [];
    if (entry.isDirectory()) return filesUnder(path);
    return entry.isFile() ? [path] : [];
  });
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const sources = [...filesUnder("server"), ...filesUnder("sdk/src"), ...filesUnder("dashboard/src")].filter(
  (file) => /\.tsx?$/.test(file),
);

const roomOf = (file: string): string =>
  /^(sdk|dashboard)\//.exec(file)?.[1] ?? (file.split("/")[1] ?? "").replace(/\.ts$/, "");

const importsIn = (text: string): string[] =>
  [...text.matchAll(/^(?!\s*(?:\/\/|\*)).*?\b(?:from|import)\s*\(?\s*"([^"\s]+)"/gm)].map(
    (match) => match[1] ?? "",
  );
const targetOf = (file: string, specifier: string): string => normalize(join(dirname(file), specifier));

function breaches(file: string, text: string): string[] {
  const from = roomOf(file);
  const allowed = from === "sdk" || from === "dashboard" ? [] : MAY_IMPORT[from];
  if (allowed === undefined) return [`${file}: the room ${from} is not in the plan of the house`];
  return importsIn(text).flatMap((specifier) => {
    const says = (rule: string): string[] => [`${file} imports ${specifier}: ${rule}`];
    if (specifier.startsWith(".")) {
      const target = targetOf(file, specifier);
      if (!/^(server|sdk\/src|dashboard\/src)\//.test(target)) return says("this is outside the house");
      const to = roomOf(target);
      return from === to || allowed.includes("*") || allowed.includes(to)
        ? []
        : says(
            `${from} ${allowed.length > 0 ? `may import only ${allowed.join(", ")}` : "imports nothing of ours"}`,
          );
    }
    const only = ONLY[from];
    if (only !== undefined && !only.includes(specifier))
      return says(`${from} may use only ${only.join(", ") || "the language and fetch"}`);
    const rooms = BELONGS_TO[specifier];
    return rooms === undefined || rooms.includes(from)
      ? []
      : says(`${specifier} belongs to ${rooms.join(", ")}`);
  });
}

function cyclesIn(graph: ReadonlyMap<string, readonly string[]>): string[] {
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
  for (const file of graph.keys()) visit(file, []);
  return cycles;
}

test("every import goes in the direction of the house", () => {
  expect(sources.length).toBeGreaterThan(50);
  expect(sources.flatMap((file) => breaches(file, read(file)))).toEqual([]);
});

test("an import in a wrong direction is named with its rule", () => {
  const wrong = (file: string, line: string): string => breaches(file, `${line}\n`)[0] ?? "allowed";
  expect(wrong("server/domain/plan.ts", 'import { load } from "../store/load.ts";')).toBe(
    "server/domain/plan.ts imports ../store/load.ts: domain imports nothing of ours",
  );
  expect(wrong("server/store/load.ts", 'export type { A } from "../engine/a.ts";')).toContain("store may");
  expect(wrong("server/workers/a.ts", '} from "../http/problem.ts";')).toContain("workers may import only");
  expect(wrong("server/engine/a.ts", 'const a = await import("../cli/run.ts");')).toContain("engine may");
  expect(wrong("server/domain/plan.ts", 'import { readFileSync } from "node:fs";')).toContain("node:crypto");
  expect(wrong("sdk/src/http.ts", 'import "undici";')).toContain("sdk may use only");
  expect(wrong("dashboard/src/api.ts", 'import { a } from "../../sdk/src/http.ts";')).toContain(
    "imports nothing",
  );
  expect(wrong("dashboard/src/api.ts", 'import { a } from "react";')).toContain("dashboard may use only");
  expect(wrong("sdk/src/http.ts", 'import { a } from "../../server/errors.ts";')).toContain(
    "sdk imports nothing of ours",
  );
  expect(wrong("server/http/a.ts", 'import { sql } from "kysely";')).toContain("kysely belongs to store");
  expect(wrong("server/app.ts", 'import { a } from "../test/support/a.ts";')).toContain("outside the house");
  expect(wrong("server/misc/a.ts", "")).toContain("the room misc is not in the plan");
  expect(wrong("server/engine/a.ts", 'import type { A } from "../domain/a.ts";')).toBe("allowed");
  expect(wrong("dashboard/src/a.ts", 'range(one("from"), one("to"));')).toBe("allowed");
  expect(wrong("dashboard/src/a.ts", '<Field label="Created from" value={a} name="b" />')).toBe("allowed");
  expect(wrong("server/domain/plan.ts", '// as import "../store/load.ts" would')).toBe("allowed");
});

test("no module imports itself through others", () => {
  expect(
    cyclesIn(
      new Map([
        ["a", ["b"]],
        ["b", ["c"]],
        ["c", ["b"]],
      ]),
    ),
  ).toEqual(["b -> c -> b"]);
  // What exists at run time: a type may refer to a neighbour that refers back.
  const graph = new Map(
    sources.map((file) => [
      file,
      importsIn(read(file).replaceAll(/^(?:import|export) type [^;]+;/gm, ""))
        .map((specifier) => targetOf(file, specifier))
        .filter((target) => sources.includes(target)),
    ]),
  );
  expect(cyclesIn(graph)).toEqual([]);
});

test("no source file grows beyond 400 lines", () => {
  const long = sources.filter((file) => read(file).split("\n").length > LONGEST);
  expect(long.filter((file) => !MAY_BE_LONG.includes(file))).toEqual([]);
});

test("no file names a directory of the machine it was written on", () => {
  const foreign = /(?<![\w.-])\/(?:work|root|home\/\w+|Users\/\w+|tmp\/team)\//;
  // What the bench has measured here stays here.
  const kept = filesUnder("").filter((file) => !file.startsWith("bench/results/"));
  const found = kept.flatMap((file) => {
    const line = read(file).match(new RegExp(`.*${foreign.source}.*`))?.[0];
    return line === undefined ? [] : [`${file}: ${line.trim().slice(0, 120)}`];
  });
  expect(found).toEqual([]);
});

test("the lock file names no registry host", () => {
  expect(read("package-lock.json")).not.toMatch(/"resolved": "http/);
});
