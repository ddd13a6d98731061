// Owns: what can go wrong, written as a sentence, and when it does. Must not: do it.
import type { HttpRequest } from "../http.ts";
import type { Wire } from "../intents.ts";

/**
 * Something that goes wrong at a point of the work, such as `crash after record charge`. Points are `start`, `begin KEY`, `record KEY`,
 * `wait KEY`, `send KEY`, `write KEY`, `checkpoint NAME`, `complete`, `fail`, `release` and `effect NAME`; `(2)` at the end means the second
 * time. `story.points` lists those that a run came to.
 *
 * - `crash before P`: the process is gone before P happens. `crash after P`: P has happened, and the process never hears of it.
 * - `lose lease before P`: the process falls silent there, the server gives its work to another, and when that has come to its end the first
 *   goes on as if nothing had been. `after`: P happens before the silence.
 * - `overlap before P`, `overlap after P`: the same, but the first goes on as soon as the other has the work: both are at it.
 * - `lose reply to P`: the server has done P and its answer is lost, so that the SDK asks again.
 * - `stop before P`: the process is told to stop, as by a deploy: it finishes the step at work and hands the intent back.
 * - `deliver twice`: the delivery comes a second time, as after a lost acknowledgement.
 */
export type Fault =
  | `${"crash" | "lose lease" | "overlap"} ${"before" | "after"} ${string}`
  | `lose reply to ${string}`
  | `stop before ${string}`
  | "deliver twice";

export type FaultKind = "crash" | "lose lease" | "overlap" | "lose reply" | "stop" | "deliver twice";

interface Parsed {
  readonly fault: Fault;
  readonly kind: FaultKind;
  readonly when: "before" | "after";
  readonly point: string;
  /** The how manieth time. */
  readonly nth: number;
}

const SENTENCE =
  /^(crash|lose lease|overlap|lose reply|stop|deliver twice)(?: (before|after|to) (.+?)(?: \((\d+)\))?)?$/;
const MAY_BE: Record<FaultKind, readonly (string | undefined)[]> = {
  crash: ["before", "after"],
  "lose lease": ["before", "after"],
  overlap: ["before", "after"],
  "lose reply": ["to"],
  stop: ["before"],
  "deliver twice": [undefined],
};

function parse(fault: Fault): Parsed {
  const [, kind, when, point = "deliver", nth = "1"] = SENTENCE.exec(fault) ?? [];
  if (kind === undefined || !MAY_BE[kind as FaultKind].includes(when))
    throw new TypeError(
      `${JSON.stringify(fault)} is not a fault; write one like "crash after record charge"`,
    );
  return {
    fault,
    kind: kind as FaultKind,
    when: when === "before" ? when : "after",
    point,
    nth: Number(nth),
  };
}

/** What went by, and what goes wrong there. Faults come in their order: each counts what comes after the one before it. */
export class Faults {
  readonly #left: Parsed[];
  readonly #counts = new Map<string, number>();
  /** Points since the last fault, each with its count; of several in one the first. */
  readonly passed: { point: string; nth: number }[] = [];

  constructor(faults: readonly Fault[]) {
    this.#left = faults.map(parse);
  }

  /** The faults that nothing has come to. */
  get left(): Fault[] {
    return this.#left.map(({ fault }) => fault);
  }

  /** The work comes to these points, all in one: which fault is to happen here? */
  meet(points: readonly string[]): Parsed | undefined {
    const [next] = this.#left;
    for (const point of points) {
      const nth = (this.#counts.get(point) ?? 0) + 1;
      this.#counts.set(point, nth);
      if (point === points[0]) this.passed.push({ point, nth });
    }
    if (next === undefined || !points.includes(next.point) || this.#counts.get(next.point) !== next.nth)
      return undefined;
    this.#left.shift();
    this.#counts.clear();
    this.passed.length = 0;
    return next;
  }
}

/** Every single fault of these kinds at these points, kind by kind. */
export function faultsAt(
  points: readonly { point: string; nth: number }[],
  kinds: readonly FaultKind[],
): Fault[] {
  const places = points.filter(({ point }) => point !== "deliver");
  return kinds.flatMap((kind): Fault[] => {
    if (kind === "deliver twice") return [kind];
    return places.flatMap(({ point, nth }): Fault[] => {
      const at = nth === 1 ? point : `${point} (${nth})`;
      if (kind === "stop") return [`stop before ${at}`];
      if (kind !== "lose reply") return [`${kind} before ${at}`, `${kind} after ${at}`];
      // What happens outside has no reply that the SDK could ask for again.
      return point.startsWith("effect ") ? [] : [`lose reply to ${at}`];
    });
  });
}

/** What a request means in the story of an intent; nothing for those that only ask or tell. */
export function pointsOf({ method, path, body }: HttpRequest, planNext: string | undefined): string[] {
  const [, noun, , verb, name = ""] = path.slice(1).split("/").map(decodeURIComponent);
  const told = (body ?? {}) as Wire;
  if (method === "GET") return [];
  if (noun === "state") return [`write ${keysOf(path, told)}`];
  if (noun !== "intents") return [];
  switch (verb) {
    case "start":
      return ["start", ...beginning(told.begin_next === false ? undefined : planNext)];
    case "steps":
      if (told.status === "waiting") return [`wait ${name}`];
      if (told.status === "running") return [`begin ${name}`];
      return [`record ${name}`, ...beginning(told.begin_next)];
    case "checkpoints":
      return [`checkpoint ${name}`];
    case "release":
      return ["release"];
    case "resolve":
      return [told.status === "COMPLETED" ? "complete" : "fail"];
    case undefined:
      return [`send ${(told.intents?.[0] ?? told).parent_step ?? "an intent"}`];
    default:
      return [];
  }
}

const beginning = (key: unknown): string[] => (typeof key === "string" ? [`begin ${key}`] : []);

function keysOf(path: string, { writes }: Wire): string {
  const keys: string[] = writes?.map(({ key }: Wire) => key) ?? [
    decodeURIComponent(path.split("/").at(-1) ?? ""),
  ];
  return keys.join(", ");
}
