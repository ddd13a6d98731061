// Too much of everything, one kind at a time. Each case says what came of it and which bounds it broke.

import { Agent, get, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { inLanes, type Stage, startHealthyClient, until } from "./stage.ts";

export interface Outcome {
  readonly figures: Readonly<Record<string, number | string>>;
  /** What should not have been. */
  readonly broken: readonly string[];
}

export interface Scale {
  readonly connections: number;
  readonly agents: number;
  readonly burst: number;
  readonly backlog: number;
}

type Bounds = readonly (readonly [string, boolean])[];

const judged = (figures: Outcome["figures"], bounds: Bounds): Outcome => ({
  figures,
  broken: bounds.flatMap(([what, holds]) => (holds ? [] : [what])),
});

/** Beside a crowd a client that behaves may wait, on two busy cores, but not for long. */
const HEALTHY_MS = 2_000;

function dial(stage: Stage): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(stage.port, "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
  });
}

/** Many connections that say nothing. */
async function openConnections(stage: Stage, { connections }: Scale): Promise<Outcome> {
  const before = stage.rssMib();
  const sockets: Socket[] = [];
  const healthy = startHealthyClient(stage);
  await inLanes(100, connections, async () => {
    const socket = await dial(stage);
    socket.on("error", () => undefined);
    sockets.push(socket);
  });
  const grewMib = stage.rssMib() - before;
  const { p99 } = await healthy.stop();
  const late = await stage
    .call("GET", "/health", undefined, new Agent({ keepAlive: false }))
    .catch(() => null);
  for (const socket of sockets) socket.destroy();
  await until("there is room again", 30_000, async () => {
    const answer = await stage.call("GET", "/health", undefined, new Agent()).catch(() => null);
    return answer?.status === 200;
  });
  const figures = {
    connections,
    "MiB more": grewMib,
    "healthy p99 ms": p99,
    "one too many": late === null ? "closed" : `${late.status}, Retry-After ${late.retryAfter}`,
  };
  return judged(figures, [
    ["less than 40 kB each", grewMib < connections * 0.04 + 30],
    ["the healthy client was served", p99 < HEALTHY_MS],
    ["one too many is told when to come back", late === null || (late.status === 503 && late.retryAfter > 0)],
  ]);
}

/** Comes back as it is told, until it is let in; `onRefused` hears of each time it was not. */
async function listen(
  stage: Stage,
  name: string,
  agent: Agent,
  onRefused: (status: number, retryAfter: number) => void,
): Promise<IncomingMessage> {
  for (;;) {
    const response = await open(stage, name, agent);
    if (response.statusCode === 200) return response;
    const retryAfter = Number(response.headers["retry-after"] ?? 0);
    onRefused(response.statusCode ?? 0, retryAfter);
    await new Promise((resolve) => setTimeout(resolve, (retryAfter + Math.random()) * 1_000));
  }
}

/** Resolves with the first bytes. */
function open(stage: Stage, name: string, agent: Agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const path = `/v1/agents/crowd/intents/stream?consumer=${name}&incarnation=${name}`;
    get({ host: "127.0.0.1", port: stage.port, path, agent }, (response) => {
      response.on("error", () => undefined);
      response.once("data", () => resolve(response));
    }).on("error", reject);
  });
}

/** All agents lose their streams in one moment, and come back in the next. */
async function reconnectingAgents(stage: Stage, { agents }: Scale): Promise<Outcome> {
  const pool = new Agent({ keepAlive: false });
  const names = Array.from({ length: agents }, (_, n) => `agent-${n}`);
  let [refused, untold] = [0, 0];
  const openAll = () =>
    Promise.all(
      names.map((name) =>
        listen(stage, name, pool, (status, retryAfter) => {
          refused += 1;
          if (![409, 429, 503].includes(status) || !(retryAfter > 0)) untold += 1;
        }),
      ),
    );
  const opened = await openAll();
  const before = stage.rssMib();
  const healthy = startHealthyClient(stage);
  for (const each of opened) each.destroy();
  const cpuBefore = await stage.cpuMs();
  const began = performance.now();
  const again = await openAll();
  const tookMs = Math.round(performance.now() - began);
  const cpuMs = (await stage.cpuMs()) - cpuBefore;
  const { p99 } = await healthy.stop();
  const grewMib = stage.rssMib() - before;
  for (const each of again) each.destroy();
  const figures = {
    agents: again.length,
    "told to come later": refused,
    "all back after ms": tookMs,
    "server CPU, ms each": (cpuMs / agents).toFixed(2),
    "healthy p99 ms": p99,
    "MiB more": grewMib,
  };
  return judged(figures, [
    ["whoever was refused was told when to come back", untold === 0],
    ["all are back within 60 s", tookMs < 60_000],
    ["less than 100 MiB more", grewMib < 100],
    ["the healthy client was served", p99 < 5_000],
  ]);
}

