// An agent as a process of its own, for tests that send it signals. Step two is at work until a file named in the payload exists.
import { existsSync } from "node:fs";
import { PerdureClient, type Step } from "@perdure/sdk";

const [, , url, address] = process.argv;
const client = new PerdureClient({ baseUrl: url ?? "" });
const agent = client.listen<{ file: string }>(address ?? "", {
  one: () => 1,
  two: async (ctx, step: Step) => {
    console.info(`step two began ${step.idempotencyKey}`);
    while (!existsSync(ctx.payload.file)) await new Promise((resolve) => setTimeout(resolve, 10));
    return 2;
  },
  three: () => 3,
});
await agent.closed;
