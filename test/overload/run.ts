// npm run test:overload [-- --only TEXT --backlog N]: too much of everything, and whether the server stays bounded and serves those who behave.

import { parseArgs } from "node:util";
import { CASES } from "./cases.ts";
import { openStage } from "./stage.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    connections: { type: "string", default: "9500" },
    agents: { type: "string", default: "1000" },
    burst: { type: "string", default: "50000" },
    backlog: { type: "string", default: "1000000" },
  },
});
const scale = {
  connections: Number(values.connections),
  agents: Number(values.agents),
  burst: Number(values.burst),
  backlog: Number(values.backlog),
};
let broken = 0;
for (const [name, run] of Object.entries(CASES)) {
  if (!name.includes(values.only)) continue;
  // Short for those who are slow on purpose, and a limit on connections that is reached.
  const stage = await openStage({
    PERDURE_HEADERS_TIMEOUT_MS: name === "slow-loris" ? "5000" : "120000",
    PERDURE_CONNECTIONS_MAX: name === "open connections" ? String(scale.connections + 2) : "10000",
  });
  try {
    const outcome = await run(stage, scale);
    console.log(`\n${name}`);
    for (const [what, figure] of Object.entries(outcome.figures))
      console.log(`  ${what.padEnd(34)} ${figure}`);
    for (const what of outcome.broken) console.log(`  BROKEN: ${what}`);
    broken += outcome.broken.length;
  } catch (error) {
    console.log(`\n${name}\n  BROKEN: ${String(error)}`);
    broken += 1;
  } finally {
    await stage.end();
  }
}
process.exit(broken === 0 ? 0 : 1);
