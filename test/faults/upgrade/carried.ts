// Work that is in every state that waits when the upgrade comes, and is taken up only after it: held with a step done, queued, paused.

import type { Violation } from "../../../server/verify/log-rules.ts";
import type { Json } from "../../judge/history.ts";
import { violation } from "../../judge/verdict.ts";
import { type Call, openCalls } from "../suite/calls.ts";

const ADDRESS = "carried-over";
const EACH = 5;
/** Longer than any run: the holder says nothing meanwhile. */
const LEASE_SECONDS = 3_600;

interface Carried {
  readonly id: string;
  readonly key: string;
  readonly body: Json;
  readonly kind: "held" | "queued" | "paused";
}

const KINDS: readonly Carried["kind"][] = ["held", "queued", "paused"];

/** Asks an old server for all of it. */
export async function carryOver(url: string): Promise<readonly Carried[]> {
  const call = openCalls(url, fetch);
  const carried: Carried[] = [];
  for (const kind of KINDS) {
    for (let n = 0; n < EACH; n += 1) {
      const key = `${ADDRESS}-${kind}-${n}`;
      const payload = { mark: key, steps: 0, ms: 0 };
      const body = {
        intent_type: "carried.v1",
        to_agent: `${ADDRESS}-${kind}-${n}`,
        payload,
        steps: ["a", "b"],
      };
      const { body: created } = await call("POST", "/v1/intents", body, { key });
      const one: Carried = { id: created.intent_id, key, body, kind };
      if (kind === "held") await beginWork(call, one);
      if (kind === "paused") await call("POST", `/v1/intents/${one.id}/pause`, {});
      carried.push(one);
    }
  }
  return carried;
}

/** By a new server: each create is repeated, each intent goes on where it stood and ends. What did not is told. */
export async function finishCarried(url: string, carried: readonly Carried[]): Promise<Violation[]> {
  const call = openCalls(url, fetch);
  const found: Violation[] = [];
  for (const one of carried) {
    const repeated = await call("POST", "/v1/intents", one.body, { key: one.key });
    if (repeated.body.intent_id !== one.id)
      found.push(violation("I11", one.id, `its key made ${repeated.body.intent_id} after the upgrade`));
    if (one.kind === "paused") await call("POST", `/v1/intents/${one.id}/unpause`, {});
    const attempt = one.kind === "held" ? 1 : await beginWork(call, one);
    await call("PUT", `/v1/intents/${one.id}/steps/b`, { status: "done", attempt, result: 2 });
    const { body } = await call("GET", `/v1/intents/${one.id}`);
    const { status, lost_deliveries } = (body.intent ?? {}) as Json;
    if (status !== "COMPLETED" || lost_deliveries !== 0)
      found.push(
        violation(
          "I1",
          one.id,
          `${one.kind} before the upgrade, after it ${status}, ${lost_deliveries} lost`,
        ),
      );
  }
  return found;
}

/** As far as the first of its two steps; the answer is the attempt. */
async function beginWork(call: Call, { id, body }: Carried): Promise<number> {
  const claim = { consumer: "carrier", wait_seconds: 10, lease_seconds: LEASE_SECONDS };
  const { body: claimed } = await call("POST", `/v1/agents/${body.to_agent}/claim`, claim);
  const { attempt } = (claimed.deliveries?.[0] ?? {}) as Json;
  await call("POST", `/v1/intents/${id}/start`, { attempt });
  await call("PUT", `/v1/intents/${id}/steps/a`, { status: "done", attempt, result: 1, begin_next: true });
  return attempt;
}
