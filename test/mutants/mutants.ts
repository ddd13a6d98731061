// Ways in which the server could be wrong. Each must be seen by its judge: the reference model, the fault suite, or the fuzz of
// two tenants.

export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  readonly judge: "model" | "faults" | "tenants";
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "no fence: any attempt may write",
    file: "server/domain/decide/fence.ts",
    find: "if (attempt === intent.attempt && intent.consumerId !== null) return;",
    replace: "if (attempt <= intent.attempt) return;",
    judge: "model",
  },
  {
    name: "a gap in the log",
    file: "server/domain/draft.ts",
    find: "intent.seq += 1;",
    replace: 'intent.seq += type === "intent.lost" ? 2 : 1;',
    judge: "model",
  },
  {
    name: "no grace for a closed stream",
    file: "server/store/consumers.ts",
    find: "lease_until = least(c.lease_until, perdure_now() + make_interval(secs => $3::int / 1000.0))",
    replace:
      "lease_until = least(c.lease_until, perdure_now() + 0 * make_interval(secs => $3::int / 1000.0))",
    judge: "model",
  },
  {
    name: "no poll: only hints wake",
    file: "server/workers/pulse.ts",
    find: "for (const address of seen.readyAddresses) options.wakeAddress(address);",
    replace: "",
    judge: "faults",
  },
  {
    name: "acknowledged before the commit",
    file: "server/store/group-commit.ts",
    find: "const proof = proofOf(loaded.clock.xid, work);",
    replace: "this.#answer(free, verdicts); const proof = proofOf(loaded.clock.xid, work);",
    judge: "faults",
  },
  {
    name: "one delivery too many before the end",
    file: "server/domain/decide/attempt.ts",
    find: "const capped = intent.strikes >= intent.maxDeliveryAttempts;",
    replace: "const capped = intent.strikes > intent.maxDeliveryAttempts;",
    judge: "model",
  },
  {
    name: "a done step is begun again",
    file: "server/domain/decide/steps.ts",
    find: 'if (existing?.status === "done") return existing;',
    replace: "",
    judge: "model",
  },
  {
    name: "the last result wins",
    file: "server/domain/decide/steps.ts",
    find: 'if (known?.status === "done") return known;\n  requireOpenAttempt',
    replace: "requireOpenAttempt",
    judge: "model",
  },
  {
    name: "capacity is not looked at",
    file: "server/engine/claim.ts",
    find: "row.capacity - (held.get(row.id) ?? 0)",
    replace: "row.capacity",
    judge: "model",
  },
  {
    name: "a takeover inherits what the dead process held",
    file: "server/engine/connect.ts",
    find: 'loses: leaseOver ? "lease_expired" : admission === "takeover" ? "takeover" : null',
    replace: 'loses: leaseOver ? "lease_expired" : null',
    judge: "model",
  },
  {
    name: "steps begin while paused",
    file: "server/domain/decide/steps.ts",
    find: "if (draft.intent.paused) {",
    replace: "if (draft.intent.paused && draft.intent.attempt < 0) {",
    judge: "model",
  },
  {
    name: "an interrupted step looks as if it had never run",
    file: "server/domain/decide/close.ts",
    find: "step.interrupted = true;",
    replace: "",
    judge: "model",
  },
  {
    name: "a repeated key creates again",
    file: "server/engine/idempotency.ts",
    find: "known.fingerprint === ref?.fingerprint) return known;",
    replace: "known.fingerprint === ref?.fingerprint) return undefined;",
    judge: "model",
  },
  {
    name: "the queue forgets priority",
    file: "server/store/claim.ts",
    find: "order by h.rank, h.queue_at, h.intent_id limit g.free",
    replace: "order by h.queue_at, h.intent_id limit g.free",
    judge: "model",
  },
  {
    name: "losses count again after progress",
    file: "server/domain/decide/attempt.ts",
    find: "draft.intent.strikes = 0;\n  draft.intent.retriesUsed = 0;",
    replace: "draft.intent.retriesUsed = 0;",
    judge: "model",
  },
  {
    name: "a lost commit is taken for done",
    file: "server/store/commit.ts",
    find: "if (rowCount !== 1) return false;",
    replace: "if (rowCount === null) return false;",
    judge: "faults",
  },
  {
    name: "compare-and-set without comparing",
    file: "server/domain/state.ts",
    find: "if (ifVersion !== null && ifVersion !== current) {",
    replace: "if (ifVersion !== null && ifVersion > current + 1_000_000) {",
    judge: "faults",
  },
  {
    name: "decisions look at nobody",
    file: "server/store/workspace.ts",
    find: "if (held === undefined || this.seen(intentId, actor) === undefined)",
    replace: "if (held === undefined)",
    judge: "tenants",
  },
  {
    name: "any intent can be read",
    file: "server/store/queries/intents.ts",
    find: "record !== undefined && maySee(access, record.intent) ? record : undefined",
    replace: "record",
    judge: "tenants",
  },
  {
    name: "any end can be waited for",
    file: "server/store/queries/intents.ts",
    find: "row === undefined || !maySee(access, ownedOf(row))",
    replace: "row === undefined",
    judge: "tenants",
  },
  {
    name: "lists show everything",
    file: "server/store/sight.ts",
    find: "if (seesEverything(access)) return sql<boolean>`true`;\n  const column",
    replace:
      "if (seesEverything(access) || access.patterns.length >= 0) return sql<boolean>`true`;\n  const column",
    judge: "tenants",
  },
  {
    name: "sessions of all namespaces",
    file: "server/store/sight.ts",
    find: "const own = sql<boolean>`",
    replace: "const own = sql<boolean>`true or ",
    judge: "tenants",
  },
  {
    name: "heartbeats for any consumer",
    file: "server/engine/consumers.ts",
    find: "row === undefined || !covers(input.access, row.address)",
    replace: "row === undefined",
    judge: "tenants",
  },
  {
    name: "heartbeats tell of any intent",
    file: "server/http/routes/agents.ts",
    find: "if (!maySee(access, intent)) records.delete(id);",
    replace: 'if (!maySee(access, intent) && id === "") records.delete(id);',
    judge: "tenants",
  },
  {
    name: "work for any namespace",
    file: "server/http/routes/create.ts",
    find: "if (maySendTo(access, canonical, namespace)) return;",
    replace: "if (canonical || maySendTo(access, canonical, namespace)) return;",
    judge: "tenants",
  },
  {
    name: "anybody stands in for any address",
    file: "server/http/auth.ts",
    find: "if (covers(access, address)) return;",
    replace: "if (address || covers(access, address)) return;",
    judge: "tenants",
  },
  {
    name: "children of any intent",
    file: "server/engine/submit.ts",
    find: "work.seen(parentId, actor) === undefined",
    replace: "work.peek(parentId) === undefined",
    judge: "tenants",
  },
  {
    name: "waits for any intent",
    file: "server/engine/waits.ts",
    find: "end === undefined || end.parentId !== parent.id",
    replace: "end === undefined",
    judge: "tenants",
  },
  {
    name: "state of any intent",
    file: "server/http/routes/state.ts",
    find: "intent !== undefined && maySee(access, intent) ? intent.namespace : NOWHERE",
    replace: "intent?.namespace ?? NOWHERE",
    judge: "tenants",
  },
  {
    name: "state of any address",
    file: "server/http/routes/state.ts",
    find: "return covers(access, scope.id);",
    replace: "return covers(access, scope.id) || true;",
    judge: "tenants",
  },
  {
    name: "keys of any namespace",
    file: "server/engine/keys.ts",
    find: "seesEverything(by.access) || mayGrant(by.access, key)",
    replace: "mayGrant(by.access, key) || seesEverything(by.access) || true",
    judge: "tenants",
  },
  {
    name: "keys that reach further than their maker",
    file: "server/engine/keys.ts",
    find: "if (mayGrant(access, { namespace, patterns })) return;",
    replace: 'if (namespace !== "" || mayGrant(access, { namespace, patterns })) return;',
    judge: "tenants",
  },
];
