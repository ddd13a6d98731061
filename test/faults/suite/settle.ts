// Mends the world, lets the work drain, gives everybody what they wait for, and asks whether new work flows.

import { addressOf, give } from "./give.ts";
import { randomOf, SESSIONS } from "./plan.ts";
import { waitFor } from "./waiting.ts";
import type { World } from "./world.ts";

const PROBE_MS = 30_000;
const PLACES = ["wrapped", "declared", "far", "waits"];

/** Everything works again: what is open now has to end by itself. */
export async function mend(world: World): Promise<void> {
  for (const wire of [...world.agentWires, world.databaseWire]) wire.pass();
  for (const part of [...world.servers, ...world.agents]) {
    part.signal("SIGCONT");
    part.start();
  }
  // Whoever paused them may have died before it could say go on.
  for (const session of SESSIONS) await world.call("POST", `/v1/sessions/${session}/unpause`, {});
}

const OPEN = "status not in ('COMPLETED', 'FAILED', 'CANCELED', 'TIMED_OUT')";
/** Waits that nobody will end unasked: for a signal, for a person, and for children that do. */
const UNASKED = `status = 'WAITING' and (waiting_reason in ('WAITING_FOR_TOOL', 'WAITING_FOR_HUMAN')
  or (waiting_reason = 'WAITING_FOR_AGENT' and exists (select 1 from intents c where c.parent_id = i.id and c.status = 'WAITING')))`;

/** Until all that moves by itself has come to its end. */
export async function settle(world: World, ms: number): Promise<void> {
  await waitFor("everything is over or waits for somebody", ms, async () => {
    await unpauseAll(world);
    const rows = await world.query(`select 1 from intents i where ${OPEN} and not (${UNASKED}) limit 1`);
    return rows.length === 0;
  }).catch(() => undefined);
}

/** Gives everybody what they wait for, until nothing is left open. */
export async function giveAll(world: World, ms: number, seed: number): Promise<void> {
  const random = randomOf(seed);
  let count = 0;
  await waitFor("everything is over", ms, async () => {
    await unpauseAll(world);
    const rows = await world.query<{ id: string; status: string }>(
      `select id, status from intents where ${OPEN} limit 1000`,
    );
    for (const { id, status } of rows) {
      count += 1;
      if (status === "WAITING") await give(world.call, id, `suite-${count}`, random);
    }
    return rows.length === 0;
  }).catch(() => undefined);
}

async function unpauseAll(world: World): Promise<void> {
  const rows = await world.query<{ id: string }>(`select id from intents where ${OPEN} and paused`);
  for (const { id } of rows) await world.call("POST", `/v1/intents/${id}/unpause`, {});
}

/**
 * Healed means that new work flows again: from every server to every address. One server after the other, the one that
 * nobody hears of last: what the second one's agents get from it, they get by the poll alone.
 */
export async function probe(world: World): Promise<void> {
  for (const url of [...world.serverUrls].reverse()) {
    for (const place of PLACES) {
      const payload = { mark: `probe ${url} ${place}`, steps: 1, ms: 0, waits: [{ seconds: 0.05 }] };
      await post(`${url}/v1/intents`, { intent_type: "probe.v1", to_agent: addressOf(place), payload });
    }
    await settle(world, PROBE_MS);
  }
}

async function post(url: string, body: object): Promise<void> {
  const headers = { "content-type": "application/json" };
  await fetch(url, { method: "POST", body: JSON.stringify(body), headers }).catch(() => undefined);
}
