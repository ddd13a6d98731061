// Writing state: one or many keys of any scopes in one commit, on an intent's behalf or by itself (I9, S7).

import { logState, requireStateAccess } from "../domain/decide/state.ts";
import type { Draft } from "../domain/draft.ts";
import type { Actor } from "../domain/intent.ts";
import { RawJson } from "../domain/raw-json.ts";
import { Refusal } from "../domain/refusal.ts";
import { decideState, intentScope, type StateVersion, type StateWrite } from "../domain/state.ts";
import type { HeadRef } from "../store/load.ts";
import type { IdempotencyRef, Workspace } from "../store/workspace.ts";
import { bytesOf, type Engine, fenced } from "./context.ts";
import { findReplay } from "./idempotency.ts";

export interface StateCommit {
  readonly writes: readonly StateWrite[];
  /** The intent it is done for, with its attempt; null for a write by itself. */
  readonly behalf: { readonly intentId: string; readonly attempt: number | null } | null;
  readonly idempotency: IdempotencyRef | null;
}

/** A version without its value: what a writer is told. */
export type Written = Omit<StateVersion, "value" | "namespace"> & { readonly deleted: boolean };

export interface StateAnswer {
  readonly written: readonly Written[];
  readonly replayed: boolean;
}

export const headRefs = (writes: readonly StateWrite[]): HeadRef[] =>
  writes.map(({ scope, key }) => ({ namespace: scope.namespace, scope: scope.text, key }));

export const stateBytes = (writes: readonly StateWrite[]): number =>
  bytesOf(...writes.map(({ value }) => value));

export function commitState(engine: Engine, actor: Actor, commit: StateCommit): Promise<StateAnswer> {
  const { writes, behalf, idempotency } = commit;
  const intentId = behalf?.intentId ?? intentOf(writes);
  const attempt = behalf?.attempt ?? null;
  return engine.commits.submit<StateAnswer>({
    name: "state",
    intents: intentId === null ? [] : [intentId],
    state: headRefs(writes),
    bytes: stateBytes(writes),
    ...(idempotency === null ? {} : { idempotency }),
    decide(work) {
      const earlier = findReplay(work, idempotency);
      if (earlier !== undefined) return { written: earlier.response.parse() as Written[], replayed: true };
      const versions =
        intentId === null
          ? stageByItself(work, actor, writes)
          : fenced(work, intentId, actor, { attempt, operation: "state" }, (draft) => {
              requireStateAccess(draft, attempt);
              return stageState(work, draft, writes);
            });
      if (versions instanceof Refusal) return versions;
      const written = versions.map(({ scope, key, version, value }) => ({
        scope,
        key,
        version,
        deleted: value === null,
      }));
      if (idempotency !== null) work.stageRecord({ ...idempotency, intentId, response: RawJson.of(written) });
      return { written, replayed: false };
    },
  });
}

function stageByItself(work: Workspace, actor: Actor, writes: readonly StateWrite[]): StateVersion[] {
  const versions = decideState(writes, (scope, key) => work.head(scope.namespace, scope.text, key));
  for (const version of versions)
    work.stageState({
      namespace: version.namespace,
      version,
      intentId: null,
      seq: null,
      attempt: null,
      actor: actor.name,
      keep: null,
    });
  return versions;
}

/** An intent's own scope is written under its lock, also when nobody writes on its behalf; two intents' at once are not. */
function intentOf(writes: readonly StateWrite[]): string | null {
  const ids = new Set(writes.filter(({ scope }) => scope.kind === "intent").map(({ scope }) => scope.id));
  if (ids.size > 1) throw new Refusal("invalid_scope", "one commit may write the state of one intent");
  return [...ids][0] ?? null;
}

/** Decides, logs and stages the writes of one operation on an intent. */
export function stageState(work: Workspace, draft: Draft, writes: readonly StateWrite[]): StateVersion[] {
  const { intent, actor } = draft;
  const foreign = writes.find(({ scope }) => scope.kind === "intent" && scope.id !== intent.id);
  if (foreign !== undefined)
    throw new Refusal("invalid_scope", `${foreign.scope.text} belongs to another intent than ${intent.id}`);
  const versions = decideState(writes, (scope, key) => work.head(scope.namespace, scope.text, key));
  logState(draft, versions);
  const attempt = intent.consumerId === null ? null : intent.attempt;
  const own = intentScope(intent.id, intent.namespace).text;
  for (const version of versions) {
    // Memory that intents share is kept by nobody's word but the server's.
    const keep = version.scope === own ? intent.keepVersions : null;
    work.stageState({
      namespace: version.namespace,
      version,
      intentId: intent.id,
      seq: intent.seq,
      attempt,
      actor: actor.name,
      keep,
    });
  }
  return versions;
}
