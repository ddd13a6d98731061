// What the agents of the fault suite wait for, and giving it to them: signals, decisions of people and of operators.
import type { Json } from "../../judge/history.ts";
import type { Call } from "./calls.ts";

/** One wait of a handler at the address `waits`, as its sender asks for it. */
export type Awaited =
  | { readonly signal: string; readonly timeout?: number }
  | { readonly seconds: number }
  | { readonly person: true; readonly timeout?: number }
  | { readonly children: readonly Child[] };

export interface Child {
  readonly place: string;
  readonly payload: Payload;
}

export interface Payload {
  readonly mark: string;
  readonly steps: number;
  readonly ms: number;
  readonly waits?: readonly Awaited[];
}

export const addressOf = (place: string): string => `agent://faults/test/${place}`;

const OUTCOMES = ["yes", "no"];
export const TASK = { title: "May it go on?", outcomes: OUTCOMES };
export const TASK_ON_THE_WIRE = { title: TASK.title, allowed_outcomes: OUTCOMES };

export async function sendSignal(call: Call, id: string, name: string, key: string): Promise<void> {
  // The key is the signal's data too: whoever takes it says which one it was.
  await call("POST", `/v1/intents/${id}/signals/${name}`, { data: { sent: key } }, { key });
}

/** Gives an intent that waits whatever it waits for. `key` is new each time; `random` chooses between what may be chosen. */
export async function give(call: Call, id: string, key: string, random: () => number): Promise<void> {
  const { body } = await call("GET", `/v1/intents/${id}/steps`);
  for (const step of (body.steps ?? []) as Json[]) {
    const at = `/v1/intents/${id}/steps/${encodeURIComponent(step.key)}`;
    // What a step was to send has to be sent: nobody can say its ids for it.
    const settled = random() < 0.5 && !step.key.includes("send") ? { done: "settled" } : { retry: true };
    if (step.status === "interrupted") await call("POST", `${at}/decide`, settled, { key });
    if (step.status !== "waiting") continue;
    if (step.wait?.signal !== undefined) await sendSignal(call, id, step.wait.signal, key);
    if (step.wait?.human_task !== undefined) {
      const task_result = { outcome: random() < 0.5 ? "yes" : "no" };
      await call("POST", `/v1/intents/${id}/resume`, { task_result, step: step.key });
    }
  }
}
