// Owns finding the intent a person means by the end of its id. Must not show anything.
// The end, because ids made in the same minute share their beginning.
import type { Api, Json } from "./api.ts";
import { CliError, EXIT, UsageError } from "./exit-codes.ts";

const FULL = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const TAIL = /^[0-9a-f-]{6,36}$/;

/** The full id. A full one is taken as it is, without asking the server. */
export async function resolveId(api: Api, given: string): Promise<string> {
  const text = given.trim().toLowerCase();
  if (FULL.test(text)) return text;
  if (!TAIL.test(text)) {
    throw new UsageError(
      `${JSON.stringify(given)} is not an intent id; give the whole id or its last 6 or more characters`,
    );
  }
  const { intents } = (await api.get("/v1/intents", { id_tail: text, limit: 2 })) as { intents: Json[] };
  const [only, another] = intents;
  if (only === undefined) throw new CliError(`no intent's id ends in ${text}`, EXIT.failed, "not_found");
  if (another !== undefined) {
    const listed = intents
      .map((intent) => `  ${intent.intent_id} ${intent.status} ${intent.intent_type}`)
      .join("\n");
    throw new UsageError(`several ids end in ${text}; give more characters. Among them:\n${listed}`);
  }
  return only.intent_id;
}

export function resolveIds(api: Api, given: readonly string[]): Promise<string[]> {
  return Promise.all(given.map((id) => resolveId(api, id)));
}
