// A process that starts the embedded PostgreSQL, says so in one line of JSON, and holds it until SIGTERM. The tests
// kill it in every way; it stands for a server.
import { startEmbeddedPostgres } from "../../server/postgres/embedded.ts";
import { EmbeddedPostgresError } from "../../server/postgres/errors.ts";

const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  const postgres = await startEmbeddedPostgres({ dataDir: process.argv[2] ?? "" });
  process.once("SIGTERM", () => {
    postgres.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    );
  });
  const { url, dataDir, pid, adopted } = postgres;
  say({ url, dataDir, pid, adopted });
} catch (error) {
  say({ code: error instanceof EmbeddedPostgresError ? error.code : String(error) });
  process.exit(1);
}
