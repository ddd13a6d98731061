// Checkpoints, restore, the past of steps, steps in doubt and export, from the command line against a real server.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, startTestServer, type TestServer } from "../support/server.ts";
import { perdure } from "./terminal.ts";

let server: TestServer;
let named = 0;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const cli = (...argv: string[]) => perdure(server.url, argv);

interface Job {
  readonly id: string;
  readonly address: string;
}

/** An intent with an open first attempt. */
async function begin(more: object = {}): Promise<Job> {
  const address = `worker-${++named}`;
  const { body } = await call(server, "POST", "/v1/intents", {
    intent_type: "job.v1",
    to_agent: address,
    ...more,
  });
  const claimed = await call(server, "POST", `/v1/agents/${address}/claim`, {});
  expect(claimed.body.deliveries).toHaveLength(1);
  return { id: body.intent_id, address };
}

async function done(id: string, key: string, result: unknown): Promise<void> {
  const { status } = await call(server, "PUT", `/v1/intents/${id}/steps/${key}`, {
    status: "done",
    attempt: 1,
    result,
  });
  expect(status).toBe(200);
}

async function lastSeq(id: string): Promise<number> {
  return (await call(server, "GET", `/v1/intents/${id}`)).body.intent.seq;
}

test("steps --seq shows the steps as they were", async () => {
  const { id } = await begin({ steps: ["extract", "load"] });
  const before = await lastSeq(id);
  await done(id, "extract", { rows: 3 });
  const then = await cli("steps", id, "--seq", String(before));
  expect(then.exit).toBe(0);
  expect(then.out).not.toMatch(/^extract +done/m);
  expect((await cli("steps", id, "--seq", String(await lastSeq(id)))).out).toMatch(
    /^extract +done .*"rows":3/m,
  );
});

describe("checkpoints", () => {
  test("are named, listed, moved and forgotten", async () => {
    const { id } = await begin();
    const none = await cli("checkpoints", id);
    expect(none).toMatchObject({ exit: 0, out: "" });
    expect(none.err).toContain(`perdure checkpoints ${id} --name NAME`);
    await done(id, "extract", 1);
    expect((await cli("checkpoints", id, "--name", "extracted")).out).toMatch(
      new RegExp(`^${id}  extracted is at seq \\d+\n$`),
    );
    await done(id, "load", 2);
    await cli("checkpoints", id, "--name", "loaded");
    const { out } = await cli("checkpoints", id.slice(-8));
    expect(out).toMatch(/^NAME +SEQ +CREATED +BY +STEPS DONE +METADATA$/m);
    expect(out).toMatch(/\nloaded +\d+ .*\nextracted +\d+ /);
    const first = JSON.parse((await cli("checkpoints", id, "--json")).out).checkpoints[1];
    expect(first).toMatchObject({ name: "extracted" });
    const moved = JSON.parse((await cli("checkpoints", id, "--name", "extracted", "--json")).out).checkpoint;
    expect(moved.seq).toBeGreaterThan(first.seq);
    expect(await cli("checkpoints", id, "--delete", "extracted")).toEqual({
      exit: 0,
      out: `${id}  extracted is forgotten\n`,
      err: "",
    });
    expect((await cli("checkpoints", id)).out).not.toContain("extracted");
  });

  test("that do not exist cannot be restored or forgotten", async () => {
    const { id } = await begin();
    for (const argv of [
      ["restore", id, "--to", "nowhere"],
      ["checkpoints", id, "--delete", "nowhere"],
    ]) {
      const ran = await cli(...argv, "--json");
      expect(ran.exit).toBe(1);
      expect(JSON.parse(ran.err)).toMatchObject({ code: "checkpoint_not_found" });
    }
  });
});

