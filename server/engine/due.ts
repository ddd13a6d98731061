// What time does: deadlines, attempt and step timeouts, the end of a delay.

import { tick } from "../domain/decide/operator.ts";
import { SERVER } from "../domain/intent.ts";
import type { Engine } from "./context.ts";

/** Looks at one intent again; true when something happened. */
export function tickIntent(engine: Engine, intentId: string): Promise<boolean> {
  return engine.commits.submit({
    name: "tick",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: 50 }],
    decide(work) {
      if (!work.has(intentId)) return false;
      const draft = work.open(intentId, SERVER);
      const happened = tick(draft, engine.settings);
      if (happened) work.stage(draft);
      // Due, and nothing to do: a timer that were left so would stand before the others for ever.
      else work.resetTimer(intentId);
      return happened;
    },
  });
}
