// Owns: how an attempt begins and ends: the fence, delivery, loss, hand-back, retry, and the end of an intent.
import type { Status, Wire } from "../../intents.ts";
import { isOver, log, type Model, type ModelIntent, type ModelStep, refusal } from "./shapes.ts";

const MAX_TOTAL_LOSSES = 100;

/** Refuses a write whose attempt is not the current, open one; each stale attempt leaves one trace. */
export function requireOpen(model: Model, intent: ModelIntent, attempt: number, operation: string): void {
  if (attempt === intent.attempt && intent.holder !== null) return;
  if (attempt <= intent.attempt && attempt > intent.refusedAttempt) {
    intent.refusedAttempt = attempt;
    log(model, intent, "stale_write_refused", { attempt, operation });
  }
  const why = isOver(intent)
    ? `the intent is ${intent.status}`
    : attempt === intent.attempt
      ? "that attempt has ended"
      : `the current attempt is ${intent.attempt}`;
  throw refusal(
    "stale_attempt",
    `attempt ${attempt} may no longer write: ${why}. Stop working on this intent`,
    {
      attempt,
      current_attempt: intent.attempt,
      status: intent.status,
    },
  );
}

export const isClaimable = (model: Model, intent: ModelIntent): boolean =>
  intent.holder === null &&
  intent.status !== "WAITING" &&
  !isOver(intent) &&
  (intent.availableAt === null || intent.availableAt <= model.now());

export function deliver(model: Model, intent: ModelIntent, holder: string): void {
  const redelivered = intent.attempt > 0;
  intent.attempt += 1;
  intent.holder = holder;
  intent.started = false;
  intent.availableAt = null;
  intent.deliveredAt = model.now();
  if (intent.status === "SUBMITTED") intent.status = "DELIVERED";
  log(model, intent, "delivered", { consumer: holder, redelivered });
}

export function atWork(model: Model, intent: ModelIntent): void {
  if (intent.status === "IN_PROGRESS") return;
  intent.status = "IN_PROGRESS";
  log(model, intent, "in_progress");
}

/** A step newly done clears what counts against the intent. */
export function progressed(intent: ModelIntent): void {
  intent.strikes = 0;
  intent.retriesUsed = 0;
  intent.releases = 0;
}

export const policyOf = (intent: ModelIntent, step: ModelStep): "retry" | "fail" | "ask" =>
  step.onInterrupt ?? intent.sent.on_interrupt ?? "retry";

/** Ends the open attempt: what runs is in doubt from here on; what was begun and never run is not. */
function closeAttempt(model: Model, intent: ModelIntent, notRun: readonly string[] = []): ModelStep[] {
  const open = intent.openSteps.map((key) => intent.steps.get(key) as ModelStep);
  intent.openSteps = [];
  intent.holder = null;
  intent.started = false;
  const interrupted = open.filter((step) => !notRun.includes(step.key));
  for (const step of open) {
    step.status = "interrupted";
    if (interrupted.includes(step)) {
      step.interrupted = true;
      continue;
    }
    step.tries -= 1;
    step.startedAt = null;
    if (!step.interrupted) step.status = "planned";
  }
  for (const step of interrupted)
    log(model, intent, "step_interrupted", {
      key: step.key,
      tries: step.tries,
      on_interrupt: policyOf(intent, step),
    });
  return interrupted;
}

/** What interrupted steps ask for: true when the intent goes on by itself. */
function settleDoubt(model: Model, intent: ModelIntent, interrupted: readonly ModelStep[]): boolean {
  const failing = interrupted.find((step) => policyOf(intent, step) === "fail");
  if (failing !== undefined) {
    const message = `step ${JSON.stringify(failing.key)} was interrupted and its on_interrupt is "fail"`;
    const details = { step: failing.key, tries: failing.tries };
    const error = { code: "step_interrupted", message, retryable: false, details };
    end(model, intent, { status: "FAILED", error });
    return false;
  }
  const asking = interrupted.filter((step) => policyOf(intent, step) === "ask").map((step) => step.key);
  if (asking.length === 0) return true;
  intent.status = "WAITING";
  intent.reason = "WAITING_FOR_HUMAN";
  intent.openSteps = asking;
  log(model, intent, "waiting", { reason: intent.reason, steps: asking, question: "in_doubt" });
  return false;
}

