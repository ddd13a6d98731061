// How tests wait: on conditions, never on time. One that waits in vain tells what everybody who is concerned knows by then: a red
// run on another machine, which nobody can repeat, has nothing else to be understood by.

/** Tells what it knows, above all of the intents of these ids. */
export type Witness = (about: readonly string[]) => string | Promise<string>;

const witnesses = new Set<Witness>();

/** From now on asked by whoever waits in vain; call the answer to be asked no more. */
export function bearWitness(witness: Witness): () => void {
  witnesses.add(witness);
  return () => void witnesses.delete(witness);
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
/** A witness may be what hangs. */
const HEARING_MS = 10_000;
const LONGEST = 8_000;

/** What all witnesses know; `text` names the intents that it is about. */
export async function testimony(text: string): Promise<string> {
  const about = [...new Set(text.match(UUID) ?? [])];
  const told = await Promise.all([...witnesses].map((witness) => hear(witness, about)));
  return told.map((one) => `\n${one}`).join("");
}

async function hear(witness: Witness, about: readonly string[]): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`  a witness said nothing within ${HEARING_MS} ms`), HEARING_MS);
  });
  try {
    const told = await Promise.race([Promise.resolve(about).then(witness), late]);
    return told.length <= LONGEST ? told : `${told.slice(0, LONGEST)} …`;
  } catch (error) {
    return `  a witness failed: ${String(error)}`;
  } finally {
    clearTimeout(timer);
  }
}

const POLL_MS = 10;
/** Patience costs nothing where it is not needed. */
const PATIENCE_MS = 40_000;

/** Looks again and again until `condition` gives something; fails after `ms` with what it was waiting for, and what is known. */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false | null> | T | undefined | false | null,
  ms = PATIENCE_MS,
): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false && value !== null) return value;
    if (performance.now() > end)
      throw new Error(`waited ${ms} ms in vain for: ${what}${await testimony(what)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
