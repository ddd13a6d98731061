// Owns: which request means what to the in-memory server, and its answer. Must not: decide: that is the model's.
import type { Wire } from "../../intents.ts";
import { cancel, release, requireOpen } from "./attempts.ts";
import { canonical, create } from "./creation.ts";
import { iso, log, type Model, type ModelIntent, refusal } from "./shapes.ts";
import { decideWrites, versionsOf } from "./state.ts";
import { decideStep, doneCount, record, resolve, start } from "./steps.ts";
import { entryView, intentAnswer, stepAnswer, stepView, workView } from "./views.ts";
import { decideTask, park, signal } from "./waits.ts";

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly body: Wire;
  readonly idempotencyKey: string | null;
}

/** Once per idempotency key; a refusal is a PerdureError with the server's code. */
export function answer(model: Model, asked: Asked): Wire {
  const { method, path, idempotencyKey, body } = asked;
  if (idempotencyKey === null) return route(model, asked);
  const name = `${method} ${path} ${idempotencyKey}`;
  const text = fingerprint(body);
  const known = model.keys.get(name);
  if (known === undefined) {
    const fresh = route(model, asked);
    model.keys.set(name, { asked: text, answer: fresh });
    return fresh;
  }
  if (known.asked === text) return known.answer;
  const { intent_id } = known.answer;
  throw refusal("idempotency_mismatch", "the idempotency key was used for another request", { intent_id });
}

/** The same request, in whichever attempt it is repeated. */
const fingerprint = (body: Wire): string =>
  JSON.stringify(body, (name, value) =>
    name === "parent_attempt" || name === "correlation_id" ? undefined : value,
  );

function route(model: Model, asked: Asked): Wire {
  const [, noun = "", id = "", ...rest] = asked.path.slice(1).split("/").map(decodeURIComponent);
  if (noun === "state") return ofState(model, asked, id, rest);
  if (noun === "intents" && asked.method === "POST" && id === "") {
    const [created] = create(model, [asked.body]);
    return { ok: true, ...created, listeners: 1 };
  }
  if (noun === "intents" && id === "batch") return { ok: true, intents: create(model, asked.body.intents) };
  if (noun !== "intents" || id === "") throw unknown(asked);
  const intent = model.intents.get(id);
  if (intent === undefined) throw refusal("not_found", `there is no intent ${id}`);
  return ofIntent(model, intent, asked, rest);
}

const unknown = ({ method, path }: Asked) =>
  refusal("not_found", `the test kit does not know ${method} ${path}`);

function ofIntent(
  model: Model,
  intent: ModelIntent,
  asked: Asked,
  [verb = "", name = "", more]: string[],
): Wire {
  const { body, query } = asked;
  switch (`${asked.method} ${more ?? verb}`) {
    case "GET ":
      return intentAnswer(intent);
    case "GET events":
      if (name !== "") throw unknown(asked);
      return {
        ok: true,
        events: intent.log.filter(({ seq }) => seq > Number(query.get("since") ?? 0)),
        next_cursor: null,
      };
    case "GET steps":
      return { ok: true, steps: [...intent.steps.values()].map((step) => stepView(intent, step)) };
    case "POST start":
      start(model, intent, body);
      return workView(intent);
    case "PUT steps": {
      if (body.status === "waiting") return stepAnswer(intent, park(model, intent, name, body));
      const { step, begun } = record(model, intent, name, body);
      return stepAnswer(intent, step, begun);
    }
    case "POST decide":
      decideStep(model, intent, name, body);
      return intentAnswer(intent);
    case "POST resolve":
      resolve(model, intent, body);
      return intentAnswer(intent);
    case "POST release":
      requireOpen(model, intent, body.attempt, "release");
      release(model, intent, body);
      return { ok: true, intent_id: intent.id, status: intent.status };
    case "POST progress": {
      requireOpen(model, intent, body.attempt, "progress");
      const { attempt: _, ...told } = body;
      return { ok: true, seq: log(model, intent, "progress", told) };
    }
    case "PUT checkpoints":
      return { ok: true, checkpoint: nameCheckpoint(model, intent, name, body.attempt) };
    case "POST signals":
      return signal(model, intent, name, body.data ?? null);
    case "POST resume":
      if (body.task_result === undefined) throw unknown(asked);
      decideTask(model, intent, body.step, body.task_result);
      return intentAnswer(intent);
    case "POST cancel":
      cancel(model, intent, body.reason ?? "canceled");
      return intentAnswer(intent);
    default:
      throw unknown(asked);
  }
}

/** A holder that repeats itself after a crash keeps the first. */
function nameCheckpoint(model: Model, intent: ModelIntent, name: string, attempt: number): Wire {
  requireOpen(model, intent, attempt, "checkpoint");
  const known = intent.checkpoints.get(name);
  if (known !== undefined) return known;
  const seq = log(model, intent, "checkpoint_named", { name });
  const checkpoint = { name, seq, created_at: iso(model.now()), steps_done: doneCount(intent) };
  intent.checkpoints.set(name, checkpoint);
  return checkpoint;
}

function ofState(model: Model, { method, query, body }: Asked, id: string, [key, more]: string[]): Wire {
  if (method === "POST") return { ok: true, entries: write(model, body, body.writes) };
  const scope = scopeOf(id);
  if (method === "PUT" || method === "DELETE") {
    const value = method === "PUT" ? { value: body.value } : { delete: true };
    const [entry = null] = write(model, body, [{ scope, key, if_version: body.if_version, ...value }]);
    return { ok: true, entry };
  }
  if (key === undefined)
    return { ok: true, entries: list(model, scope, query.get("prefix") ?? ""), next_cursor: null };
  const versions = versionsOf(model, scope, key);
  if (more === "versions")
    return {
      ok: true,
      versions: versions.toReversed().map((one) => entryView(scope, key, one)),
      next_cursor: null,
    };
  const version = query.get("version");
  const entry = version === null ? versions.at(-1) : versions.find((one) => one.version === Number(version));
  if (entry === undefined || (entry.deleted && version === null))
    throw refusal("state_not_found", `${scope} has no ${JSON.stringify(key)}`, { scope, key });
  return { ok: true, entry: entryView(scope, key, entry) };
}

const scopeOf = (text: string): string =>
  text.startsWith("agent:") ? `agent:${canonical(text.slice("agent:".length))}` : text;

function list(model: Model, scope: string, prefix: string): Wire[] {
  const keys = [...(model.state.get(scope)?.keys() ?? [])].filter((key) => key.startsWith(prefix)).sort();
  return keys.flatMap((key) => {
    const head = versionsOf(model, scope, key).at(-1);
    return head === undefined || head.deleted ? [] : [entryView(scope, key, head)];
  });
}

/** On an intent's behalf only while its attempt is open; told in that intent's log. */
function write(model: Model, { intent_id, attempt }: Wire, writes: readonly Wire[]): Wire[] {
  const scoped = writes.map((one) => ({ ...one, scope: scopeOf(one.scope) }));
  const own = scoped.find(({ scope }) => scope.startsWith("intent:"))?.scope.slice("intent:".length);
  const intent = model.intents.get(intent_id ?? own ?? "");
  if (intent === undefined && (intent_id ?? own) !== undefined)
    throw refusal("not_found", "there is no such intent");
  if (intent !== undefined && attempt != null) requireOpen(model, intent, attempt, "state");
  return decideWrites(model, scoped, intent)();
}