/** The agent died, fell silent or took too long: the only thing that counts against the intent. */
export function lose(model: Model, intent: ModelIntent, reason: string): void {
  intent.strikes += 1;
  intent.totalLosses += 1;
  const most = intent.sent.max_delivery_attempts ?? 3;
  const counts = { lost_deliveries: intent.strikes, max_delivery_attempts: most };
  log(model, intent, "lost", { reason, consumer: intent.holder, attempt: intent.attempt, ...counts });
  const interrupted = closeAttempt(model, intent);
  if (intent.strikes < most && intent.totalLosses < MAX_TOTAL_LOSSES) {
    if (settleDoubt(model, intent, interrupted)) log(model, intent, "redelivery_scheduled", { reason });
    return;
  }
  const capped = intent.strikes >= most;
  const cap = capped ? "max_delivery_attempts" : "max_total_losses";
  const details = { ...counts, total_losses: intent.totalLosses, delivery_attempt: intent.attempt, cap };
  log(model, intent, "delivery_failed", details);
  const message = capped
    ? `${intent.strikes} deliveries in a row were lost without progress`
    : `${intent.totalLosses} deliveries were lost in all`;
  const error = { code: "delivery_attempts_exhausted", message, retryable: false, details };
  end(model, intent, { status: "FAILED", error });
}

/** Handed back in order: costs nothing; repeated without progress it waits longer each time. */
export function release(
  model: Model,
  intent: ModelIntent,
  body: { not_run?: string[]; reason?: string },
): void {
  intent.releases += 1;
  const delayMs = intent.releases <= 1 ? 0 : Math.min(30_000, 100 * 2 ** intent.releases);
  if (delayMs > 0) intent.availableAt = model.now() + delayMs;
  const notRun = intent.openSteps.filter((key) => body.not_run?.includes(key));
  log(model, intent, "released", { reason: body.reason ?? "released", attempt: intent.attempt });
  settleDoubt(model, intent, closeAttempt(model, intent, notRun));
}

/** The attempt ends because its handler waits. */
export function letGo(intent: ModelIntent): void {
  intent.holder = null;
  intent.started = false;
  intent.openSteps = [];
}

/** Whether the handler's own failure may be tried again: by the intent's retry policy. */
export const mayRetry = (intent: ModelIntent, retryable: boolean): boolean =>
  retryable && intent.sent.retry != null && intent.retriesUsed < (intent.sent.retry.max_retries ?? 0);

/** The handler itself failed, and may try again later. */
export function scheduleRetry(
  model: Model,
  intent: ModelIntent,
  error: Wire,
  delayMs: number | undefined,
): void {
  intent.retriesUsed += 1;
  const { initial_delay_ms = 1_000, factor = 2, max_delay_ms = 300_000, max_retries } = intent.sent.retry;
  const whole = Math.min(max_delay_ms, initial_delay_ms * factor ** (intent.retriesUsed - 1));
  intent.availableAt = model.now() + (delayMs ?? whole);
  log(model, intent, "retry_scheduled", { retry: intent.retriesUsed, max_retries, error });
  settleDoubt(model, intent, closeAttempt(model, intent));
}

export interface Ending {
  status: Status;
  result?: unknown;
  error?: Wire;
  /** Identifies the write for replays. */
  digest?: string;
}

export function end(model: Model, intent: ModelIntent, { status, result, error, digest }: Ending): void {
  if (intent.holder !== null) closeAttempt(model, intent);
  intent.status = status;
  intent.reason = null;
  intent.openSteps = [];
  intent.availableAt = null;
  intent.ending = digest ?? null;
  intent.result = result ?? null;
  intent.error = error ?? null;
  log(model, intent, status.toLowerCase(), status === "COMPLETED" ? { result: intent.result } : { error });
  if (status === "CANCELED" || status === "TIMED_OUT")
    for (const child of childrenOf(model, intent))
      if (!isOver(child) && child.sent.detached !== true)
        end(model, child, { status: "CANCELED", error: canceled("its parent has ended") });
}

const canceled = (message: string): Wire => ({ code: "canceled", message, retryable: false });

export const childrenOf = (model: Model, { id }: ModelIntent): ModelIntent[] =>
  [...model.intents.values()].filter(({ sent }) => sent.parent_intent_id === id);

export function cancel(model: Model, intent: ModelIntent, reason: string): void {
  if (intent.status === "CANCELED") return;
  if (isOver(intent)) throw refusal("intent_terminal", `the intent already ended as ${intent.status}`);
  end(model, intent, { status: "CANCELED", error: canceled(reason) });
}
