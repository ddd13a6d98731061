// Prints what is installed: {peer: version}.

import { installedVersion } from "./support/versions.mjs";

const PACKAGES = {
  restate: "@restatedev/restate-server",
  "restate-sdk": "@restatedev/restate-sdk",
  dbos: "@dbos-inc/dbos-sdk",
  absurd: "absurd-sdk",
  openworkflow: "openworkflow",
  "graphile-worker": "graphile-worker",
  "pg-boss": "pg-boss",
  pg: "pg",
};

const versions = Object.entries(PACKAGES).map(([peer, name]) => [peer, installedVersion(name)]);
console.log(JSON.stringify(Object.fromEntries(versions)));
