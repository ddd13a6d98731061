// Imported first by every program: several peers need a newer Node than this repository does, so the program runs again
// under the one this package brings along, and all peers run on the same.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";

const NEEDED = [22, 18];

function isNewEnough() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
}

function bundledNode() {
  const name = `node-${process.platform}-${process.arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${name}/bin/node`);
  } catch {
    throw new Error(`this needs Node ${NEEDED.join(".")} or newer, and ${name} is not installed; run \`npm ci\` here`);
  }
}

if (isNewEnough()) {
  // Nobody is left to read the result when the program that started this one is gone.
  if (process.connected) {
    process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
    process.channel.unref();
  }
} else {
  const child = spawn(bundledNode(), process.argv.slice(1), { stdio: ["inherit", "inherit", "inherit", "ipc"] });
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
  const code = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (exit, signal) => resolve(exit ?? (signal === "SIGINT" ? 130 : 143)));
  });
  process.exit(code);
}
