// Owns: what the test kit offers: an agent's handler run against a server in memory, with whatever can go wrong. For tests only.
export { type Exploration, ExplorationFailure, type Explored, explore } from "./explore.ts";
export type { Fault, FaultKind } from "./faults.ts";
export type { Effect, EffectOptions, Ledger } from "./ledger.ts";
export { type Agent, type Simulation, simulate, type World } from "./simulate.ts";
export { SimulationFailure, type Story } from "./story.ts";
