// Sessions act on all their intents: what is said of the session holds for new ones from that commit on, and is then carried to
// each that lives, one commit each. Repeating a call finishes what a crash left undone.

import { EVERYTHING } from "../domain/access.ts";
import { pause, unpause } from "../domain/decide/operator.ts";
import { cancel } from "../domain/decide/resolve.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor } from "../domain/intent.ts";
import { isTerminal } from "../domain/lifecycle.ts";
import { Refusal } from "../domain/refusal.ts";
import { removeIntents } from "../store/expire.ts";
import { findIntents } from "../store/queries/intents.ts";
import {
  aliveInSession,
  endedInSession,
  findSession,
  idleSessions,
  markSessionPaused,
  removeSession,
} from "../store/queries/sessions.ts";
import type { Workspace } from "../store/workspace.ts";
import { change, type Engine } from "./context.ts";

const AT_ONCE = 200;
const REMOVED_AT_ONCE = 500;

export interface SessionRef {
  readonly namespace: string;
  readonly name: string;
}

const notThere = (name: string): Refusal =>
  new Refusal("session_not_found", `there is no session ${JSON.stringify(name)}`, { session: name });

export async function pauseSession(
  engine: Engine,
  actor: Actor,
  session: SessionRef,
  reason: string | null,
): Promise<number> {
  if (!(await markSessionPaused(engine.store, session.namespace, session.name, true)))
    throw notThere(session.name);
  return forEachAlive(engine, actor, session, false, (draft) => pause(draft, reason, "session"));
}

export async function unpauseSession(engine: Engine, actor: Actor, session: SessionRef): Promise<number> {
  if (!(await markSessionPaused(engine.store, session.namespace, session.name, false)))
    throw notThere(session.name);
  return forEachAlive(engine, actor, session, true, (draft) => unpause(draft, "session"));
}

/** The session of an intent that may be reopened, if it has one: to be held while that is decided. */
export async function sessionsOf({ store }: Engine, intentId: string): Promise<SessionRef[]> {
  const data = (await findIntents(store, [intentId])).get(intentId)?.data;
  return data?.session == null || data.sessionNamespace === null
    ? []
    : [{ namespace: data.sessionNamespace, name: data.session }];
}

/** What was said of the session went for those that lived: whoever is reopened hears of it now. */
export function followSessions(work: Workspace, draft: Draft, sessions: readonly SessionRef[]): void {
  for (const { namespace, name } of sessions)
    if (work.isSessionPaused(namespace, name)) pause(draft, "its session is paused", "session");
    else unpause(draft, "session");
}

export async function cancelSession(
  engine: Engine,
  actor: Actor,
  session: SessionRef,
  reason: string | null,
): Promise<number> {
  if ((await findSession(engine.store, session.namespace, session.name, EVERYTHING)) === undefined)
    throw notThere(session.name);
  return forEachAlive(engine, actor, session, null, (draft) =>
    cancel(draft, reason ?? "its session was canceled"),
  );
}

/** Until none is left that still has to change; answers how many did. */
async function forEachAlive(
  engine: Engine,
  actor: Actor,
  session: SessionRef,
  held: boolean | null,
  decide: (draft: Draft) => unknown,
): Promise<number> {
  let changed = 0;
  // Whose session it is decides, wherever its intents were sent to.
  const everywhere = { ...actor, access: EVERYTHING };
  for (;;) {
    const ids = await aliveInSession(engine.store, session, held, AT_ONCE);
    const happened = await Promise.all(ids.map((id) => decideAlive(engine, everywhere, id, decide)));
    changed += happened.filter(Boolean).length;
    if (ids.length < AT_ONCE) return changed;
  }
}

function decideAlive(
  engine: Engine,
  actor: Actor,
  intentId: string,
  decide: (draft: Draft) => unknown,
): Promise<boolean> {
  return engine.commits.submit({
    name: "session",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: 50 }],
    decide(work) {
      const known = work.peek(intentId)?.intent;
      if (known === undefined || isTerminal(known.status)) return false;
      return change(work, intentId, actor, (draft) => {
        decide(draft);
        return draft.events.length > 0;
      });
    },
  });
}

/** Removes a session with all its intents, which must have ended; answers how many there were. */
export async function deleteSession(engine: Engine, session: SessionRef): Promise<number> {
  const { namespace, name } = session;
  if ((await findSession(engine.store, namespace, name, EVERYTHING)) === undefined) throw notThere(name);
  if ((await aliveInSession(engine.store, session, null, 1)).length > 0) throw stillActive(name);
  let removed = 0;
  for (;;) {
    const ids = await endedInSession(engine.store, namespace, name, REMOVED_AT_ONCE);
    removed += await removeIntents(engine.store, ids);
    if (ids.length < REMOVED_AT_ONCE) break;
  }
  if (!(await removeSession(engine.store, namespace, name))) throw stillActive(name);
  return removed;
}

const stillActive = (name: string): Refusal =>
  new Refusal("session_active", `session ${JSON.stringify(name)} has live intents; cancel it first`, {
    session: name,
  });

/** Sessions in which nothing has happened for so long; at most `limit` of them. */
export async function deleteIdleSessions(
  engine: Engine,
  namespace: string | null,
  idleMs: number,
  limit: number,
): Promise<{ names: string[]; removed: number }> {
  const names: string[] = [];
  let removed = 0;
  for (const session of await idleSessions(engine.store, namespace, idleMs, limit)) {
    try {
      removed += await deleteSession(engine, session);
      names.push(session.name);
    } catch (error) {
      // Somebody came back to it meanwhile.
      if (!(error instanceof Refusal)) throw error;
    }
  }
  return { names, removed };
}
