// POST /v1/batch: many calls in one request. They reach the group commit together; each has its own answer.

import type { FastifyRequest } from "fastify";
import { PerdureError } from "../../errors.ts";
import type { Batchable, Operation, OperationAnswer } from "../batching.ts";
import { problemFor } from "../problem.ts";
import type { App, RouteDeps } from "./deps.ts";

const DESCRIPTION = `Each operation is a call of its own: \`op\` names it, \`intent_id\`, \`consumer_id\`, \`watcher\` and \`key\` are what its path holds, \`body\` is its
body, \`idempotency_key\` its header. Operations on one intent are done in order; all others together, in one commit where nothing holds them
apart. A refused one costs its neighbours nothing. \`results\` has one answer each, in order: \`status\` and \`body\` as the call would
have given, \`retry_after\` in seconds, \`replayed\`. What is not decided within PERDURE_BATCH_PATIENCE_MS is answered 503 \`undecided\`: it may yet be
done; make that call again by itself.`;

export function batchRoutes(app: App, { limits, schemas }: RouteDeps): void {
  app.post(
    "/v1/batch",
    {
      bodyLimit: limits.batchBodyMaxBytes,
      // Each operation needs what its own route needs.
      config: { needs: "key" },
      schema: {
        body: schemas.batch,
        tags: ["batch"],
        summary: "Up to 1,000 calls in one request",
        description: DESCRIPTION,
      },
    },
    async (request) => {
      const { ops } = request.body;
      return { ok: true, results: await runAll(app.batchable, request, ops, limits.batchPatienceMs) };
    },
  );
}

/** All answers. Once nothing more has been decided for a while, what is left is not waited for: the others are not to suffer. */
async function runAll(
  batchable: ReadonlyMap<string, Batchable>,
  request: FastifyRequest,
  ops: readonly Operation[],
  patienceMs: number,
): Promise<OperationAnswer[]> {
  const answers = new Array<OperationAnswer | undefined>(ops.length);
  const patience = new Patience(patienceMs);
  const lastOf = new Map<string, Promise<void>>();
  const running = ops.map((operation, index) => {
    const call = batchable.get(operation.op);
    const run = async (): Promise<void> => {
      answers[index] =
        call === undefined ? unknown(request, operation, batchable) : await call.run(request, operation);
      patience.renew();
    };
    const id = operation.intent_id?.toLowerCase();
    if (id === undefined) return run();
    const done = lastOf.get(id)?.then(run) ?? run();
    lastOf.set(id, done);
    return done;
  });
  await Promise.race([Promise.all(running), patience.over]).finally(() => patience.end());
  return Array.from(answers, (answer) => answer ?? undecided(request));
}

/** Runs from the first renewal on: while the database answers nobody, nobody is ahead of the others. */
class Patience {
  readonly over: Promise<void>;
  #resolve!: () => void;
  #timer: NodeJS.Timeout | undefined;
  readonly #ms: number;

  constructor(ms: number) {
    this.#ms = ms;
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  renew(): void {
    if (this.#timer === undefined) this.#timer = setTimeout(this.#resolve, this.#ms);
    else this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function unknown(
  request: FastifyRequest,
  { op }: Operation,
  batchable: ReadonlyMap<string, Batchable>,
): OperationAnswer {
  const names = [...batchable.keys()].join(", ");
  const { problem } = problemFor(
    request,
    new PerdureError("validation_failed", `"${op}" is no operation of a batch; there are ${names}`),
  );
  return { status: problem.status, body: problem };
}

function undecided(request: FastifyRequest): OperationAnswer {
  const why = new PerdureError(
    "undecided",
    "this took longer than the others should wait; it may yet be done: make this call again by itself",
  );
  const { problem, retryAfterSeconds = 1 } = problemFor(request, why);
  return { status: problem.status, body: problem, retry_after: retryAfterSeconds };
}
