// Owns: what a simulation needs of a server; and the one in memory that the kit brings. Tests of the kit bring a real one.
import type { Delivery } from "../deliveries.ts";
import { PerdureError } from "../errors.ts";
import { turn, VirtualClock } from "./clock.ts";
import { deliver, isClaimable, lose } from "./model/attempts.ts";
import { canonical } from "./model/creation.ts";
import { answer } from "./model/routes.ts";
import { newModel } from "./model/shapes.ts";
import { deliveryView } from "./model/views.ts";
import { nextDueAt, tick, wakeParents } from "./model/waits.ts";

export interface Listener {
  readonly name: string;
  readonly address: string;
  onDelivery(delivery: Delivery): void;
}

export interface Backend {
  readonly fetch: typeof fetch;
  readonly baseUrl: string;
  now(): number;
  /** A timer of a process: the callback comes once time has come that far. */
  after(ms: number, callback: () => void): () => void;
  listen(listener: Listener): Promise<void>;
  /** Nobody listens there any more. `lost`: what it held is taken from it, as when its lease runs out. */
  leave(listener: Pick<Listener, "name" | "address">, lost: boolean): Promise<void>;
  /** What the server does by itself, at once: true when there was something. */
  act(): Promise<boolean>;
  /**
   * Time passes up to the next thing that it brings: the end of a delay of some process, or, with `anyway`, whatever is due first. False when
   * there is none.
   */
  elapse(anyway: boolean): Promise<boolean>;
  close(): Promise<void>;
}

/** Capacity is no matter here: everything an address is sent is delivered. */
export function memoryBackend(): Backend {
  const clock = new VirtualClock();
  const model = newModel(() => clock.now);
  const listeners = new Map<string, Listener>();
  const listenerAt = (address: string) =>
    [...listeners.values()].find((listener) => canonical(listener.address) === address);

  return {
    baseUrl: "http://memory",
    now: () => clock.now,
    after: (ms, callback) => clock.after(ms, callback),
    async fetch(input, init) {
      // A network takes its time: what a process does at once it does before any answer comes.
      await turn();
      return respond(() => answer(model, readRequest(String(input), init)));
    },
    async listen(listener) {
      listeners.set(listener.name, listener);
    },
    async leave({ name }, lost) {
      listeners.delete(name);
      if (!lost) return;
      for (const intent of model.intents.values())
        if (intent.holder === name) lose(model, intent, "lease_expired");
    },
    async act() {
      if (wakeParents(model)) return true;
      for (const intent of model.intents.values()) {
        const listener = listenerAt(intent.address);
        if (listener === undefined || !isClaimable(model, intent)) continue;
        deliver(model, intent, listener.name);
        listener.onDelivery(structuredClone(deliveryView(intent)) as Delivery);
        return true;
      }
      return false;
    },
    async elapse(anyway) {
      if (clock.nextAt === undefined && !anyway) return false;
      const dues = [...model.intents.values()].map(nextDueAt).filter((at) => at !== null);
      const next = Math.min(clock.nextAt ?? Number.POSITIVE_INFINITY, ...dues);
      if (next === Number.POSITIVE_INFINITY) return false;
      clock.goTo(next);
      for (const intent of model.intents.values()) tick(model, intent);
      return true;
    },
    async close() {},
  };
}

function readRequest(url: string, init: RequestInit = {}) {
  const { pathname, searchParams } = new URL(url);
  const headers = new Headers(init.headers);
  return {
    method: init.method ?? "GET",
    path: pathname,
    query: searchParams,
    body: typeof init.body === "string" && init.body !== "" ? JSON.parse(init.body) : {},
    idempotencyKey: headers.get("idempotency-key"),
  };
}

function respond(decide: () => unknown): Response {
  try {
    return json(200, decide());
  } catch (error) {
    if (!PerdureError.is(error)) throw error;
    const { code, message, status = 500, details } = error;
    return json(status, {
      code,
      detail: message,
      status,
      retryable: false,
      error: { code, message, details },
    });
  }
}

const json = (status: number, body: unknown): Response =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
