// An agent whose event loop stands still sends no heartbeats: what becomes of its work, and of what it writes afterwards.
import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import { until } from "../support/server.ts";
import {
  eventsOf,
  newAddress,
  newProcess,
  quiet,
  send,
  sender,
  server,
  useServer,
  waiting,
} from "./agents.ts";

// A heartbeat late by a whole interval is what tells of it.
useServer({ PERDURE_HEARTBEAT_INTERVAL_MS: "2000" });

const root = fileURLToPath(new URL("../..", import.meta.url));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** An agent in a process of its own that computes, as far as its event loop can tell, in one piece. */
function startComputing(address: string, options: object) {
  const program = `
    import { PerdureClient } from "@perdure/sdk";
    const compute = () => {
      console.info("computing");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5000);
      return "the first";
    };
    const client = new PerdureClient({ baseUrl: ${JSON.stringify(server.url)} });
    await client.listen(${JSON.stringify(address)}, { compute }, ${JSON.stringify(options)}).closed;`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { cwd: root });
  children.push(child);
  const output = { text: "" };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output.text += data));
  return output;
}

test("its work goes to another, and what it records late changes nothing", async () => {
  const address = newAddress();
  const id = await send(address);
  const first = startComputing(address, { lease: "2s" });
  await until("the first to compute", () => first.text.includes("computing"));
  newProcess().client.listen(address, { compute: () => "the second" }, quiet);
  expect(await sender.waitFor(id, waiting)).toMatchObject({ result: "the second" });
  await until("the first to go on", () => first.text.includes("stood still for"));
  // Told that it lost the work, or answered with what the other recorded: whichever it hears of first.
  expect((await eventsOf(id)).filter((type) => type === "step_done")).toHaveLength(1);
  expect(await sender.getIntent(id)).toMatchObject({ result: "the second", attempt: 2 });
});

test("with a lease that is longer than it computes it keeps its work, and says that it stood still", async () => {
  const address = newAddress();
  const id = await send(address);
  const first = startComputing(address, { lease: "30s", capacity: 2 });
  await until("the first to compute", () => first.text.includes("computing"));
  newProcess().client.listen(address, { compute: () => "the second" }, quiet);
  expect(await sender.waitFor(id, waiting)).toMatchObject({ result: "the first" });
  expect(await sender.getIntent(id)).toMatchObject({ attempt: 1, lostDeliveries: 0 });
  await until("the warning", () => first.text.includes("stood still for"));
});
