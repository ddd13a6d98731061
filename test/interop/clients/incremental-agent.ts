// `listen` as AXME's Python SDK has it: events are taken as they come.

import { type AgentOptions, asItComes, startAgent, type WindowAgent } from "./windows.ts";

export const startIncrementalAgent = (options: AgentOptions): WindowAgent => startAgent(options, asItComes);
