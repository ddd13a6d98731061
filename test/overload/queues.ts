// Queues that are too long, or begin with what nobody survives.

import { HEALTHY_MS, judged, type Outcome, type Scale } from "./outcome.ts";
import { inLanes, type Stage, until } from "./stage.ts";

/** An agent that is not there, and all that is sent to it. */
export async function backlog(stage: Stage, { backlog: count }: Scale): Promise<Outcome> {
  const before = stage.rssMib();
  const intent = { intent_type: "backlog.v1", to_agent: "absent", payload: {} };
  const began = performance.now();
  let refused = 0;
  await inLanes(4, Math.ceil(count / 1_000), async () => {
    for (;;) {
      const { status } = await stage.call("POST", "/v1/intents/batch", {
        intents: Array.from({ length: 1_000 }, () => intent),
      });
      if (status === 200) return;
      refused += 1;
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  });
  const seconds = (performance.now() - began) / 1_000;
  const grewMib = stage.rssMib() - before;
  const others = await roundTrips(stage, "present", 50);
  const own = await roundTrips(stage, "absent", 50);
  const figures = {
    backlog: count,
    "stored per second": Math.round(count / seconds),
    "batches refused": refused,
    "MiB more": grewMib,
    "another agent: send, claim, complete, p99 ms": others,
    "its own agent: the same, p99 ms": own,
  };
  return judged(figures, [
    ["less than 300 MiB more", grewMib < 300],
    ["other agents are served", others < HEALTHY_MS],
    ["the agent is served when it comes", own < HEALTHY_MS],
  ]);
}

/** p99 of: send one, claim one, complete it. */
async function roundTrips(stage: Stage, address: string, count: number): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const began = performance.now();
    await stage.call("POST", "/v1/intents", { intent_type: "trip.v1", to_agent: address, payload: {} });
    const delivery = await claim(stage, address, "trips", "one");
    await complete(stage, delivery);
    times.push(performance.now() - began);
  }
  times.sort((one, other) => one - other);
  return Math.round(times[Math.floor(times.length * 0.99)] ?? 0);
}

interface Delivery {
  readonly intent_id: string;
  readonly attempt: number;
  readonly intent: { readonly payload: { readonly poison?: boolean } };
}

async function claim(stage: Stage, address: string, consumer: string, incarnation: string) {
  for (;;) {
    const { status, body, retryAfter } = await stage.call("POST", `/v1/agents/${address}/claim`, {
      consumer,
      incarnation,
      max: 1,
      wait_seconds: 10,
      lease_seconds: 1,
    });
    const [delivery] = (body.deliveries ?? []) as Delivery[];
    if (delivery !== undefined) return delivery;
    if (status === 200) throw new Error(`nothing to claim at ${address}`);
    if (status !== 409) throw new Error(`a claim was answered ${status}: ${JSON.stringify(body)}`);
    await new Promise((resolve) => setTimeout(resolve, Math.max(100, Math.min(1, retryAfter) * 1_000)));
  }
}

const complete = (stage: Stage, { intent_id, attempt }: Delivery) =>
  stage.call("POST", `/v1/intents/${intent_id}/resolve`, { status: "COMPLETED", attempt, result: null });

/** The first of the queue kills whoever takes it. */
export async function poisonAtTheHead(stage: Stage): Promise<Outcome> {
  const send = async (payload: object): Promise<string> => {
    const body = { intent_type: "poison.v1", to_agent: "poisoned", payload };
    return (await stage.call("POST", "/v1/intents", body)).body.intent_id;
  };
  const poison = await send({ poison: true });
  const behind: string[] = [];
  for (let n = 0; n < 20; n += 1) behind.push(await send({ poison: false }));
  let deaths = 0;
  for (let left = behind.length; left > 0; ) {
    const delivery = await claim(stage, "poisoned", `life-${deaths}`, `life-${deaths}`);
    if (delivery.intent.payload.poison === true) {
      // It dies: its lease of a second runs out, and its successor has another name.
      deaths += 1;
    } else {
      await complete(stage, delivery);
      left -= 1;
    }
  }
  await until("the poison has failed", 60_000, async () => {
    const { body } = await stage.call("GET", `/v1/intents/${poison}`);
    if (body.status === "FAILED") return true;
    await stage.call("POST", "/v1/agents/poisoned/claim", {
      consumer: `life-${++deaths}`,
      incarnation: `life-${deaths}`,
      max: 1,
      wait_seconds: 0,
      lease_seconds: 1,
    });
    await new Promise((resolve) => setTimeout(resolve, 500));
    return false;
  });
  const { error } = (await stage.call("GET", `/v1/intents/${poison}`)).body.intent;
  const figures = { "completed behind it": behind.length, "it ended as": String(error?.code) };
  return judged(figures, [["it was given up", error?.code === "delivery_attempts_exhausted"]]);
}
