// What time does: deadlines, attempt and step timeouts, the end of a delay, and the next step of what the server leads itself.

import { tick } from "../domain/decide/operator.ts";
import { SERVER } from "../domain/intent.ts";
import { isConductible } from "../domain/schedule.ts";
import type { Engine } from "./context.ts";
import { conductIntent } from "./scenario.ts";

/** Looks at one intent again; true when something happened. */
export async function tickIntent(engine: Engine, intentId: string): Promise<boolean> {
  const found = await engine.commits.submit<boolean | "conductible">({
    name: "tick",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: 50 }],
    decide(work) {
      if (!work.has(intentId)) return false;
      const draft = work.open(intentId, SERVER);
      const happened = tick(draft, engine.settings);
      if (happened) work.stage(draft);
      else if (isConductible(draft.intent)) return "conductible";
      // Due, and nothing to do: a timer that were left so would stand before the others for ever.
      else work.resetTimer(intentId);
      return happened;
    },
  });
  return found === "conductible" ? conductIntent(engine, intentId) : found;
}
