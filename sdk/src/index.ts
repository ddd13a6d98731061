// Owns: what the package offers. Everything not named here is internal.
export type { AgentHandle, ListenOptions } from "./agent.ts";
export type { Retry } from "./backoff.ts";
export { type ClientOptions, type ListFilter, PerdureClient } from "./client.ts";
export type { Context, ProgressUpdate } from "./context.ts";
export type { Duration } from "./duration.ts";
export { type Failure, IntentFailure, type IntentFailureOptions, PerdureError } from "./errors.ts";
export type { Explanation, Intent, IntentEvent, Outcome, Status } from "./intents.ts";
export type { Logger } from "./logger.ts";
export type { ObserveOptions } from "./observe.ts";
export type { StepFn, Steps } from "./plan.ts";
export type { HandedBack, Handler } from "./run.ts";
export type { IntentInput, OnInterrupt, StepPlan } from "./sending.ts";
export type { Entry, State, StateScope, StateWrite } from "./state.ts";
export type { Step, StepOptions, StepState } from "./steps.ts";
export type { WaitOptions } from "./wait-for.ts";
