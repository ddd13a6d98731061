// Keys behind the requests: what is open ends with its key, and when keys were last used is written down.

import { createWorker, type Worker } from "./service.ts";

const LOOK_MS = 2_000;
const NOTE_MS = 60_000;

export interface WatchedKeys {
  endHeld(): Promise<number>;
  noteUse(): Promise<number>;
}

export function watchKeys(
  keys: WatchedKeys,
  onError: (error: unknown, worker: string) => void,
): readonly Worker[] {
  return [
    createWorker({ name: "key-watch", intervalMs: LOOK_MS, onError, pass: () => keys.endHeld() }),
    createWorker({ name: "key-use", intervalMs: NOTE_MS, onError, pass: () => keys.noteUse() }),
  ];
}
