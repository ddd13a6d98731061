// Owns what a command gets to know of its delivery: the environment and the JSON on stdin. Must not run it.
import { type Api, intentPath, type Json } from "./api.ts";
import { isRefusal } from "./failure.ts";
import { CONTROL_DIR } from "./hand-back.ts";

/** One delivery's working set, as the wire has it; waits for a server that is away, as everything inside a delivery does. */
export async function fetchDelivery(api: Api, id: string, attempt: number): Promise<Json> {
  const { delivery } = await api.get(intentPath(id, "delivery"), { attempt }, { patient: true });
  return delivery;
}

/** Whether a refusal says that the attempt is not ours (any more), or that nothing may begin now. */
export function isAttemptOver(thrown: unknown): boolean {
  return isRefusal(thrown) && (thrown.status === 409 || thrown.status === 404);
}

/** Results of the done steps by key: what most commands look for first. */
export function resultsOf(delivery: Json): Record<string, unknown> {
  const done = (delivery.steps ?? []).filter((step: Json) => step.status === "done");
  return Object.fromEntries(done.map((step: Json) => [step.key, step.result ?? null]));
}

export interface StepView {
  readonly key: string;
  readonly idempotencyKey: string;
  readonly tries: number;
  readonly interrupted: boolean;
}

/** The delivery, the results so far, and the step if there is one, on one line. */
export function commandInput(
  delivery: Json,
  results: Readonly<Record<string, unknown>>,
  step?: StepView,
): string {
  const view = step && {
    key: step.key,
    idempotency_key: step.idempotencyKey,
    tries: step.tries,
    interrupted: step.interrupted,
  };
  return `${JSON.stringify({ ...delivery, results, ...(view === undefined ? {} : { step: view }) })}\n`;
}

/** The environment of a command: ours, the way to the server, and what it works on. */
export function commandEnv(
  base: Readonly<Record<string, string | undefined>>,
  api: Api,
  work: {
    id: string;
    attempt: number;
    step?: string | undefined;
    idempotencyKey: string;
    controlDir?: string | undefined;
  },
): Record<string, string | undefined> {
  return {
    ...base,
    PERDURE_URL: api.baseUrl,
    PERDURE_API_KEY: api.apiKey,
    PERDURE_INTENT_ID: work.id,
    PERDURE_ATTEMPT: String(work.attempt),
    // Also when there is none: one of an outer command would be a lie.
    PERDURE_STEP: work.step,
    PERDURE_IDEMPOTENCY_KEY: work.idempotencyKey,
    [CONTROL_DIR]: work.controlDir,
  };
}
