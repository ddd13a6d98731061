// `listen` as AXME's TypeScript and Go SDKs have it: the body is read only at its end. The Go one asks for its next window while its
// agent still works (`buffers`).

import { type AgentOptions, atItsEnd, startAgent, type WindowAgent } from "./windows.ts";

export const startWholeBodyAgent = (options: AgentOptions): WindowAgent => startAgent(options, atItsEnd);
