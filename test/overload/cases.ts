// Too much of everything, one kind at a time. Each case says what came of it and which bounds it broke.

import { Agent, get, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { HEALTHY_MS, judged, type Outcome, type Scale } from "./outcome.ts";
import { backlog, poisonAtTheHead } from "./queues.ts";
import { inLanes, type Stage, startHealthyClient, until } from "./stage.ts";

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