describe("restore", () => {
  test("goes back to a name: earlier steps are kept, later ones run again", async () => {
    const { id, address } = await begin({ steps: ["extract", "load", "report"] });
    await done(id, "extract", 1);
    await call(server, "PUT", `/v1/intents/${id}/steps/load`, { status: "running", attempt: 1 });
    await cli("checkpoints", id, "--name", "extracted");
    await done(id, "load", 2);
    await done(id, "extra", 3);
    const ran = await cli("restore", id, "--to", "extracted");
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect(ran.out).toMatch(new RegExp(`^${id}  restored to extracted, seq \\d+, now SUBMITTED$`, "m"));
    expect(ran.out).toMatch(/^kept +extract$/m);
    expect(ran.out).toMatch(/^run again +load$/m);
    expect(ran.out).toMatch(/^superseded +extra$/m);
    expect((await cli("get", id, "--events")).out).toMatch(
      / checkpoint_named +extracted .*[\s\S]* restored +to extracted, seq \d+/,
    );
    const claimed = await call(server, "POST", `/v1/agents/${address}/claim`, {});
    expect(claimed.body.deliveries[0].next_step).toMatchObject({ key: "load" });
  });

  test("goes back to an entry of the log", async () => {
    const { id } = await begin();
    await done(id, "extract", 1);
    const seq = await lastSeq(id);
    await done(id, "load", 2);
    await call(server, "POST", `/v1/intents/${id}/resolve`, { status: "COMPLETED", attempt: 1 });
    const { out } = await cli("restore", id, "--to", String(seq), "--json");
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      intent: { status: "SUBMITTED" },
      restored: { seq, kept: ["extract"] },
    });
    expect((await cli("restore", id, "--to", "99999")).exit).toBe(2);
  });
});

describe("resolve-step settles a step in doubt", () => {
  /** A step that began with `ask` and whose agent has let go of it. */
  async function doubtful(): Promise<string> {
    const { id } = await begin({ steps: ["charge", "report"] });
    await call(server, "PUT", `/v1/intents/${id}/steps/charge`, {
      status: "running",
      attempt: 1,
      on_interrupt: "ask",
    });
    await call(server, "POST", `/v1/intents/${id}/release`, { attempt: 1 });
    expect((await cli("get", id)).out).toMatch(/WAITING for WAITING_FOR_HUMAN/);
    return id;
  }

  test("as done, with its result as it was typed", async () => {
    const id = await doubtful();
    const ran = await cli("resolve-step", id, "charge", "--done", '{"receipt": 12345678901234567890}');
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect(ran.out).toMatch(new RegExp(`^${id}  step charge is done, the intent `));
    const response = await fetch(`${server.url}/v1/intents/${id}/steps`);
    expect(await response.text()).toContain("12345678901234567890");
  });

  test("as not done, so that it runs again", async () => {
    const id = await doubtful();
    const { out } = await cli("resolve-step", id, "charge", "--retry", "--json");
    expect(JSON.parse(out)).toMatchObject({ ok: true, intent: { status: "IN_PROGRESS" } });
  });

  test("as failed", async () => {
    const id = await doubtful();
    expect((await cli("resolve-step", id, "charge", "--fail")).out).toContain("step charge is failed");
  });
});

describe("export", () => {
  test("prints all that is kept, as JSON lines", async () => {
    const { id } = await begin();
    await done(id, "extract", { rows: 3 });
    await cli("checkpoints", id, "--name", "extracted");
    await cli("state", "set", `intent:${id}`, "n", "12345678901234567890");
    await cli("signal", id, "go", "1");
    const ran = await cli("export", id.slice(-8));
    expect(ran).toMatchObject({ exit: 0, err: "" });
    expect(ran.out).toContain("12345678901234567890");
    const kinds = ran.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).kind);
    expect(kinds[0]).toBe("intent");
    expect(new Set(kinds)).toEqual(new Set(["intent", "event", "state", "checkpoint", "signal"]));
  });

  test("of an unknown intent is refused, and nothing is printed", async () => {
    const ran = await cli("export", "01890000-0000-7000-8000-00000012abcd");
    expect(ran).toMatchObject({ exit: 1, out: "" });
  });

  test("that breaks off says so, and does not look complete", async () => {
    const half = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "application/x-ndjson" });
      response.write('{"kind":"intent"}\n', () => response.destroy());
    });
    await new Promise<void>((resolve) => half.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(half.address() as AddressInfo).port}`;
    const ran = await perdure(url, ["export", "01890000-0000-7000-8000-00000012abcd"]);
    expect(ran.exit).toBe(5);
    expect(ran.err).toContain("what was printed is not all of it");
    await new Promise((resolve) => half.close(resolve));
  });
});
