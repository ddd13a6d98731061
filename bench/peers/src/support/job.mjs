// The job every peer runs: what goes in, what each step gives back, what must come out. No step does any work, so what is
// measured is what the peer adds.

export const STEPS = 4;

const FILLER = "The quick brown fox jumps over the lazy dog. ".repeat(12);

/** About 500 bytes of JSON. */
export const payloadOf = (number) => ({ number, kind: "order", customer: "c-10482", note: FILLER.slice(0, 440) });

/** About 100 bytes of JSON. */
export const stepResult = (number, step) => ({ number, step, state: "done", note: FILLER.slice(0, 55) });

/** What a workflow of four steps returns: proof that it saw each step's result. */
export const workflowResult = (number, results) => ({
  number,
  sum: results.reduce((sum, result) => sum + result.step, 0),
});

export function checkResult(result, number, steps) {
  const sum = (steps * (steps + 1)) / 2;
  if (result?.number === number && result?.sum === sum) return;
  throw new Error(`job ${number} should have given sum ${sum}, and gave ${JSON.stringify(result)}`);
}

/** Milliseconds of a clock which all processes of a machine share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;
