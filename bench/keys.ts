// What keys cost: requests a second that are made with a key of the database, against the same without any. Two servers side by
// side; their rounds alternate, so that a slow moment of the machine falls on both. Prints the median of the rounds' ratios.

import { Agent, request } from "node:http";
import { quantile } from "./support/results.ts";
import { withServer } from "./support/server.ts";

const ROUNDS = Number(process.env.ROUNDS ?? 12);
const ROUND_MS = 1_500;
const CALLERS = 16;
const ADMIN_KEY = "only-for-this-benchmark-0123456789";

type Headers = Readonly<Record<string, string>>;

const agent = new Agent({ keepAlive: true, maxSockets: CALLERS });

function call(
  baseUrl: string,
  method: string,
  path: string,
  headers: Headers,
  body?: unknown,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      `${baseUrl}${path}`,
      { method, agent, headers: { "content-type": "application/json", ...headers } },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece: string) => {
          text += piece;
        });
        response.on("end", () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Sends an intent and reads it, over and over: a write that is grouped, and a read. */
async function round(baseUrl: string, headers: Headers): Promise<number> {
  const until = performance.now() + ROUND_MS;
  let done = 0;
  const caller = async () => {
    while (performance.now() < until) {
      const intent = { intent_type: "bench.v1", to_agent: "agent://bench/keys/nobody", payload: {} };
      const { intent_id } = JSON.parse(await call(baseUrl, "POST", "/v1/intents", headers, intent));
      await call(baseUrl, "GET", `/v1/intents/${intent_id}`, headers);
      done += 2;
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return (done * 1_000) / ROUND_MS;
}

async function keyOf(baseUrl: string): Promise<Headers> {
  const body = {
    name: "bench",
    address: "agent://bench/keys/sender",
    scopes: ["send", "read"],
    patterns: [],
  };
  const answer = await call(baseUrl, "POST", "/v1/keys", { "x-api-key": ADMIN_KEY }, body);
  return { "x-api-key": JSON.parse(answer).api_key };
}

await withServer(async (open) => {
  await withServer(
    async (keyed) => {
      const headers = await keyOf(keyed);
      const without: number[] = [];
      const withKey: number[] = [];
      for (let n = 0; n <= ROUNDS; n += 1) {
        // Either comes first in turn.
        const first = n % 2 === 0 ? await round(open, {}) : undefined;
        const withIt = await round(keyed, headers);
        const rates = [first ?? (await round(open, {})), withIt] as const;
        // The first round warms up.
        if (n === 0) continue;
        without.push(rates[0]);
        withKey.push(rates[1]);
      }
      console.log(`without_keys_per_s=${quantile(without, 0.5).toFixed(0)}`);
      console.log(`with_keys_per_s=${quantile(withKey, 0.5).toFixed(0)}`);
      const ratios = withKey.map((rate, n) => rate / (without[n] ?? rate));
      console.log(`keys_throughput_ratio=${quantile(ratios, 0.5).toFixed(3)}`);
    },
    { PERDURE_ADMIN_KEY: ADMIN_KEY },
  );
});
agent.destroy();
