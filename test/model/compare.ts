// Lays the model's intents beside what the server shows of them: null, or what differs.

import type { Model, ModelIntent, ModelStep, StateOf } from "./shapes.ts";
import { checkpointText, type Seen, stateText, stepText } from "./sight.ts";
import { doneCount } from "./steps.ts";

export function compare(model: Model, intent: ModelIntent, shown: Seen): string | null {
  const expected = intent.log.map(entryText);
  const logged = shown.log.map(entryText);
  if (JSON.stringify(expected) !== JSON.stringify(logged))
    return `the log should be ${expected.slice(-6).join(" ")}, but ends ${logged.slice(-6).join(" ")}`;
  const own = viewOf(intent);
  for (const [name, value] of Object.entries(own))
    if (shown[name as keyof typeof own] !== value)
      return `${name} should be ${value}, but is ${String(shown[name as keyof typeof own])}`;
  return (
    compareDelay(intent, shown.availableAt) ??
    compareSteps(
      stepTexts(model, intent.steps),
      shown.steps.map((step) => step.text),
    )
  );
}

const entryText = ({ type, status, attempt, note }: ModelIntent["log"][number]): string =>
  `${type}/${status}/${attempt}${note === "" ? "" : `(${note})`}`;

const viewOf = (intent: ModelIntent) => ({
  status: intent.status,
  attempt: intent.attempt,
  strikes: intent.strikes,
  paused: intent.paused,
  reason: intent.reason,
  result: JSON.stringify(intent.result),
  error: intent.error,
  progress: `${doneCount(intent)} of ${intent.plan ? intent.steps.filter((step) => step.declared).length : "any"}`,
  state: entriesText(intent.state),
  checkpoints: checkpointText(intent.checkpoints.map((one) => ({ ...one, steps_done: one.stepsDone }))),
});

export const entriesText = (state: StateOf): string =>
  stateText(Object.entries(state).map(([key, entry]) => ({ key, ...entry })));

function compareDelay(intent: ModelIntent, shown: number | null): string | null {
  const { chosenDelay, availableAt } = intent;
  if (chosenDelay !== null && shown !== null && shown >= chosenDelay.least && shown <= chosenDelay.most)
    return null;
  return availableAt === shown ? null : `it should be away until ${availableAt}, but is until ${shown}`;
}

export const stepTexts = (model: Model, steps: readonly Readonly<ModelStep>[]): string[] =>
  steps.map((step) => stepText({ ...step, wait: waitText(model, step) }));

function waitText(model: Model, { wait }: Readonly<ModelStep>): string {
  if (wait === null) return "";
  const timeout = wait.kind === "time" || wait.timeoutAt === null ? "" : ` ${wait.timeoutAt}`;
  switch (wait.kind) {
    case "time":
      return `time ${wait.until}`;
    case "signal":
      return `signal ${wait.name}${timeout}`;
    case "children":
      return `children ${wait.of.map((n) => model.intents[n]?.id)}${timeout}`;
    case "human":
      return `human${timeout}${wait.ends ? " ends" : ""}`;
  }
}

export function compareSteps(expected: readonly string[], shown: readonly string[]): string | null {
  const [own, other] = [expected, shown].map((texts) => [...texts].sort().join(" "));
  return own === other ? null : `the steps should be ${own}, but are ${other}`;
}
