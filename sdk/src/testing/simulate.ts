// Owns: one simulation: processes that come and go, what goes wrong, who answers, and that it comes to an end. Must not: judge the end.
import { PerdureClient } from "../client.ts";
import { type Duration, describeMs, toMs } from "../duration.ts";
import { Http } from "../http.ts";
import { type IntentEvent, type Outcome, presentEvent, presentOutcome } from "../intents.ts";
import { pages } from "../pages.ts";
import type { Steps } from "../plan.ts";
import type { Handler } from "../run.ts";
import type { IntentInput } from "../sending.ts";
import { type Backend, memoryBackend } from "./backend.ts";
import { ProcessTimers, turn } from "./clock.ts";
import { type Fault, Faults } from "./faults.ts";
import { Book, type EffectOptions, type Ledger } from "./ledger.ts";
import { Process, type Watcher } from "./process.ts";
import { describeQuestion, questionOf } from "./questions.ts";
import { describeOutcome, SimulationFailure, type Story, Tale } from "./story.ts";

/** What a process finds around it. */
export interface World {
  readonly ledger: Ledger;
  /** The time of the simulation, in epoch milliseconds: it passes while everybody waits, as fast as can be. */
  now(): number;
}

/** Called once for each life of an agent, as its main module is: what it keeps in memory goes with the life. */
export type Agent<P = any> = (world: World) => Handler<P> | Steps<P>;

export interface Simulation<P = any> {
  /** Whose work is looked at. */
  agent: Agent<P>;
  /** What it is sent. Default: type `test.v1` to the address `agent` without payload. */
  intent?: Partial<IntentInput<P>>;
  /** Agents at other addresses, for the intents that it sends. Nothing goes wrong with these. */
  others?: Record<string, Agent>;
  /**
   * What others say when the intent waits for them: data of a signal by the signal's name, a decision `{ outcome, comment, data }` by the key
   * of the question, and, for a step in doubt with `onInterrupt: "ask"`, `{ done }`, `"retry"` or `"fail"` by the step's key. Or a function
   * that looks at the world first.
   */
  answers?: Record<string, unknown>;
  /** What goes wrong, in this order. */
  faults?: readonly Fault[];
  /** How long a step may be at work, in real time, before it counts as hanging: its time limit is up then. Default 2 s. */
  patience?: Duration;
}

/**
 * Runs an agent on an intent to its end, against a server in memory, with time that passes as fast as can be. Throws when a fault was never
 * come to, or when it cannot come to an end; the message tells the story up to there.
 */
export function simulate<P = any, R = any>(simulation: Simulation<P>): Promise<Story<R>> {
  return play(memoryBackend(), simulation);
}

export async function play(backend: Backend, simulation: Simulation): Promise<Story> {
  const stage = new Stage(backend, simulation);
  try {
    return await stage.run();
  } finally {
    await stage.close();
  }
}

const NEVER = new Promise<never>(() => undefined);

class Stage implements Watcher {
  readonly #backend: Backend;
  readonly #simulation: Simulation;
  readonly #faults: Faults;
  readonly #http: Http;
  readonly #client: PerdureClient;
  readonly #book = new Book();
  readonly #tale = new Tale();
  readonly #points: string[] = [];
  readonly #processes: Process[] = [];
  readonly #lives = new Map<string, number>();
  /** Processes that fell silent: how they go on, and whether as soon as somebody else has their work. */
  readonly #silent: { readonly goOn: () => void; readonly soon: boolean }[] = [];
  /** Questions that were answered, by intent and place in its log. */
  readonly #answered = new Set<string>();
  readonly #replacing = new Set<Promise<void>>();
  /** Grows with everything that happens. */
  #happened = 0;
  #id = "";

  constructor(backend: Backend, simulation: Simulation) {
    this.#backend = backend;
    this.#simulation = simulation;
    this.#faults = new Faults(simulation.faults ?? []);
    const { baseUrl, fetch } = backend;
    this.#http = new Http({ baseUrl, fetch, apiKey: undefined, maxRetries: 3, coalesce: false });
    this.#client = new PerdureClient({ baseUrl, fetch, coalesce: false, logger: false });
  }

  async run(): Promise<Story> {
    const { intent = {}, others = {} } = this.#simulation;
    const input = { intentType: "test.v1", toAgent: "agent", payload: {}, ...intent };
    for (const [address, agent] of Object.entries(others)) await this.#begin(address, address, agent);
    await this.#begin("agent", input.toAgent, this.#simulation.agent);
    this.#id = await this.#client.sendIntent(input);
    const outcome = await this.#toTheEnd();
    const [left] = this.#faults.left;
    if (left !== undefined) throw this.#failure(`the agent never came to where it should have: "${left}"`);
    this.#tale.add("", describeOutcome(outcome));
    return this.#story(outcome);
  }

