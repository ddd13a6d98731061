// What tests of agents share: one server for the file, agents in processes of their own, and ways to wait and to look.
import { afterAll, beforeAll } from "vitest";
import {
  type ListenOptions,
  type Logger,
  type Outcome,
  PerdureClient,
  PerdureError,
  type WaitOptions,
} from "../../sdk/src/index.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";
import { bearWitness, testimony } from "../support/until.ts";
import { createNetwork, type Network } from "./network.ts";

export let server: TestServer;
/** Somebody who sends, watches and operates, on a network that always works. */
export let sender: PerdureClient;
const clients: PerdureClient[] = [];
const witnesses: (() => void)[] = [];
let addresses = 0;

/** A server for the file that says so; `server` and `sender` are there before its first test. */
export function useServer(env: Readonly<Record<string, string>> = {}): void {
  beforeAll(async () => {
    server = await startTestServer({ env });
    sender = new Sender({ baseUrl: server.url, logger: false });
  });
  afterAll(async () => {
    for (const forget of witnesses.splice(0)) forget();
    // Together: closing one whose network was killed takes its whole drain timeout.
    await Promise.all(clients.splice(0).map((client) => client.close()));
    await sender?.close();
    await server?.close();
  });
}

/** Waits in vain with all that is known in its error. */
class Sender extends PerdureClient {
  override async waitFor<R = unknown>(id: string, options: WaitOptions = {}): Promise<Outcome<R>> {
    try {
      return await super.waitFor<R>(id, options);
    } catch (error) {
      if (PerdureError.is(error, "wait_timeout")) error.message += await testimony(id);
      throw error;
    }
  }
}

export const newAddress = () => `worker-${++addresses}`;

interface Agency {
  client: PerdureClient;
  network: Network;
  /** What its client logged, each line with its level. */
  log: string[];
}

/** A process of its own, as far as the server can tell. `intercept` sees every answer before its client does. */
export function newProcess(intercept?: (request: string, network: Network) => void): Agency {
  const network = createNetwork(server.url);
  const log: string[] = [];
  const line =
    (level: string) =>
    (...args: unknown[]) =>
      void log.push([level, ...args].map(String).join(" "));
  const logger = { debug() {}, info: line("info"), warn: line("warn"), error: line("error") };
  const watched: typeof fetch = async (input, init) => {
    const response = await network.fetch(input, init);
    intercept?.(`${init?.method ?? "GET"} ${new URL(String(input)).pathname}`, network);
    return response;
  };
  witnesses.push(
    bearWitness(
      () => `an agent's process: ${[...log, ...network.open()].map((one) => `\n  ${one}`).join("")}`,
    ),
  );
  return { client: newClient(watched, logger), network, log };
}

/** A client with a way of its own to the server, closed with the others. */
export function newClient(fetch: typeof globalThis.fetch, logger: Logger | false = false): PerdureClient {
  const client = new PerdureClient({ baseUrl: server.url, fetch, logger });
  clients.push(client);
  return client;
}

export const quiet: ListenOptions = { handleSignals: false, drainTimeout: "2s" };
export const waiting = { timeout: "40s" } as const;

/** A promise and its resolver. */
export function gate<T = void>() {
  let open!: (value: T) => void;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

/** Never settles by itself: a step that is at work until its process dies or its attempt ends. */
export const forever = (step: { signal: AbortSignal }) =>
  new Promise<never>((_, reject) => step.signal.addEventListener("abort", () => reject(step.signal.reason)));

export const send = (address: string, input: object = {}): Promise<string> =>
  sender.sendIntent({ intentType: "pub", toAgent: address, payload: {}, ...input });
export const untilWaiting = (id: string, reason: string) =>
  until(reason, async () => (await sender.getIntent(id)).waitingReason === reason);
/** The code of the error it fails with. */
export const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => "no error",
    (error: unknown) => (PerdureError.is(error) ? error.code : `not ours: ${error}`),
  );
/** The types of its events, once it has ended. */
export const eventsOf = async (id: string) => {
  const types: string[] = [];
  for await (const event of sender.observe(id)) types.push(event.type.replace("intent.", ""));
  return types;
};
/** The writes of a step that were sent. */
export const stepsPut = (network: Network, key: string) =>
  network.requests.filter(
    (one) => one.startsWith("PUT") && decodeURIComponent(one).endsWith(`/steps/${key}`),
  );
