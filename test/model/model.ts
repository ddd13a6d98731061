// The reference: what Perdure promises, as a small program in memory. It shares no code with the server and is written
// from the documents. One operation at a time; here it is handed to whoever knows about it, and models are copied.

import { deliver, fenced, release } from "./attempts.ts";
import { connect, cut, expire } from "./consumers.ts";
import { create } from "./creation.ts";
import { cancelForParent, tellParent } from "./family.ts";
import { forget, nameCheckpoint, restore } from "./history.ts";
import { cancel, decide, due, pause, resolve, retry, unpause } from "./operators.ts";
import type { Asked, Model, ModelIntent, Op, Own, Past, Verdict } from "./shapes.ts";
import { share, write } from "./state.ts";
import { begin, done, failed, start, stepOf } from "./steps.ts";
import { answerTask, signal, wait } from "./waits.ts";

export const newModel = (now: number): Model => ({ now, intents: [], consumers: [], keys: [], shared: {} });

/** A copy to try something on. The past is shared: nobody changes it. */
export function fork(model: Model): Model {
  const pasts = model.intents.map((intent) => intent.past);
  const bare = { ...model, intents: model.intents.map((intent) => ({ ...intent, past: [] as Past[] })) };
  const copy: Model = structuredClone(bare);
  copy.intents.forEach((intent, n) => {
    intent.past = [...(pasts[n] ?? [])];
  });
  return copy;
}

/** Equal for models that go on alike. */
export const digestOf = (model: Model): string =>
  JSON.stringify(model, (name, value) => (name === "past" ? undefined : value));

/** Applies one operation; a refused one leaves nothing but what the log says of it. */
export function apply(model: Model, op: Op): Verdict {
  switch (op.op) {
    case "create":
      return create(model, op);
    case "share":
      return share(model, op.writes);
    case "connect":
      return connect(model, op);
    case "cut":
      return cut(model, op.c);
    case "clock":
      model.now = op.to;
      return "ok";
    case "expire":
      return expire(model, op.c);
    default: {
      const intent = model.intents[op.i];
      if (intent === undefined) return "not_found";
      return isOwn(op) ? happen(model, intent, op) : ask(model, intent, op);
    }
  }
}

type OwnOfIntent = Exclude<Own, { op: "expire" }>;

const isOwn = (op: Asked | OwnOfIntent): op is OwnOfIntent =>
  op.op === "deliver" || op.op === "due" || op.op === "told" || op.op === "doomed";

function happen(model: Model, intent: ModelIntent, op: OwnOfIntent): Verdict {
  switch (op.op) {
    case "deliver":
      return deliver(model, intent, op.consumer);
    case "due":
      return due(model, intent);
    case "told":
      return tellParent(model, intent);
    case "doomed":
      return cancelForParent(model, intent);
  }
}

function ask(model: Model, intent: ModelIntent, op: Asked): Verdict {
  switch (op.op) {
    case "cancel":
      return cancel(model, intent);
    case "pause":
      return pause(intent);
    case "unpause":
      return unpause(intent);
    case "retry":
      return retry(model, intent);
    case "decide":
      return decide(model, intent, op.key, op.answer);
    case "complete":
    case "fail":
      return resolve(model, intent, op);
    case "running":
      if (stepOf(intent, op.key)?.status === "done") return "ok";
      return fenced(intent, op.attempt) ?? begin(intent, op.key);
    case "done":
      return done(model, intent, op);
    case "start":
      return fenced(intent, op.attempt) ?? start(intent, op.beginNext);
    case "failed":
      return fenced(intent, op.attempt) ?? failed(model, intent, op);
    case "release":
      return fenced(intent, op.attempt) ?? release(model, intent, op.notRun);
    case "wait":
      return wait(model, intent, op);
    case "signal":
      return signal(model, intent, op.name, op.data);
    case "answer":
      return answerTask(model, intent, op.key, op.answer);
    case "write":
      return write(model, intent, op);
    case "checkpoint":
      return nameCheckpoint(intent, op);
    case "forget":
      return forget(intent, op.name);
    case "restore":
      return restore(model, intent, op.to);
  }
}
