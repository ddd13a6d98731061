// What people do with intents from outside: decide their tasks, take them back to a checkpoint, handle a session as a group.
import { describe, expect, it } from "vitest";
import type { OpenTask } from "../../sdk/src/index.ts";
import {
  codeOf,
  newAddress,
  newProcess,
  quiet,
  send,
  sender,
  untilWaiting,
  useServer,
  waiting,
} from "./agents.ts";

useServer();

describe("people", () => {
  it("see what waits for them, and their first decision counts", async () => {
    const address = newAddress();
    newProcess().client.listen(
      address,
      (ctx) =>
        ctx.ask("approve", {
          title: "Publish?",
          description: "It is long.",
          outcomes: ["publish", "drop"],
          assignees: ["ann"],
          requireComment: true,
          form: { type: "object", required: ["channel"], properties: { channel: { type: "string" } } },
          remindAfter: "1h",
          deadline: "1d",
        }),
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_HUMAN");
    const tasks: OpenTask[] = [];
    for await (const task of sender.listTasks({ assignee: "ann" })) tasks.push(task);
    expect(tasks).toEqual([
      {
        intentId: id,
        step: "approve",
        intentType: "pub",
        status: "WAITING",
        fromAgent: expect.any(String),
        title: "Publish?",
        description: "It is long.",
        outcomes: ["publish", "drop"],
        assignees: ["ann"],
        form: expect.objectContaining({ required: ["channel"] }),
        requireComment: true,
        assignedAt: expect.stringMatching(/^\d{4}-.*Z$/),
        dueAt: expect.stringMatching(/^\d{4}-.*Z$/),
      },
    ]);
    for await (const task of sender.listTasks({ assignee: "bob" })) expect.unreachable(task.title);
    const data = { channel: "blog" };
    const decide = (outcome: string, rest: object) => codeOf(sender.decide(id, { outcome, ...rest }));
    expect(await decide("approved", { comment: "c", data })).toBe("validation_failed");
    expect(await decide("publish", { data })).toBe("validation_failed");
    expect(await decide("publish", { comment: "c", data: { channel: 1 } })).toBe("validation_failed");
    const right = { outcome: "publish", comment: "c", data };
    expect(await sender.decide(id, right, { step: "approve" })).toMatchObject({ id });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      result: { outcome: "publish", comment: "c", data },
    });
    expect(await decide("publish", { comment: "c", data })).toBe("no error");
    expect(await decide("drop", { comment: "c", data })).toBe("already_decided");
    expect(await codeOf(sender.decide(await send("nobody"), right))).toBe("no_human_task");
  });

  it("may be asked without any agent: the decision is the result", async () => {
    const humanTask = { title: "Refund 40 €?", deadline: "2d" } as const;
    const id = await send("support", { humanTask });
    await untilWaiting(id, "WAITING_FOR_HUMAN");
    await sender.decide(id, { outcome: "rejected" });
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({
      status: "COMPLETED",
      result: { outcome: "rejected" },
    });
    const late = await send("support", { humanTask: { ...humanTask, deadline: "100ms" } });
    await expect(sender.waitFor(late, waiting)).resolves.toMatchObject({ status: "TIMED_OUT" });
  });
});

describe("checkpoints", () => {
  it("keep the first naming over replays, and take the intent back", async () => {
    const address = newAddress();
    const ran: string[] = [];
    newProcess().client.listen(
      address,
      async (ctx) => {
        await ctx.step("a", () => void ran.push("a"));
        await ctx.checkpoint("half way");
        await ctx.step("b", () => void ran.push("b"));
        return await ctx.waitForSignal("go");
      },
      quiet,
    );
    const id = await send(address);
    await untilWaiting(id, "WAITING_FOR_TOOL");
    const [named] = await sender.checkpoints(id);
    expect(named).toEqual({
      name: "half way",
      seq: expect.any(Number),
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      createdBy: expect.any(String),
      metadata: {},
      stepsDone: 1,
    });
    await sender.signal(id, "go", 1);
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 1 });
    expect(await sender.checkpoints(id)).toEqual([named]);
    await sender.restore(id, "half way");
    // What the superseded wait took is there again.
    await expect(sender.waitFor(id, waiting)).resolves.toMatchObject({ result: 1 });
    expect(ran).toEqual(["a", "b", "b"]);
    expect(await codeOf(sender.restore(id, "nowhere"))).toBe("checkpoint_not_found");
    expect(await codeOf(sender.restore(id, 1_000_000))).toBe("validation_failed");
  });
});

describe("sessions", () => {
  it("are listed, paused, canceled and deleted as groups", async () => {
    const session = "trip";
    const ids = await Promise.all([1, 2, 3].map(() => send("nobody", { session, retention: { keep: 5 } })));
    await sender.cancel(ids[0] ?? "");
    expect(await sender.sessions.get(session)).toEqual({
      name: session,
      paused: false,
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      lastActivityAt: expect.stringMatching(/^\d{4}-.*Z$/),
      intents: { total: 3, SUBMITTED: 2, CANCELED: 1 },
    });
    const listed: string[] = [];
    for await (const { name } of sender.sessions.list()) listed.push(name);
    expect(listed).toContain(session);
    expect(await sender.sessions.pause(session, { reason: "wait" })).toMatchObject({
      session: { paused: true },
    });
    expect(await sender.sessions.unpause(session)).toMatchObject({ session: { paused: false } });
    expect(await codeOf(sender.sessions.delete(session))).toBe("session_active");
    expect(await sender.sessions.cancel(session)).toMatchObject({
      session: { intents: { total: 3, CANCELED: 3 } },
      changed: 2,
    });
    expect(await sender.sessions.delete(session)).toBe(3);
    expect(await codeOf(sender.sessions.get(session))).toBe("session_not_found");
  });
});
