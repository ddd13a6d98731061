// SIGTERM and SIGINT to a real agent process.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { PerdureClient } from "../../sdk/src/index.ts";
import { compiled } from "../support/programs.ts";
import { startTestServer, type TestServer, until } from "../support/server.ts";

let server: TestServer;
let client: PerdureClient;
let directory: string;
const processes: ChildProcess[] = [];

beforeAll(async () => {
  server = await startTestServer();
  client = new PerdureClient({ baseUrl: server.url, logger: false });
  directory = await mkdtemp(join(tmpdir(), "perdure-signals-"));
});
afterEach(() => {
  for (const child of processes.splice(0)) child.kill("SIGKILL");
});
afterAll(async () => {
  await client?.close();
  await server?.close();
  await rm(directory, { recursive: true, force: true });
});

function startAgent(address: string) {
  const script = compiled("test/sdk/agent-process.ts");
  const child = spawn(process.execPath, [script, server.url, address], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  processes.push(child);
  const output = { text: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output.text += text;
  });
  const exited = once(child, "exit") as Promise<[number | null, string | null]>;
  return { child, output, exited };
}

async function startWork(address: string) {
  const file = join(directory, `${address}.go`);
  const id = await client.sendIntent({ intentType: "etl", toAgent: address, payload: { file } });
  const agent = startAgent(address);
  await until("step two to begin", () => agent.output.text.includes("step two began"));
  return { ...agent, id, go: () => writeFile(file, "") };
}

describe("an agent process", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "finishes its step on %s, hands back, says so and exits with 0",
    async (signal) => {
      const work = await startWork(`polite-${signal.toLowerCase()}`);
      work.child.kill(signal);
      await until("the announcement", () => work.output.text.includes("finishing the current step"));
      await work.go();
      await expect(work.exited).resolves.toEqual([0, null]);
      expect(work.output.text).toContain("handed back etl 2/3 (saved one, two)");
      const heir = startAgent(`polite-${signal.toLowerCase()}`);
      await expect(client.waitFor(work.id, { timeout: "15s" })).resolves.toMatchObject({ result: 3 });
      expect(heir.output.text).toContain("resuming etl 3/3 (skipped one, two");
      expect(heir.output.text).not.toContain("step two began");
      expect(await client.getIntent(work.id)).toMatchObject({ attempt: 2, lostDeliveries: 0 });
    },
  );

  it("exits at once on the second signal", async () => {
    const work = await startWork("impatient");
    work.child.kill("SIGTERM");
    await until("the announcement", () => work.output.text.includes("finishing the current step"));
    work.child.kill("SIGTERM");
    await expect(work.exited).resolves.toEqual([143, null]);
  });
});
