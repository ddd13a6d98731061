// A database of its own for one run, made beside the maintenance database and dropped afterwards.

import { randomBytes } from "node:crypto";
import pg from "pg";
import { familyCpu, parentCalled } from "./cpu.mjs";

async function asMaintenance(url, body) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await body(client);
  } finally {
    await client.end();
  }
}

/**
 * @param {string} maintenanceUrl
 * @param {string} peer
 */
export async function createDatabase(maintenanceUrl, peer) {
  const name = `bench_${peer.replaceAll("-", "_")}_${randomBytes(4).toString("hex")}`;
  const facts = await asMaintenance(maintenanceUrl, async (client) => {
    await client.query(`CREATE DATABASE ${name}`);
    const { rows } = await client.query(
      `SELECT pg_backend_pid() AS pid, current_setting('fsync') AS fsync,
              current_setting('synchronous_commit') AS synchronous_commit,
              current_setting('full_page_writes') AS full_page_writes, current_setting('server_version') AS version`,
    );
    return { ...rows[0], postmaster: parentCalled(rows[0].pid, "postgres") };
  });
  const url = new URL(maintenanceUrl);
  url.pathname = `/${name}`;
  return {
    url: url.href,
    version: facts.version,
    durable: facts.fsync === "on" && facts.synchronous_commit !== "off" && facts.full_page_writes === "on",
    cpu: () => (facts.postmaster === null ? null : familyCpu(facts.postmaster)),
    drop: () => asMaintenance(maintenanceUrl, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)),
  };
}
