// Whether a consumer may be given work now (I7, I15): read under its row's lock, on the database's clock.

export interface Taker {
  readonly mode: "stream" | "claim" | "windowed";
  readonly leaseUntil: number | null;
  readonly streamNo: number;
  readonly closedStreamNo: number;
}

/** A running lease, and no newer stream than the one it would be told through; a stream that closed tells nobody. */
export function mayTake(taker: Taker, throughStreamNo: number, now: number): boolean {
  if (taker.leaseUntil === null || taker.leaseUntil <= now) return false;
  if (taker.streamNo !== throughStreamNo) return false;
  return taker.mode === "claim" || taker.closedStreamNo < taker.streamNo;
}
