// Stands in for a language model and a search engine. Calls cost money, so each is counted in the file LEDGER.
// HANG_IN="search scattering" never returns from that call, so that you can kill its caller there.

import { appendFile } from "node:fs/promises";

const { LEDGER = "/tmp/perdure-research.txt", HANG_IN } = process.env;
const FACTS = {
  sunlight: "Sunlight has all colours.",
  air: "Air is made of molecules much smaller than a wavelength.",
  scattering: "Small things scatter blue more than red.",
  eyes: "Eyes see blue better than violet.",
};
const CURIOSITY = [["sunlight", "air"], ["scattering"], ["eyes"]];

async function call(name) {
  await appendFile(LEDGER, `${name}\n`);
  console.log(`calling: ${name}`);
  if (HANG_IN === name) await new Promise(() => {});
}

/** What to look up next, or the answer once nothing is open. */
export async function think(question, notes) {
  await call(`think with ${notes.length} notes`);
  const known = notes.map((note) => note.topic);
  const lookUp = CURIOSITY.find((topics) => topics.some((topic) => !known.includes(topic)));
  return lookUp === undefined
    ? { answer: `${question} ${notes.map((note) => note.fact).join(" ")}` }
    : { lookUp };
}

export async function search(topic) {
  await call(`search ${topic}`);
  return FACTS[topic];
}
