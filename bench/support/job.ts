// Owns the job that we and our peers run: what goes in and what comes out is as large, and shaped the same, in bench/peers.

const FILLER = "The quick brown fox jumps over the lazy dog. ".repeat(12);

export interface Payload {
  readonly number: number;
}

/** About 500 bytes of JSON. */
export const payloadOf = (number: number): Payload & Record<string, unknown> => ({
  number,
  kind: "order",
  customer: "c-10482",
  note: FILLER.slice(0, 440),
});

export const STEPS = [1, 2, 3, 4];

/** About 100 bytes of JSON. */
export const stepResult = (number: number, step: number) => ({
  number,
  step,
  state: "done",
  note: FILLER.slice(0, 55),
});

/** What an intent of four steps gives: proof that each step's result was there. */
export const resultOf = (number: number, results: readonly { step: number }[]) => ({
  number,
  sum: results.reduce((sum, { step }) => sum + step, 0),
});

export const SUM_OF_STEPS = STEPS.reduce((sum, step) => sum + step, 0);

/** Milliseconds of a clock which all processes of a machine share. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;

/** The intent of many steps, each of which takes a while: its steps are done without recording them, and in each way of recording. */
export const LONG_STEPS = 50;
export const LONG_STEP_MS = 20;
