// What the server shows of an intent, read over HTTP and put so that the model's own can be laid beside it.

import { call } from "../support/server.ts";
import { ownScope, plain, scopeName } from "./requests.ts";
import type { LogEntry, StepStatus } from "./shapes.ts";
import { writeNote } from "./state.ts";

export interface SeenStep {
  readonly key: string;
  readonly text: string;
  /** Null once superseded: nobody is handed that one out again. */
  readonly idempotencyKey: string | null;
}

/** What the server shows of one intent. */
export interface Seen {
  readonly id: string;
  readonly log: readonly (LogEntry & { readonly consumer: string | null })[];
  readonly status: string;
  readonly attempt: number;
  readonly strikes: number;
  readonly paused: boolean;
  readonly reason: string | null;
  readonly result: string;
  readonly error: string | null;
  readonly progress: string;
  readonly availableAt: number | null;
  readonly steps: readonly SeenStep[];
  readonly state: string;
  readonly checkpoints: string;
}

export interface Sight {
  readonly intents: ReadonlyMap<string, Seen>;
  /** State that the intents of a run share. */
  readonly shared: string;
}

// biome-ignore lint/suspicious/noExplicitAny: the wire is what is being judged
type Wire = any;

interface Shown {
  readonly key: string;
  readonly status: StepStatus;
  readonly tries: number;
  readonly doubt: boolean;
  readonly declared: boolean;
  readonly result: unknown;
  readonly final: boolean;
  readonly wait: string;
}

/** One step in a line: the model's and the server's are compared by it. */
export const stepText = (step: Shown): string =>
  [
    step.key,
    step.status,
    step.tries,
    step.doubt ? "in doubt" : "",
    step.declared ? "declared" : "",
    step.status === "done" ? JSON.stringify(step.result) : "",
    step.status === "failed" && step.final ? "final" : "",
    step.wait,
  ].join(":");

export function shownStep(step: Wire): SeenStep {
  const { key, status, tries, declared, interrupted } = step;
  const result = plain(step.result ?? null);
  const shown = { key, status, tries, declared, doubt: interrupted, result };
  return {
    key,
    text: stepText({ ...shown, final: step.error?.final === true, wait: waitText(step.wait) }),
    idempotencyKey: status === "superseded" ? null : step.idempotency_key,
  };
}

function waitText(wait: Wire): string {
  if (wait === undefined) return "";
  const timeout = wait.timeout_at === undefined ? "" : ` ${Date.parse(wait.timeout_at)}`;
  if (wait.until !== undefined) return `time ${Date.parse(wait.until)}`;
  if (wait.signal !== undefined) return `signal ${wait.signal}${timeout}`;
  if (wait.intents !== undefined) return `children ${wait.intents}${timeout}`;
  return `human${timeout}${wait.ends_intent === true ? " ends" : ""}`;
}

export const stateText = (
  entries: readonly { key: string; version: number; value?: unknown; deleted?: boolean }[],
): string =>
  entries
    .filter((entry) => entry.deleted !== true)
    .map(({ key, version, value }) => `${key}@${version}=${JSON.stringify(value)}`)
    .sort()
    .join(" ");

export const checkpointText = (
  checkpoints: readonly { name: string; seq: number; steps_done: number }[],
): string =>
  checkpoints
    .map(({ name, seq, steps_done }) => `${name}@${seq} ${steps_done}`)
    .sort()
    .join(", ");

/** What an entry tells beside its type. */
function noteOf(type: string, details: Wire): string {
  switch (type) {
    case "step_running":
    case "step_done":
    case "step_failed":
    case "step_interrupted":
    case "step_waiting":
    case "human_task_assigned":
      return details.key;
    case "step_decided":
      return `${details.key} ${details.decision}`;
    case "waiting":
      return `${details.reason} ${[...details.steps].sort()}`;
    case "resumed":
      return String(details.steps);
    case "signaled":
      return `${details.name} ${JSON.stringify(details.data)} ${details.taken_by ?? ""}`;
    case "state_changed":
      return details.writes
        .map(({ scope, key, version, deleted, value }: Wire) =>
          writeNote(scopeName(scope), key, version, deleted === true ? null : JSON.stringify(value)),
        )
        .join(" ");
    case "checkpoint_named":
      return details.name;
    case "restored":
      return String(details.to);
    default:
      return "";
  }
}

/** Reads an intent; what has not changed by its view, which carries the log's length, is not read again. */
export class Reader {
  readonly #server: { readonly url: string };
  readonly #known = new Map<string, { view: string; seen: Seen }>();

  constructor(server: { readonly url: string }) {
    this.#server = server;
  }

  /** Something that the log does not tell of has changed, or everything is to be looked at. */
  forget(): void {
    this.#known.clear();
  }

  async look(id: string): Promise<Seen> {
    const { intent } = await this.#get(`/v1/intents/${id}`);
    const view = JSON.stringify(intent);
    const known = this.#known.get(id);
    if (known?.view === view) return known.seen;
    const [log, steps, state, checkpoints] = await Promise.all([
      this.#get(`/v1/intents/${id}/events?limit=200`),
      this.#get(`/v1/intents/${id}/steps`),
      this.#get(`/v1/state/${encodeURIComponent(ownScope(id))}`),
      this.#get(`/v1/intents/${id}/checkpoints`),
    ]);
    log.events.forEach((event: { seq: number }, n: number) => {
      if (event.seq !== n + 1) throw new Error(`event ${n + 1} of ${id} has seq ${event.seq}`);
    });
    const seen: Seen = {
      id,
      log: log.events.map((event: Wire) => {
        const type = String(event.event_type).replace("intent.", "");
        const consumer = type === "delivered" ? String(event.details.consumer) : null;
        return {
          type,
          status: event.status,
          attempt: event.attempt,
          note: noteOf(type, event.details),
          consumer,
        };
      }),
      status: intent.status,
      attempt: intent.attempt,
      strikes: intent.lost_deliveries,
      paused: intent.paused,
      reason: intent.lifecycle_waiting_reason,
      result: JSON.stringify(plain(intent.result)),
      error: intent.error?.code ?? null,
      progress: `${intent.progress.done} of ${intent.progress.total ?? "any"}`,
      availableAt: intent.deliver_at === undefined ? null : Date.parse(intent.deliver_at),
      steps: steps.steps.map(shownStep),
      state: stateText(state.entries),
      checkpoints: checkpointText(checkpoints.checkpoints),
    };
    // Between the requests it may have gone on: then the next look tells.
    if (seen.log.length === intent.seq) this.#known.set(id, { view, seen });
    return seen;
  }

  async shared(scope: string): Promise<string> {
    return stateText((await this.#get(`/v1/state/${encodeURIComponent(scope)}`)).entries);
  }

  async stepsAt(id: string, seq: number): Promise<SeenStep[]> {
    return (await this.#get(`/v1/intents/${id}/steps?seq=${seq}`)).steps.map(shownStep);
  }

  /** The lines of an export, by kind. */
  async exported(id: string): Promise<{ signals: Wire[]; versions: Wire[] }> {
    const text = await (await fetch(`${this.#server.url}/v1/intents/${id}/export`)).text();
    const lines: Wire[] = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const of = (kind: string) => lines.filter((line) => line.kind === kind);
    return { signals: of("signal"), versions: of("state") };
  }

  async #get(path: string): Promise<Wire> {
    const answer = await call(this.#server, "GET", path);
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
}
