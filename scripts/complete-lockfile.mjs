// Adds to package-lock.json the optional platform packages that the registry at hand did not offer, so that `npm ci`
// accepts the file everywhere. Run after `npm install` when CI says "Missing: … from lock file". Prints what it added.

import { readFileSync, writeFileSync } from "node:fs";

const file = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));

const OS = [
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "win32",
];
const CPU = ["arm64", "arm", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "wasm32", "x64"];

/** What the package's name says about where it runs; null when it says nothing. */
function platformOf(name) {
  const words = name.replace("windows", "win32").split(/[/\-.]/);
  const os = OS.filter((one) => words.includes(one));
  const cpu = CPU.filter(
    (one) => words.includes(one) || (one === "arm" && words.some((word) => word.startsWith("armv"))),
  );
  if (os.length === 0 && cpu.length === 0) return null;
  return { ...(os.length > 0 ? { os } : {}), ...(cpu.length > 0 ? { cpu } : {}) };
}

const added = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const nested = path === "" ? `node_modules/${name}` : `${path}/node_modules/${name}`;
    const hoisted = `node_modules/${name}`;
    if (lock.packages[nested] !== undefined || lock.packages[hoisted] !== undefined) continue;
    const platform = platformOf(name);
    if (platform === null) continue;
    if (!/^\d/.test(version)) {
      console.log(`skipped ${name}@${version}: not an exact version`);
      continue;
    }
    lock.packages[hoisted] = {
      version,
      ...platform,
      ...(entry.dev === true ? { dev: true } : {}),
      optional: true,
    };
    added.push(`${name}@${version}`);
  }
}
const [root, ...rest] = Object.entries(lock.packages);
lock.packages = Object.fromEntries([root, ...rest.sort(([a], [b]) => a.localeCompare(b, "en"))]);
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
for (const one of added) console.log(`added ${one}`);
