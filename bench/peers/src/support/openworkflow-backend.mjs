// OpenWorkflow's connection to PostgreSQL: its own pool of ten, or one of another size, which must name columns as its own does.

import { BackendPostgres } from "openworkflow/postgres";
import postgres from "postgres";

export async function connect(url, { pool }) {
  const own = await BackendPostgres.connect(url);
  if (pool === undefined) return { backend: own, close: () => own.stop() };
  await own.stop();
  const sql = postgres(url, { max: pool, transform: { column: { from: postgres.toCamel } } });
  return { backend: BackendPostgres.fromPool(sql), close: () => sql.end({ timeout: 5 }) };
}
