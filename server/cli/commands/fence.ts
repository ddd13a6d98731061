// Owns `perdure fence`: what is to be done once after a backup was restored, or a standby took over that may lack commits.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT } from "../exit-codes.ts";

const QUEUE_MAX = 10_000;

export function fenceCommand(cli: Cli): Command {
  const command = newCommand(
    "fence",
    "end all attempts, after a restore or a failover that lost commits",
    "DATABASE_URL=postgres://db.example.com/perdure perdure fence",
  );
  return runs(cli, command, async () => {
    const { openDatabaseToRead } = await import("../../main.ts");
    const { openStore } = await import("../../store/connection.ts");
    const { GroupCommit } = await import("../../store/group-commit.ts");
    const { fenceAll } = await import("../../engine/fence.ts");
    const { loadConfig } = await import("../../config.ts");
    const config = loadConfig(cli.io.env);
    const database = await openDatabaseToRead(cli.io.env);
    const store = openStore({
      connectionString: database.url,
      poolMax: 2,
      lockTimeoutMs: config.dbLockTimeoutMs,
      idleTransactionMs: config.dbIdleTransactionMs,
      queryTimeoutMs: config.dbQueryTimeoutMs,
      applicationName: "perdure fence",
    });
    try {
      const count = await fenceAll(store, new GroupCommit(store, { queueMax: QUEUE_MAX }));
      if (cli.json) cli.printJson({ ok: true, fenced: count });
      else
        cli.io.out(
          `fenced ${count} intents: whoever is at work on one is refused, and it is handed out again`,
        );
      return EXIT.ok;
    } finally {
      await store.end();
      await database.stop();
    }
  });
}
