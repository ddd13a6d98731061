// Pausing an agent as a whole: from that commit on nothing is delivered to it, and what it holds is paused with it (S5).
// Repeating a call finishes what a crash left undone.

import { EVERYTHING } from "../domain/access.ts";
import type { Address } from "../domain/address.ts";
import { pause, unpause } from "../domain/decide/operator.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor } from "../domain/intent.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import {
  forgetPausedIntents,
  type Metrics,
  markAgentPaused,
  markAgentUnpaused,
  noteHeldIntents,
  recordHeartbeat,
} from "../store/queries/agents.ts";
import type { AuditEntry } from "../store/queries/audit.ts";
import { change, type Engine } from "./context.ts";

const named = ({ canonical, namespace }: Address) => ({ address: canonical, namespace });

/** Answers how many intents that it holds were told. */
export async function pauseAgent(
  engine: Engine,
  actor: Actor,
  agent: Address,
  reason: string | null,
  audit: AuditEntry,
): Promise<number> {
  await markAgentPaused(engine.store, named(agent), audit);
  const held = await noteHeldIntents(engine.store, named(agent));
  return decideEach(engine, actor, held, (draft) => pause(draft, reason, "agent"));
}

/** Answers how many intents went on. */
export async function unpauseAgent(
  engine: Engine,
  actor: Actor,
  agent: Address,
  audit: AuditEntry,
): Promise<number> {
  const intents = await markAgentUnpaused(engine.store, agent.canonical, audit);
  const freed = await decideEach(engine, actor, intents, (draft) => unpause(draft, "agent"));
  if (intents.length > 0) await forgetPausedIntents(engine.store, agent.canonical, intents);
  return freed;
}

async function decideEach(
  engine: Engine,
  actor: Actor,
  ids: readonly string[],
  decide: (draft: Draft) => unknown,
): Promise<number> {
  // Whose agent it is decides, wherever its intents came from.
  const everywhere = { ...actor, access: EVERYTHING };
  const happened = await Promise.all(
    ids.map((intentId) =>
      engine.commits.submit<boolean>({
        name: "pause_agent",
        intents: [intentId],
        steps: [{ intentId, keys: [], undone: 1 }],
        decide(work) {
          const known = work.peek(intentId)?.intent;
          if (known === undefined || isTerminal(known.status)) return false;
          return change(work, intentId, everywhere, (draft) => {
            decide(draft);
            return draft.events.length > 0;
          });
        },
      }),
    ),
  );
  return happened.filter(Boolean).length;
}

/** An agent says that it is well. */
export async function heartbeatAgent(engine: Engine, agent: Address, metrics: Metrics | null): Promise<void> {
  await recordHeartbeat(engine.store, named(agent), metrics);
}
