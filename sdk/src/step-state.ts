// Owns: the state a step writes together with its result. Must not: send it.
import type { Wire } from "./intents.ts";
import { stateWriteToWire } from "./state.ts";

export interface StepState {
  set(key: string, value: unknown, options?: { ifVersion?: number }): void;
  delete(key: string): void;
}

/** What a step's try has written, until its result is recorded. */
export class StateBuffer implements StepState {
  readonly #writes = new Map<string, Wire>();

  set(key: string, value: unknown, options: { ifVersion?: number } = {}): void {
    this.#writes.set(key, stateWriteToWire({ key, value, ...options }));
  }

  delete(key: string): void {
    this.#writes.set(key, stateWriteToWire({ key, delete: true }));
  }

  /** Another try begins anew. */
  clear(): void {
    this.#writes.clear();
  }

  toWire(): Wire {
    return this.#writes.size === 0 ? {} : { state: [...this.#writes.values()] };
  }
}
