// Owns `perdure verify`: whether what a database holds is what may be there. Reads beside a working server.
import type { Command } from "commander";
import { type Cli, newCommand, runs } from "../context.ts";
import { EXIT } from "../exit-codes.ts";

const SHOWN = 50;

export function verifyCommand(cli: Cli): Command {
  const command = newCommand("verify", "check the database for violated invariants");
  return runs(cli, command, async () => {
    const { openDatabaseToRead } = await import("../../main.ts");
    const { verifyDatabase } = await import("../../verify/verify.ts");
    const database = await openDatabaseToRead(cli.io.env);
    try {
      const { checked, violations, count } = await verifyDatabase(database.url, {
        onProgress: (done, total) => cli.progress("checked", done, total),
      });
      if (cli.json) cli.printJson({ ok: count === 0, checked, count, violations: violations.map(toWire) });
      else {
        for (const { invariant, intentId, message } of violations.slice(0, SHOWN))
          cli.io.out(`${invariant}  ${intentId ?? "-"}  ${message}`);
        if (count > SHOWN)
          cli.io.out(`and ${count - SHOWN} more: --json shows the first ${violations.length}`);
        cli.io.out(`checked ${checked} intents: ${count === 0 ? "no violation" : `${count} violations`}`);
      }
      return count === 0 ? EXIT.ok : EXIT.failed;
    } finally {
      await database.stop();
    }
  });
}

const toWire = ({
  invariant,
  intentId,
  message,
}: {
  invariant: string;
  intentId: string | null;
  message: string;
}) => ({
  invariant,
  intent_id: intentId,
  message,
});
