// examples/payment: an agent killed between the charge and its record, and who finds out what has become of it.
import { PerdureClient } from "@perdure/sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { server, stage, useStage } from "./live-stage.ts";

let client: PerdureClient;
useStage("test");
beforeAll(() => {
  client = new PerdureClient({ baseUrl: server.url, logger: false });
});
afterAll(() => client.close());

const ASKED = "the bank is asked for 12";
const CHARGED = "the bank has charged 12";

/** An order whose agent was killed in the charge, before or after the money moved; and the next agent. */
async function killedInTheCharge(script: string, address: string, hang: "before" | "after") {
  const id = await stage.send(address, "order.v1", { item: "book", amount: 12 });
  const first = stage.start(script, { HANG: hang });
  await first.says(hang === "before" ? ASKED : CHARGED);
  await first.kill();
  return { id, next: stage.start(script) };
}

/** The one charge in the bank's book. */
function theCharge(): { id: string; reference: string } {
  expect(stage.ledger()).toHaveLength(1);
  const [id = "", amount, reference = ""] = stage.ledger()[0]?.split(" ") ?? [];
  expect(amount).toBe("12");
  return { id, reference };
}

describe("with onInterrupt ask", () => {
  const killed = (hang: "before" | "after") => killedInTheCharge("payment/ask.mjs", "cashier", hang);

  test("killed after the charge it waits for a person, whose word that it is done is the step's result", async () => {
    const { id, next } = await killed("after");
    expect(await stage.reaches(id, "WAITING")).toMatchObject({
      lifecycle_waiting_reason: "WAITING_FOR_HUMAN",
    });
    expect(await stage.perdure("explain", id)).toContain(
      "waits for a decision about charge: done, retry or fail",
    );
    const charge = theCharge();
    const done = JSON.stringify({ id: charge.id, amount: 12 });
    const settled = await stage.perdure("resolve-step", id, "charge", "--done", done);
    expect(settled).toContain(`${id}  step charge is done`);
    const ended = await stage.reaches(id, "COMPLETED");
    expect(ended.result).toBe(`book: paid 12, ${charge.id}`);
    expect(theCharge()).toEqual(charge);
    await next.says("resuming order.v1 3/3 (skipped reserve, charge");
    expect(next.output).not.toContain(ASKED);
  });

  test("killed before the charge it waits as well, and charges when the person says that it did not happen", async () => {
    const { id } = await killed("before");
    await stage.reaches(id, "WAITING");
    expect(stage.ledger()).toEqual([]);
    await client.resolveStep(id, "charge", "retry");
    const ended = await stage.reaches(id, "COMPLETED");
    expect(ended.result).toBe(`book: paid 12, ${theCharge().id}`);
  });

  test("it waits through a restart of its agent, and the client settles it as the command line does", async () => {
    const { id, next } = await killed("after");
    await stage.reaches(id, "WAITING");
    await next.kill();
    const charge = theCharge();
    await client.resolveStep(id, "charge", { done: { id: charge.id, amount: 12 } });
    stage.start("payment/ask.mjs");
    const ended = await stage.reaches(id, "COMPLETED");
    expect(ended).toMatchObject({ result: `book: paid 12, ${charge.id}` });
    expect(theCharge()).toEqual(charge);
  });
});

describe("with a function that looks into the book", () => {
  const killed = (hang: "before" | "after") => killedInTheCharge("payment/look.mjs", "careful-cashier", hang);

  test("killed after the charge it finds it and goes on by itself, charged once", async () => {
    const { id, next } = await killed("after");
    const ended = await stage.reaches(id, "COMPLETED");
    const charge = theCharge();
    expect(ended).toMatchObject({ attempt: 2, result: `book: paid 12, ${charge.id}` });
    await next.says(`looked into the book: charged as ${charge.id}`);
    expect(next.output).not.toContain(ASKED);
  });

  test("killed before the charge it finds nothing and charges, under the key of the first try", async () => {
    const { id, next } = await killed("before");
    const ended = await stage.reaches(id, "COMPLETED");
    await next.says("looked into the book: not charged");
    const charge = theCharge();
    expect(ended.result).toBe(`book: paid 12, ${charge.id}`);
    const { idempotency_key } = JSON.parse(await stage.perdure("steps", id, "--json")).steps.find(
      (step: { key: string }) => step.key === "charge",
    );
    expect(charge.reference).toBe(idempotency_key);
  });
});
