// Owns: one life of an agent: the SDK's own runs, on a connection and with timers that end with it. Must not: decide what goes wrong.
import type { Delivery } from "../deliveries.ts";
import { Holdings } from "../holdings.ts";
import { Http, type HttpOptions, type HttpRequest } from "../http.ts";
import type { Logger } from "../logger.ts";
import { listSteps, type Steps } from "../plan.ts";
import { type Handler, Run, type Work } from "../run.ts";
import type { ProcessTimers } from "./clock.ts";
import { pointsOf } from "./faults.ts";
import { describeDelivery } from "./story.ts";

/** What of a process a simulation wants to know and may interfere with. */
export interface Watcher {
  /** The process comes to these points, all in one: `act` does it. May never settle, as what a dead process waits for. */
  pass<T>(
    process: Process,
    points: readonly string[],
    act: () => Promise<T>,
    about?: (done: T) => string,
  ): Promise<T>;
  tell(process: Process, what: string): void;
}

export interface ProcessSetup {
  name: string;
  address: string;
  watcher: Watcher;
  timers: ProcessTimers;
  http: Pick<HttpOptions, "baseUrl" | "fetch">;
}

export class Process {
  readonly name: string;
  readonly address: string;
  readonly timers: ProcessTimers;
  /** Intents that its runs have sent. */
  readonly sent: string[] = [];
  alive = true;
  /** What it asked for is done by the world outside right now. */
  asking = 0;
  /** Fell silent in these places. */
  silent = 0;
  readonly #setup: ProcessSetup;
  readonly #http: Http;
  readonly #holdings = new Holdings();
  readonly #planNext = new Map<string, string>();
  readonly #logger: Logger;
  #work: Work | undefined;

  constructor(setup: ProcessSetup) {
    const { name, address, timers, http } = setup;
    this.#setup = setup;
    this.name = name;
    this.address = address;
    this.timers = timers;
    this.#http = new WatchedHttp(
      { apiKey: undefined, maxRetries: 3, coalesce: false, ...http },
      (request, send) => this.#ask(request, send),
    );
    const says = (line: unknown) => setup.watcher.tell(this, `says: ${line}`);
    this.#logger = { debug() {}, info() {}, warn: says, error: says };
  }

  /** What its main module would listen with. Throws for what cannot be listened with. */
  run(handlerOrSteps: Handler | Steps): void {
    this.#work =
      typeof handlerOrSteps === "function"
        ? { handler: handlerOrSteps }
        : { steps: listSteps(handlerOrSteps) };
  }

  get atWork(): boolean {
    return this.alive && this.#holdings.runs.length > 0;
  }

  get steps(): string[] {
    return this.#holdings.runs.flatMap((run) => run.currentStep ?? []);
  }

  onDelivery(delivery: Delivery): void {
    const { intent_id, attempt, plan_by, next_step } = delivery;
    const { watcher } = this.#setup;
    const work = this.#work;
    if (!this.alive || work === undefined) return;
    watcher.tell(this, describeDelivery(delivery));
    if (this.#holdings.knows(intent_id, attempt)) return;
    const first = "steps" in work && plan_by === null ? work.steps[0]?.key : next_step?.key;
    if (first !== undefined) this.#planNext.set(intent_id, first);
    const hooks = {
      onOver: (run: Run, known: boolean) => this.#holdings.remove(run, known),
      onHandedBack() {},
      onRefusedKey() {},
    };
    this.#holdings.add(new Run(delivery, work, this.#http, this.#logger, hooks, this.timers));
  }

  /** As at SIGTERM. */
  drain(): void {
    for (const run of this.#holdings.runs) run.attempt.windDown("draining");
  }

  /** As at `kill -9`: nothing it waits for will ever come. */
  kill(): void {
    this.alive = false;
    this.timers.end();
  }

  async #ask(request: HttpRequest, send: () => Promise<any>): Promise<any> {
    const points = pointsOf(request, this.#planNext.get(request.path.split("/")[3] ?? ""));
    const answer = await this.#setup.watcher.pass(this, points, send);
    if (points[0]?.startsWith("send "))
      this.sent.push(
        ...(answer.intents ?? [answer]).map(({ intent_id }: { intent_id: string }) => intent_id),
      );
    return answer;
  }
}

type Ask = (request: HttpRequest, send: () => Promise<any>) => Promise<any>;

/** The SDK's own way to a server, with somebody between it and whoever asks. */
class WatchedHttp extends Http {
  readonly #ask: Ask;

  constructor(options: HttpOptions, ask: Ask) {
    super(options);
    this.#ask = ask;
  }

  override send(request: HttpRequest): Promise<any> {
    let tries = 0;
    // What is asked again has to be answered in full, as the answer to the first time was never seen.
    const send = () => super.send(tries++ === 0 ? request : { ...request, brief: false });
    return this.#ask(request, send);
  }
}
