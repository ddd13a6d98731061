// An intent as what would send it once more. Whatever it holds is quoted: a payload may be anything.

import { pretty } from "./format.ts";
import type { Intent, Step } from "./wire.ts";

const SDK = "@perdure/sdk";

const declared = (intent: Intent, steps: readonly Step[]): string[] =>
  intent.plan_by === "sender" ? steps.map(({ key }) => key) : [];

function given(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const isThere = (one: unknown) =>
    one !== undefined && one !== null && !(typeof one === "object" && Object.keys(one).length === 0);
  return Object.fromEntries(Object.entries(values).filter(([, one]) => isThere(one)));
}

const shellQuoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

export function curlOf(intent: Intent, steps: readonly Step[]): string {
  const body = given({
    intent_type: intent.intent_type,
    to_agent: intent.address,
    payload: intent.payload ?? {},
    steps: declared(intent, steps),
    session: intent.session,
    metadata: intent.metadata,
  });
  return [
    `curl -X POST ${location.origin}/v1/intents \\`,
    `  -H "x-api-key: $PERDURE_API_KEY" -H "content-type: application/json" \\`,
    `  -d ${shellQuoted(pretty(body))}`,
  ].join("\n");
}

export function sdkOf(intent: Intent, steps: readonly Step[]): string {
  const input = given({
    intentType: intent.intent_type,
    toAgent: intent.address,
    payload: intent.payload ?? {},
    steps: declared(intent, steps),
    session: intent.session,
    metadata: intent.metadata,
  });
  return `import { PerdureClient } from ${JSON.stringify(SDK)};

const client = new PerdureClient({ baseUrl: ${JSON.stringify(location.origin)} });
const id = await client.sendIntent(${pretty(input)});
console.log(await client.waitFor(id));
await client.close();`;
}