  async close(): Promise<void> {
    for (const process of this.#processes) process.kill();
    await this.#client.close();
    this.#http.close();
    await this.#backend.close();
  }

  async pass<T>(
    process: Process,
    points: readonly string[],
    act: () => Promise<T>,
    about: (done: T) => string = () => "",
  ): Promise<T> {
    if (!process.alive) return NEVER;
    const fault = this.#isWatched(process) && points.length > 0 ? this.#meet(points) : undefined;
    if (fault?.when === "before") await this.#suffer(process, fault.fault, points);
    let done = await this.#act(process, points, act, about);
    if (fault === undefined || fault.when === "before") return done;
    if (fault.kind !== "lose reply") await this.#suffer(process, fault.fault, points);
    else {
      this.#note(process, "the answer is lost, and it asks again");
      done = await this.#act(process, points, act, about);
    }
    return done;
  }

  tell(process: Process, what: string): void {
    this.#note(process, what);
  }

  async #act<T>(
    process: Process,
    points: readonly string[],
    act: () => Promise<T>,
    about: (done: T) => string,
  ): Promise<T> {
    process.asking += 1;
    const what = points.join(", ");
    try {
      const done = await act();
      if (!process.alive) return NEVER;
      if (what !== "") this.#note(process, `${what}${about(done)}`);
      return done;
    } catch (error) {
      if (!process.alive) return NEVER;
      const { code = "failed" } = error as { code?: string };
      if (what !== "") this.#note(process, `${what}: refused, ${code}`);
      throw error;
    } finally {
      process.asking -= 1;
    }
  }

