// examples/session: five intents write into one memory from two agents; both are killed, and the session paused meanwhile.
import { expect, test } from "vitest";
import { call, until } from "../support/server.ts";
import { server, stage, useStage } from "./live-stage.ts";

useStage("file");

const CITIES = ["Rome", "Oslo", "Bern", "Lima", "Kyiv"];
const TOPICS = ["sights", "food", "hotels", "trains"];

const send = (city: string, session: string) => stage.send("scout", "city.v1", { city }, session);

async function findings(): Promise<string[]> {
  const { body } = await call(server, "GET", "/v1/state/session:trip/findings");
  return body.entry.value.map((one: { text: string }) => one.text);
}

const found = (topics: readonly string[]) =>
  CITIES.flatMap((city) => topics.map((topic) => `${topic} of ${city}`)).sort();

test("two agents append to one memory at once, are killed, the session pauses and goes on, and nothing is lost or there twice", async () => {
  const ids = await Promise.all(CITIES.map((city) => send(city, "trip")));
  const doomed = [1, 2].map(() => stage.start("session/agent.mjs", { HANG_IN: "hotels" }));
  await until("all hotels are written, and not recorded", async () => {
    const counts = stage.counts();
    return CITIES.every((city) => counts[`hotels ${city}`] === 1) && (await findings()).length === 15;
  });
  expect((await findings()).sort()).toEqual(found(TOPICS.slice(0, 3)));

  await stage.perdure("sessions", "pause", "trip");
  await Promise.all(doomed.map((agent) => agent.kill()));
  stage.start("session/agent.mjs");
  stage.start("session/agent.mjs");
  const late = await send("Riga", "trip");
  // The new agents work, on another session, and leave the paused one alone.
  const other = await send("Cork", "elsewhere");
  expect(await stage.reaches(other, "COMPLETED")).toMatchObject({ result: { city: "Cork", known: 4 } });
  for (const id of [...ids, late]) expect(await stage.get(id)).toMatchObject({ paused: true });
  expect(await findings()).toHaveLength(15);
  expect(stage.counts()).not.toHaveProperty("sights Riga");

  await stage.perdure("sessions", "unpause", "trip");
  for (const id of [...ids, late]) await stage.reaches(id, "COMPLETED");
  expect((await findings()).sort()).toEqual([...found(TOPICS), ...TOPICS.map((t) => `${t} of Riga`)].sort());
  // What was in doubt ran again; its memory was not written again.
  const expected = CITIES.flatMap((city) =>
    TOPICS.map((topic) => [`${topic} ${city}`, topic === "hotels" ? 2 : 1]),
  );
  expect(stage.counts()).toMatchObject(Object.fromEntries(expected));
});