/** Far more creates at once than can be committed. */
async function burstOfCreates(stage: Stage, { burst }: Scale): Promise<Outcome> {
  const before = stage.rssMib();
  const crowd = new Agent({ keepAlive: true, maxSockets: 2_000 });
  const statuses: Record<string, number> = {};
  let untold = 0;
  let peak = before;
  const healthy = startHealthyClient(stage);
  const watch = setInterval(() => {
    peak = Math.max(peak, stage.rssMib());
  }, 200);
  const began = performance.now();
  await inLanes(2_000, burst, async (n) => {
    const body = { intent_type: "burst.v1", to_agent: "burst", payload: { n } };
    const answer = await stage.call("POST", "/v1/intents", body, crowd).catch((error) => error as Error);
    const outcome = answer instanceof Error ? answer.message : String(answer.status);
    statuses[outcome] = (statuses[outcome] ?? 0) + 1;
    if (answer instanceof Error || (answer.status !== 200 && !(answer.retryAfter > 0))) untold += 1;
  });
  const seconds = (performance.now() - began) / 1_000;
  clearInterval(watch);
  const { p99 } = await healthy.stop();
  crowd.destroy();
  const { body } = await stage.call("GET", "/v1/agents/burst");
  const figures = {
    creates: burst,
    answers: JSON.stringify(statuses),
    "per second": Math.round(burst / seconds),
    "MiB more, at most": peak - before,
    "healthy p99 ms": p99,
    queued: String(body.agent?.queued ?? body.queued ?? "?"),
  };
  const others = Object.keys(statuses).filter((status) => !["200", "429", "503"].includes(status));
  return judged(figures, [
    ["only 200, 429 and 503", others.length === 0],
    ["whoever was refused was told when to come back", untold === 0],
    ["less than 400 MiB more", peak - before < 400],
    ["the healthy client was served", p99 < 10_000],
  ]);
}

/** An agent that is not there, and all that is sent to it. */
async function backlog(stage: Stage, { backlog: count }: Scale): Promise<Outcome> {
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
    "claim of another agent, p99 ms": others,
    "claim of its own agent, p99 ms": own,
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
async function poisonAtTheHead(stage: Stage): Promise<Outcome> {
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

/** Readers of the feed of all events that read nothing. */
async function slowReaders(stage: Stage): Promise<Outcome> {
  const sockets: Socket[] = [];
  for (let n = 0; n < 200; n += 1) {
    const socket = await dial(stage);
    socket.on("error", () => undefined);
    socket.write("GET /v1/events/stream HTTP/1.1\r\nhost: overload\r\n\r\n");
    socket.pause();
    sockets.push(socket);
  }
  const before = stage.rssMib();
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, stage.rssMib());
  }, 100);
  const healthy = startHealthyClient(stage);
  const payload = { text: "x".repeat(2_000) };
  await inLanes(4, 40, async () => {
    const intent = { intent_type: "read.v1", to_agent: "read", payload };
    await stage.call("POST", "/v1/intents/batch", { intents: Array.from({ length: 250 }, () => intent) });
  });
  const { p99 } = await healthy.stop();
  clearInterval(watch);
  for (const socket of sockets) socket.destroy();
  const figures = { readers: 200, events: 20_000, "MiB more, at most": peak - before, "healthy p99 ms": p99 };
  return judged(figures, [
    ["less than 300 MiB more", peak - before < 300],
    ["the healthy client was served", p99 < HEALTHY_MS],
  ]);
}

/** Requests that never come to their end. */
async function slowLoris(stage: Stage): Promise<Outcome> {
  let closed = 0;
  const sockets = await Promise.all(Array.from({ length: 1_000 }, () => dial(stage)));
  for (const socket of sockets) {
    socket.on("error", () => undefined);
    socket.on("close", () => {
      closed += 1;
    });
    socket.resume();
    socket.write("POST /v1/intents HTTP/1.1\r\nhost: overload\r\n");
  }
  const drip = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write("x");
  }, 500);
  const healthy = startHealthyClient(stage);
  const began = performance.now();
  await until("they are all closed", 60_000, () => closed === sockets.length).catch(() => undefined);
  const tookMs = Math.round(performance.now() - began);
  clearInterval(drip);
  const { p99 } = await healthy.stop();
  for (const socket of sockets) socket.destroy();
  const figures = { connections: sockets.length, closed, "after ms": tookMs, "healthy p99 ms": p99 };
  return judged(figures, [
    ["all were closed", closed === sockets.length],
    ["the healthy client was served", p99 < HEALTHY_MS],
  ]);
}

/** The largest pages there are, many at once. */
async function hugePages(stage: Stage): Promise<Outcome> {
  const value = "y".repeat(100_000);
  await inLanes(4, 60, async (n) => {
    const { status } = await stage.call("PUT", `/v1/state/session%3Apages/key-${n}`, { value });
    if (status !== 200) throw new Error(`state was answered ${status}`);
  });
  const before = stage.rssMib();
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, stage.rssMib());
  }, 50);
  const healthy = startHealthyClient(stage);
  const crowd = new Agent({ keepAlive: true, maxSockets: 100 });
  const statuses: Record<string, number> = {};
  let largest = 0;
  await inLanes(100, 200, async () => {
    const answer = await stage.call(
      "GET",
      "/v1/state/session%3Apages?limit=500&values=true",
      undefined,
      crowd,
    );
    statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
    largest = Math.max(largest, JSON.stringify(answer.body).length);
  });
  const { p99 } = await healthy.stop();
  clearInterval(watch);
  crowd.destroy();
  const figures = {
    pages: JSON.stringify(statuses),
    "largest page MB": (largest / 1e6).toFixed(1),
    "MiB more, at most": peak - before,
    "healthy p99 ms": p99,
  };
  return judged(figures, [
    ["pages are large, and end at PERDURE_PAGE_MAX_BYTES", largest > 1_000_000 && largest < 5_000_000],
    ["less than 600 MiB more", peak - before < 600],
    ["the healthy client was served", p99 < 10_000],
  ]);
}

export const CASES: Readonly<Record<string, (stage: Stage, scale: Scale) => Promise<Outcome>>> = {
  "open connections": openConnections,
  "agents that reconnect": reconnectingAgents,
  "slow-loris": slowLoris,
  "slow readers": slowReaders,
  "a poison intent": poisonAtTheHead,
  "huge pages": hugePages,
  "burst of creates": burstOfCreates,
  "an absent agent's backlog": backlog,
};