  #meet(points: readonly string[]) {
    const fault = this.#faults.meet(points);
    for (const point of points) {
      const nth = this.#points.filter((known) => known.replace(/ \(\d+\)$/, "") === point).length + 1;
      this.#points.push(nth === 1 ? point : `${point} (${nth})`);
    }
    return fault;
  }

  /** What goes wrong at this point happens; settles when the process goes on, if ever. */
  async #suffer(process: Process, fault: Fault, points: readonly string[]): Promise<void> {
    this.#note(process, `✗ ${fault}`);
    if (fault.startsWith("stop")) {
      await this.#replace(process, false);
      process.drain();
      return;
    }
    if (fault.startsWith("crash")) process.kill();
    void this.#replace(process, true);
    if (!process.alive) return NEVER;
    process.silent += 1;
    await new Promise<void>((goOn) => this.#silent.push({ goOn, soon: fault.startsWith("overlap") }));
    process.silent -= 1;
    this.#note(process, `goes on at ${points.join(", ")}`);
  }

  /** Another life takes its place. */
  #replace(process: Process, lost: boolean): Promise<void> {
    const replaced = (async () => {
      await this.#backend.leave(process, lost);
      await this.#begin("agent", process.address, this.#simulation.agent);
    })();
    const over = replaced.finally(() => this.#replacing.delete(over));
    this.#replacing.add(over);
    return over;
  }

  async #begin(role: string, address: string, agent: Agent): Promise<void> {
    const life = (this.#lives.get(role) ?? 0) + 1;
    this.#lives.set(role, life);
    const backend = this.#backend;
    const process = new Process({
      name: role === "agent" ? `agent ${life}` : role,
      address,
      watcher: this,
      timers: new ProcessTimers((ms, callback) => backend.after(ms, callback)),
      http: { baseUrl: backend.baseUrl, fetch: backend.fetch },
    });
    const work: unknown = agent(this.#worldOf(process));
    if (typeof work !== "function" && (typeof work !== "object" || work === null || work instanceof Promise))
      throw new TypeError(
        "`agent` is called with the world and has to answer the handler or the object of steps: write `agent: () => handler`",
      );
    process.run(work as Handler | Steps);
    this.#processes.push(process);
    const watched = this.#isWatched(process);
    await backend.listen({
      name: process.name,
      address,
      onDelivery: (delivery) => {
        const again = watched && this.#meet(["deliver"]) !== undefined;
        process.onDelivery(delivery);
        if (again) process.onDelivery(delivery);
        if (watched) this.#goOn(({ soon }) => soon);
      },
    });
  }

  #worldOf(process: Process): World {
    const book = this.#book;
    const ledger: Ledger = {
      effect: <T>(name: string, options: EffectOptions<T> = {}) => {
        const enter = async () => book.enter(name, options);
        const about = ({ again }: { again: boolean }) => {
          if (again) return ": known by its key, nothing happens";
          const times = book.times(name);
          return times === 1 ? "" : `: for the ${times === 2 ? "2nd" : `${times}th`} time`;
        };
        return this.pass(process, [`effect ${name}`], enter, about).then(({ result }) => result);
      },
      find: (key) => book.find(key),
      times: (name) => book.times(name),
    };
    return { ledger, now: () => this.#backend.now() };
  }

  #isWatched(process: Process): boolean {
    return process.name.startsWith("agent ");
  }

  #note(process: Process, what: string): void {
    this.#happened += 1;
    this.#tale.add(process.name, what);
  }

  async #toTheEnd(): Promise<Outcome> {
    const patienceMs = toMs(this.#simulation.patience ?? "2s");
    let quietSince = performance.now();
    let happened = -1;
    for (;;) {
      await this.#quiet();
      if (this.#happened !== happened) quietSince = performance.now();
      happened = this.#happened;
      if ((await this.#backend.act()) || (await this.#answer())) {
        quietSince = performance.now();
        continue;
      }
      const outcome = await this.#outcome();
      const atWork = this.#processes.some((process) => process.atWork && process.silent === 0);
      if (outcome !== undefined && !atWork && !this.#goOn()) return outcome;
      if ((outcome === undefined || atWork) && (await this.#backend.elapse(!atWork))) continue;
      if (outcome === undefined && !atWork && !this.#goOn()) throw this.#failure(await this.#whyStuck());
      if (performance.now() - quietSince < patienceMs) await new Promise((resolve) => setTimeout(resolve, 1));
      else if (!this.#expire() && !(await this.#backend.elapse(true)))
        throw this.#failure(`nothing has happened for ${describeMs(patienceMs)}, and ${this.#whoWorks()}`);
    }
  }

  /** Settles when nothing can go on by itself: no request is under way, no turn of the event loop brings anything. */
  async #quiet(): Promise<void> {
    for (let before = -1; before !== this.#happened || this.#busy; ) {
      before = this.#happened;
      await Promise.all(this.#replacing);
      await turn();
    }
  }

  get #busy(): boolean {
    return this.#processes.some(({ alive, asking, timers }) => alive && (asking > 0 || timers.soon));
  }

  /** The first that fell silent, of those meant, goes on. False when there is none. */
  #goOn(isMeant: (silent: { soon: boolean }) => boolean = () => true): boolean {
    const at = this.#silent.findIndex(isMeant);
    if (at >= 0) this.#silent.splice(at, 1)[0]?.goOn();
    return at >= 0;
  }

  /** A step hangs: its time limit is up. */
  #expire(): boolean {
    this.#happened += 1;
    return this.#processes.some((process) => process.alive && process.timers.expire());
  }

  async #outcome(): Promise<Outcome | undefined> {
    const { intent } = await this.#http.send({ method: "GET", path: `/v1/intents/${this.#id}` });
    return presentOutcome(intent);
  }

  /** Somebody answers what an intent waits for. False when nobody is asked, or nobody knows. */
  async #answer(): Promise<boolean> {
    for (const id of [this.#id, ...this.#processes.flatMap(({ sent }) => sent)]) {
      const question = questionOf(await this.#events(id));
      if (question === undefined || this.#answered.has(`${id} ${question.place}`)) continue;
      if (!Object.hasOwn(this.#simulation.answers ?? {}, question.name)) continue;
      this.#answered.add(`${id} ${question.place}`);
      const given = this.#simulation.answers?.[question.name];
      const said = typeof given === "function" ? await given(this.#outside()) : given;
      this.#tale.add("somebody", `answers ${question.name}: ${JSON.stringify(said)}`);
      if (question.kind === "signal") await this.#client.signal(id, question.name, said);
      else if (question.kind === "human") await this.#client.decide(id, said, { step: question.name });
      else await this.#client.resolveStep(id, question.name, said);
      return true;
    }
    return false;
  }

  /** The world, for somebody who is no process. */
  #outside(): Pick<World, "now"> & { ledger: Pick<Ledger, "find" | "times"> } {
    const book = this.#book;
    const ledger = { find: (key: string) => book.find(key), times: (name: string) => book.times(name) };
    return { ledger: ledger as Ledger, now: () => this.#backend.now() };
  }

  async #events(id: string): Promise<IntentEvent[]> {
    const events: IntentEvent[] = [];
    const path = `/v1/intents/${id}/events`;
    for await (const event of pages(this.#http, path, { limit: 500 }, "events"))
      events.push(presentEvent(event));
    return events;
  }

  async #story(outcome: Outcome): Promise<Story> {
    const events = await this.#events(this.#id);
    const told = this.#tale.toString();
    return {
      outcome,
      effects: this.#book.effects,
      times: (effect) => this.#book.times(effect),
      events,
      points: this.#points,
      pointsAfterFaults: this.#faults.passed,
      toString: () => told,
    };
  }

  async #whyStuck(): Promise<string> {
    const question = questionOf(await this.#events(this.#id));
    return describeQuestion(question);
  }

  #whoWorks(): string {
    const working = this.#processes.filter((process) => process.atWork);
    const at = working.flatMap(({ name, steps }) =>
      steps.map((key) => `step ${JSON.stringify(key)} of ${name}`),
    );
    return at.length === 0 ? "a handler has not returned" : `${at.join(", ")} has not returned`;
  }

  #failure(why: string): Error {
    return new SimulationFailure(why, this.#tale.toString());
  }
}
