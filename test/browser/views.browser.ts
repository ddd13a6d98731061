// Each view and each action of the dashboard, in a real Chromium against a real server.
import axe from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ADMIN_KEY, startKeyedServer } from "../support/keys.ts";
import { call, startTestServer, type TestServer, until } from "../support/server.ts";
import { launch, type Opened, open } from "./browser.ts";
import { type Seed, seed, send } from "./seed.ts";

/** Some characters that turn text around, and some beyond the first plane. */
const HOSTILE = `<script>globalThis.hacked = 1</script><img src=x onerror="globalThis.hacked = 2"> \u202Egnorw\u202C עברית \u{1F525}`;

let server: TestServer;
let seeded: Seed;
let browser: Browser;
let opened: Opened;
let page: Page;

beforeAll(async () => {
  server = await startTestServer();
  seeded = await seed(server);
  browser = await launch();
});
afterAll(async () => {
  await browser?.close();
  await seeded?.close();
  await server?.close();
});
beforeEach(async () => {
  opened = await open(browser, `${server.url}/`);
  page = opened.page;
});
afterEach(async () => {
  expect(opened.complaints).toEqual([]);
  await opened.close();
});

const visit = (hash: string) => page.goto(`${server.url}/#/${hash}`);
const statusOf = async (id: string): Promise<string> =>
  (await call(server, "GET", `/v1/intents/${id}`)).body.status;
const button = (name: string | RegExp) => page.getByRole("button", { name });
const rows = () => page.locator(".grid-body .row");

async function violations(): Promise<string[]> {
  await page.evaluate(`if (globalThis.axe === undefined) { ${axe.source} }`);
  return page.evaluate(`axe.run(document, { resultTypes: ["violations"] }).then(({ violations, passes }) =>
    passes.length < 10 ? ["axe looked at next to nothing"] :
    violations.map(({ id, nodes }) => id + ": " + nodes.map((node) => node.html.slice(0, 160)).join(" | ")))`);
}

describe("intents", () => {
  test("are counted by status, filtered in the URL, and found again with it", async () => {
    await page.locator(".counts").getByText("Failed").click();
    await page.waitForURL(/status=FAILED/);
    await until("only failed ones", async () =>
      (await page.locator(".c-status").allInnerTexts()).every((text) => text === "Failed"),
    );
    await page.getByLabel("Type", { exact: true }).fill("parse.v1");
    await page.waitForURL(/type=parse\.v1/);
    await until("one row", async () => (await rows().count()) === 1);
    await page.reload();
    await until("one row again", async () => (await rows().count()) === 1);
    await button("Clear").click();
    await until("all", async () => (await rows().count()) > 10);
  });

  test("are searched for text, and opened from the keyboard", async () => {
    await rows().first().waitFor();
    await page.keyboard.press("/");
    await until("the search field", () => page.evaluate("document.activeElement?.id === 'search'"));
    await page.keyboard.type("bees");
    await until("the one", async () => (await rows().count()) === 1);
    await page.locator(".grid").focus();
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(new RegExp(seeded.asked));
    await page.keyboard.press("g");
    await page.keyboard.press("a");
    await page.waitForURL(/#\/agents/);
  });

  test("appear and change without a reload", async () => {
    await rows().first().waitFor();
    const id = await send(server, { intent_type: "fresh.v1", to_agent: "agent://demo/live/x" });
    await page.locator(`[data-row="${id}"]`).getByText("Submitted").waitFor();
    await call(server, "POST", `/v1/intents/${id}/resolve`, { status: "COMPLETED", result: 1 });
    await page.locator(`[data-row="${id}"]`).getByText("Completed").waitFor();
  });

  test("are canceled in bulk: counted, confirmed, done to those that match alone", async () => {
    const ids = await Promise.all(
      [1, 2, 3].map(() => send(server, { intent_type: "bulk.v1", to_agent: "agent://demo/live/bulk" })),
    );
    await visit("intents?type=bulk.v1");
    await until("three", async () => (await rows().count()) === 3);
    await page
      .getByRole("group", { name: "For all that match" })
      .getByRole("button", { name: "Cancel…" })
      .click();
    await page.getByText("3 intents match").waitFor();
    await button("Cancel 3").click();
    await page.getByText("Cancel: 3 intents").waitFor();
    for (const id of ids) expect(await statusOf(id)).toBe("CANCELED");
    expect(await statusOf(seeded.parent)).toBe("SUBMITTED");
  });
});

/** The types of the rows in sight, from the top. */
const types = () => page.locator(".grid-body .c-type").allInnerTexts();
const tops = async () => {
  const all = await rows().evaluateAll((list) =>
    list.map((row) => [String(row.getAttribute("style")), row.getAttribute("data-row")] as const),
  );
  const place = (style: string) => Number(/translateY\((\d+)/.exec(style)?.[1] ?? 0);
  return all.sort(([a], [b]) => place(a) - place(b)).map(([, id]) => id);
};
const selected = () => page.locator('.grid-body .row[aria-selected="true"]').count();

describe("the list", () => {
  const ofType = (type: string, bodies: readonly object[]) =>
    bodies.reduce<Promise<string[]>>(
      async (before, body) => [
        ...(await before),
        await send(server, { intent_type: type, to_agent: "agent://demo/live/list", ...body }),
      ],
      Promise.resolve([]),
    );

  test("is sorted by its heads and by choice, and stays so while it changes", async () => {
    const [a, b, c] = (await ofType("sorted.v1", [
      { priority: 2, ttl_seconds: 900 },
      { priority: 9 },
      { priority: 5, ttl_seconds: 300 },
    ])) as [string, string, string];
    const shows = (...ids: string[]) =>
      until(`the order ${ids.join(" ")}`, async () => (await tops()).join() === ids.join());
    await visit("intents?type=sorted.v1");
    await shows(c, b, a);
    await page.getByRole("button", { name: "Created" }).click();
    await page.waitForURL(/order=oldest/);
    await shows(a, b, c);
    await page.getByRole("button", { name: "Changed" }).click();
    await page.waitForURL(/order=recently_changed/);
    await shows(c, b, a);
    await call(server, "POST", `/v1/intents/${b}/pause`, {});
    await shows(b, c, a);
    expect(await page.getByRole("columnheader", { name: "Changed" }).getAttribute("aria-sort")).toBe(
      "descending",
    );
    await page.getByRole("button", { name: "Changed" }).click();
    await shows(a, c, b);
    await page.getByLabel("Order").selectOption("Highest priority");
    await shows(b, c, a);
    await page.getByRole("columnheader", { name: "Priority" }).waitFor();
    await page.getByLabel("Order").selectOption("Soonest deadline");
    await shows(c, a);
    // What has ended has no deadline any more.
    await call(server, "POST", `/v1/intents/${c}/cancel`, {});
    await shows(a);
    await page.getByLabel("Order").selectOption("Newest first");
    await shows(c, b, a);
    for (const id of [a, b]) await call(server, "POST", `/v1/intents/${id}/cancel`, {});
  });

  test("lets rows be picked with the mouse, and does a verb to those alone", async () => {
    const ids = await ofType("pick.v1", [{}, {}, {}, {}, {}]);
    await visit("intents?type=pick.v1");
    await until("five", async () => (await rows().count()) === 5);
    const box = (n: number) => page.locator(`[data-row="${ids[n]}"] input[type=checkbox]`);
    await box(4).click();
    await box(2).click({ modifiers: ["Shift"] });
    await page.getByText("3 selected").waitFor();
    expect(await selected()).toBe(3);
    await box(3).click();
    await page.getByText("2 selected").waitFor();
    await page
      .getByRole("group", { name: "For the selected" })
      .getByRole("button", { name: "Pause…", exact: true })
      .click();
    await page.getByText("2 intents match").waitFor();
    await button("Pause 2").click();
    await page.getByText("Pause: 2 intents").waitFor();
    await page.getByRole("group", { name: "For all that match" }).waitFor();
    const paused = await Promise.all(
      ids.map(async (id) => (await call(server, "GET", `/v1/intents/${id}`)).body.intent.paused),
    );
    expect(paused).toEqual([false, false, true, false, true]);

    // The tab of paused ones narrows what a verb is done to, as it narrows the list.
    await visit("intents?type=pick.v1&paused=true");
    await until("two", async () => (await rows().count()) === 2);
    await page
      .getByRole("group", { name: "For all that match" })
      .getByRole("button", { name: "Unpause…" })
      .click();
    await button("Unpause 2").click();
    await page.getByText("Unpause: 2 intents").waitFor();
    await call(server, "POST", `/v1/intents/${ids[0]}/pause`, {});
    await visit("intents?type=pick.v1&paused=true");
    await until("one", async () => (await rows().count()) === 1);
    await page
      .getByRole("group", { name: "For all that match" })
      .getByRole("button", { name: "Cancel…" })
      .click();
    await button("Cancel 1").click();
    await page.getByText("Cancel: 1 intent").waitFor();
    expect(await statusOf(ids[0] as string)).toBe("CANCELED");
    expect(await statusOf(ids[1] as string)).toBe("SUBMITTED");
  });

  test("lets rows be picked from the keyboard, and says to how many of them a verb applies", async () => {
    const ids = await ofType("keys.v1", [{}, {}, {}, {}]);
    await call(server, "POST", `/v1/intents/${ids[3]}/cancel`, {});
    await visit("intents?type=keys.v1");
    await until("four", async () => (await rows().count()) === 4);
    await page.locator(".grid").focus();
    await page.keyboard.press("j");
    await page.keyboard.press("x");
    await page.getByText("1 selected").waitFor();
    await page.keyboard.press("Shift+ArrowDown");
    await page.keyboard.press("Shift+ArrowDown");
    await page.getByText("3 selected").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("group", { name: "For all that match" }).waitFor();
    await page.keyboard.press("Control+a");
    await page.getByText("4 selected").waitFor();
    expect(await violations()).toEqual([]);
    await page.getByLabel("Select all rows that are loaded").click();
    expect(await selected()).toBe(0);
    await page.getByLabel("Select all rows that are loaded").click();
    await page.getByText("4 selected").waitFor();
    const verb = (name: string) =>
      page.getByRole("group", { name: "For the selected" }).getByRole("button", { name }).click();
    await verb("Cancel…");
    await page.getByText("3 intents match").waitFor();
    await button("Cancel 3").click();
    await page.getByText("Cancel: 3 intents").waitFor();
    for (const id of ids) expect(await statusOf(id)).toBe("CANCELED");
    await page.locator(".grid").focus();
    await page.keyboard.press("Control+a");
    await verb("Retry…");
    await page.getByText(/0 intents match/).waitFor();
    expect(await button("Retry 0").isDisabled()).toBe(true);
  });

  test("is narrowed to a time, a session, metadata and a code, all of them in the URL", async () => {
    const [id] = await ofType("narrow.v1", [{ session: "narrow", metadata: { team: "teal" } }, {}]);
    await visit("intents?type=narrow.v1");
    await until("two", async () => (await rows().count()) === 2);
    await button("More filters").click();
    await page.getByLabel("Session").fill("narrow");
    await until("one", async () => (await tops()).join() === id);
    await page.getByLabel("Session").fill("");
    await page.getByLabel("Metadata: key=value").fill("team=teal");
    await until("one again", async () => (await tops()).join() === id);
    await page.getByLabel("Metadata: key=value").fill("");
    await page.getByLabel("Created from").fill("2035-01-01T10:00");
    await page.waitForURL(/from=2035-01-01T10/);
    await page.getByText("No intent matches").waitFor();
    await page.getByLabel("Created from").fill("2024-01-01T10:00");
    await until("both", async () => (await rows().count()) === 2);
    await page.getByLabel("until").fill("2024-01-02T10:00");
    await page.getByText("No intent matches").waitFor();
    await page.reload();
    await page.getByText("No intent matches").waitFor();
    await button("Clear the filters").click();
    await page.getByLabel("Created", { exact: true }).selectOption("Last 1h");
    await page.waitForURL(/since=1h/);
    await until("some", async () => (await types()).includes("narrow.v1"));
    await visit("intents?code=handler_error");
    await until("only failed ones", async () =>
      (await page.locator(".c-status").allInnerTexts()).every((text) => text === "Failed"),
    );
  });
});

describe("an intent", () => {
  test("shows its crash, its interrupted step and its redelivery, and says them in words", async () => {
    await visit(`intents/${seeded.crashed}`);
    await page.locator(".tl-bar.kind-lost").waitFor();
    expect(await page.locator(".tl-bar.kind-interrupted").count()).toBe(1);
    expect(await page.locator(".mark-crash").count()).toBe(1);
    expect(await page.locator(".mark-redelivery").count()).toBe(1);
    expect(await page.locator(".tl-bar.kind-lost").textContent()).toMatch(/Attempt 1 on etl-1: lost/);
    await page.locator(".steps summary", { hasText: "extract" }).click();
    await page.getByText('"rows": 31204').first().waitFor();
    await page.getByRole("tab", { name: /Events/ }).click();
    await page.locator(".events .loud", { hasText: "Step interrupted" }).first().waitFor();
    await page.getByRole("tab", { name: "As code" }).click();
    expect(await page.locator("pre").first().textContent()).toContain("curl -X POST");
  });

  test("is paused, unpaused, canceled and retried", async () => {
    const id = await send(server, { intent_type: "verbs.v1", to_agent: "agent://demo/live/verbs" });
    await visit(`intents/${id}`);
    await button("Pause").click();
    await button("Unpause").click();
    await button("Pause").waitFor();
    await button("Cancel…").click();
    await button("Cancel the intent").click();
    await page.locator(".intent-title").getByText("Canceled").waitFor();
    await button("Retry").click();
    await page.locator(".intent-title").getByText("Submitted").waitFor();
    expect(await statusOf(id)).toBe("SUBMITTED");
  });

  test("has checkpoints that it is restored to", async () => {
    const id = await send(server, { intent_type: "points.v1", to_agent: "agent://demo/live/points" });
    await visit(`intents/${id}?tab=checkpoints`);
    await page.getByLabel("Name this moment").fill("before lunch");
    await button("Save checkpoint").click();
    await button("Restore…").click();
    await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
    await page.getByText("Restored to checkpoint before lunch").waitFor();
    await until("the log's word", async () => {
      const { body } = await call(server, "GET", `/v1/intents/${id}/events`);
      return body.events.some((event: { event_type: string }) => event.event_type === "intent.restored");
    });
  });

  test("shows its state with versions and what changed, and its children", async () => {
    await visit(`intents/${seeded.stateful}?tab=state`);
    await button("History and diff").click();
    await page.locator(".line.gone", { hasText: "false" }).waitFor();
    await page.locator(".line.new", { hasText: "receipt" }).waitFor();
    await visit(`intents/${seeded.parent}?tab=children`);
    await until("its children", async () => (await page.locator("tbody tr").count()) === 3);
  });

  test("with a step in doubt is settled by whoever looked", async () => {
    const address = "agent://demo/live/doubt";
    const steps = [{ key: "pay", on_interrupt: "ask" }, "ship"];
    const id = await send(server, { intent_type: "pay.v1", to_agent: address, steps });
    const claimed = await call(server, "POST", "/v1/agents/demo/live/doubt/claim", {
      consumer: "c",
      max: 1,
      lease_seconds: 1,
      wait_seconds: 1,
    });
    const { attempt } = claimed.body.deliveries[0];
    await call(server, "PUT", `/v1/intents/${id}/steps/pay`, { status: "running", attempt });
    await visit(`intents/${id}`);
    // Its lease runs out meanwhile, before the reader's eyes.
    await button("It happened").waitFor();
    await page.getByLabel("Result").fill('{"paid": 12}');
    await button("It happened").click();
    await page.getByText("Step pay is settled").waitFor();
    const answer = await call(server, "GET", `/v1/intents/${id}/steps`);
    expect(answer.body.steps[0]).toMatchObject({ status: "done", result: { paid: 12 } });
  });

  test("starts over, and goes back to an entry of its log", async () => {
    const id = await send(server, { intent_type: "back.v1", to_agent: "agent://demo/live/back" });
    await visit(`intents/${id}`);
    await button("Start over…").click();
    await page.getByRole("dialog").getByText("the beginning").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
    await page.getByText("Restored to the beginning").waitFor();
    await visit(`intents/${id}?tab=events`);
    await page.locator(".events summary", { hasText: "Submitted" }).first().click();
    await button("Restore to here…").click();
    await page.getByRole("dialog").getByRole("button", { name: "Restore" }).click();
    await page.getByText(/Restored to entry \d of its log/).waitFor();
    const { body } = await call(server, "GET", `/v1/intents/${id}/events`);
    const restored = body.events.filter(
      (event: { event_type: string }) => event.event_type === "intent.restored",
    );
    expect(restored.length).toBe(2);
    await call(server, "POST", `/v1/intents/${id}/cancel`, {});
  });

  test("with a step in doubt runs it again, or fails, as is decided", async () => {
    const address = "agent://demo/live/doubts";
    const inDoubt = async () => {
      const steps = [{ key: "pay", on_interrupt: "ask" }];
      const id = await send(server, { intent_type: "pay.v1", to_agent: address, steps });
      const claimed = await call(server, "POST", "/v1/agents/demo/live/doubts/claim", {
        max: 1,
        lease_seconds: 1,
        wait_seconds: 1,
      });
      const { attempt } = claimed.body.deliveries[0];
      await call(server, "PUT", `/v1/intents/${id}/steps/pay`, { status: "running", attempt });
      await visit(`intents/${id}`);
      await button("It happened").waitFor();
      return id;
    };
    const again = await inDoubt();
    await button("Run it again").click();
    await page.getByText("Step pay is settled").waitFor();
    await page
      .locator(".intent-title")
      .getByText("Submitted")
      .or(page.locator(".intent-title").getByText("In progress"))
      .waitFor();
    await call(server, "POST", `/v1/intents/${again}/cancel`, {});
    const failed = await inDoubt();
    await page.getByRole("group", { name: "Settle step pay" }).getByRole("button", { name: "Fail" }).click();
    await page.locator(".intent-title").getByText("Failed").waitFor();
    expect(await statusOf(failed)).toBe("FAILED");
  });

  test("is copied: its id, as curl and as code", async () => {
    await opened.context.grantPermissions(["clipboard-read", "clipboard-write"]);
    const clipboard = () => page.evaluate<string>("navigator.clipboard.readText()");
    await visit(`intents/${seeded.crashed}?tab=code`);
    await button("Copy id").click();
    await until("the id", async () => (await clipboard()) === seeded.crashed);
    const code = (label: string) =>
      page.locator(".json", { hasText: label }).getByRole("button", { name: "Copy" }).click();
    await code("Send it again with curl");
    await until("curl", async () => (await clipboard()).startsWith("curl -X POST"));
    await code("Send it again with the SDK");
    await until("code", async () => (await clipboard()).includes("sendIntent"));
    await code("Follow it");
    await until("a command", async () => (await clipboard()) === `perdure tail ${seeded.crashed}`);
  });

  test("that is not there says so", async () => {
    await visit("intents/00000000-0000-7000-8000-000000000000");
    await page.getByText("there is no intent").waitFor();
  });
});

describe("the other views", () => {
  test("agents: what waits with nobody listening is loud; one is paused and unpaused", async () => {
    await visit("agents");
    await page.getByRole("alert").getByText("nobody listens").waitFor();
    await page.getByRole("alert").getByText("demo/data/nobody").waitFor();
    const card = page.locator(".agent", { hasText: "demo/shop/orders" });
    await card.getByRole("button", { name: "demo/shop/orders" }).click();
    await card.getByText("orders-1").waitFor();
    await card.getByText("Online").waitFor();
    await card.getByRole("button", { name: "Pause" }).click();
    await card.getByText("Paused").waitFor();
    await card.getByRole("button", { name: "Unpause" }).click();
    await card.getByText("Listening", { exact: true }).waitFor();
  });

  test("approvals: a decision with its form, in two clicks", async () => {
    const id = await seeded.client.sendIntent({
      intentType: "post.v1",
      toAgent: "agent://demo/data/publisher",
      payload: { topic: "ants" },
    });
    await visit("approvals");
    const card = page.locator(".task", { hasText: "ants" });
    await card.getByLabel("channel (required)").selectOption("mail");
    await card.getByRole("button", { name: "Approved" }).click();
    await card.getByRole("button", { name: "Confirm: Approved" }).click();
    await card.waitFor({ state: "detached" });
    const answer = await until("its end", async () => {
      const { body } = await call(server, "GET", `/v1/intents/${id}`);
      return body.status === "COMPLETED" ? body : undefined;
    });
    expect(answer.result).toEqual({ published: true, where: { channel: "mail" } });
  });

  test("dead letters: the causes, and the way back", async () => {
    await visit("dead");
    const card = page.locator(".card", { hasText: "parse.v1" });
    await card.getByText("Attempt 3 on parser-3").waitFor();
    await card.getByRole("button", { name: "Redrive" }).click();
    await card.waitFor({ state: "detached" });
    expect(await statusOf(seeded.dead)).toBe("SUBMITTED");
    await call(server, "POST", `/v1/intents/${seeded.dead}/cancel`, {});
  });

  test("dead letters: all of them at once", async () => {
    const address = "agent://demo/live/poison";
    const body = { intent_type: "poison.v1", to_agent: address, max_delivery_attempts: 1, steps: ["parse"] };
    const ids = [await send(server, body), await send(server, body)];
    const claimed = await call(server, "POST", "/v1/agents/demo/live/poison/claim", {
      max: 2,
      lease_seconds: 1,
      wait_seconds: 1,
    });
    expect(claimed.body.deliveries.length).toBe(2);
    await visit("dead");
    await until("both", async () => (await page.locator(".card", { hasText: "poison.v1" }).count()) === 2);
    await button("Redrive all…").click();
    await button("Retry 2").click();
    await page.getByText("Retry: 2 intents").waitFor();
    for (const id of ids) {
      expect(await statusOf(id)).toBe("SUBMITTED");
      await call(server, "POST", `/v1/intents/${id}/cancel`, {});
    }
  });

  test("the keyboard goes everywhere, changes the colours and tells what it does", async () => {
    await rows().first().waitFor();
    for (const [key, place] of [
      ["o", "overview"],
      ["p", "approvals"],
      ["d", "dead"],
      ["s", "send"],
      ["i", "intents"],
    ] as const) {
      await page.locator("h1").first().click();
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.waitForURL(new RegExp(`#/${place}`));
    }
    await page.keyboard.press("?");
    await page.getByRole("dialog").getByText("Search the intents").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    const theme = () => page.evaluate("document.documentElement.dataset.theme ?? 'system'");
    const before = await theme();
    await page.keyboard.press("t");
    expect(await theme()).not.toBe(before);
  });

  test("send: a wrong payload is named, a right one is sent and shown", async () => {
    await visit("send");
    await page.getByLabel("To agent").fill("agent://demo/live/sent");
    await page.getByLabel("Type").fill("hand.v1");
    await page.getByLabel("Payload (JSON)").fill("[1");
    expect(await button("Send").isDisabled()).toBe(true);
    // More digits than JavaScript's numbers have.
    await page.getByLabel("Payload (JSON)").fill('{"n": 12345678901234567890}');
    await page.getByLabel("Steps, in order (optional)").fill("one, two");
    await button("Send").click();
    await page.getByRole("heading", { name: "hand.v1" }).waitFor();
    const id = page.url().split("/").at(-1);
    const raw = await (await fetch(`${server.url}/v1/intents/${id}`)).text();
    expect(raw).toContain("12345678901234567890");
    await page.getByRole("tab", { name: "Payload and result" }).click();
    await page.getByText('"n": 12345678901234567890').waitFor();
  });

  test("overview: numbers, charts and queues", async () => {
    await visit("overview");
    await page.locator(".tile").first().waitFor();
    await button("24 h").click();
    await page.waitForURL(/window=86400/);
    await page.getByRole("img", { name: /Ended, per 24 m/ }).waitFor();
    await button("1 h").click();
    await page.getByRole("img", { name: /Ended, per/ }).waitFor();
    await page.getByRole("link", { name: "handler_error" }).click();
    await page.waitForURL(/code=handler_error/);
    await rows().first().waitFor();
  });

  test("whatever is hostile is text", async () => {
    const id = await send(server, {
      intent_type: HOSTILE.slice(0, 150),
      to_agent: "agent://demo/live/hostile",
      payload: { html: HOSTILE, long: "<b>".repeat(330_000) },
      metadata: { "<i>": HOSTILE },
      steps: [{ key: "<u>step</u>", title: HOSTILE }],
    });
    await visit("intents");
    await page.locator(`[data-row="${id}"]`).waitFor();
    for (const tab of ["steps", "events", "data", "code"]) {
      await visit(`intents/${id}?tab=${tab}`);
      await page.locator(".panel").waitFor();
    }
    await visit(`intents/${id}?tab=data`);
    await page.getByText("<script>globalThis.hacked").first().waitFor();
    await button("Show all").click();
    await page.locator(".piece").nth(200).waitFor({ state: "attached" });
    expect(await page.evaluate("globalThis.hacked")).toBeUndefined();
    expect(await page.locator(".panel img, .panel script, .panel b, .panel i").count()).toBe(0);
    await call(server, "POST", `/v1/intents/${id}/cancel`, {});
  });

  test("are accessible, in light and in dark", async () => {
    const found: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const hashes = [
        "intents",
        "intents?order=priority&from=2024-01-01T00:00:00.000Z",
        `intents/${seeded.crashed}`,
        `intents/${seeded.crashed}?tab=events`,
        `intents/${seeded.stateful}?tab=state`,
      ];
      for (const hash of [...hashes, "overview", "agents", "approvals", "dead", "send", "start"]) {
        await visit(hash);
        await page.locator("h1").first().waitFor();
        await page.locator(".loading").waitFor({ state: "detached" });
        for (const one of await violations()) found.push(`${colorScheme} ${hash} ${one}`);
      }
    }
    expect(found).toEqual([]);
  });
});

test("a server with keys asks for one, once, and never puts it into a URL", async () => {
  const keyed = await startKeyedServer();
  const own = await open(browser, `${keyed.url}/`);
  const urls: string[] = [];
  own.page.on("request", (request) => urls.push(request.url()));
  await own.page.getByLabel("API key").fill("wrong-key-that-nobody-has");
  await own.page.getByRole("button", { name: "Open" }).click();
  await own.page.getByText("does not know this key").waitFor();
  await own.page.getByLabel("API key").fill(ADMIN_KEY);
  await own.page.getByRole("button", { name: "Open" }).click();
  await own.page.getByRole("heading", { name: "Watch an agent crash" }).waitFor();
  await own.page.getByText("Live").waitFor();
  await own.page.reload();
  await own.page.getByText("Live").waitFor();
  expect(urls.join("\n")).not.toContain(ADMIN_KEY);
  expect(await own.page.evaluate("JSON.stringify(localStorage)")).not.toContain(ADMIN_KEY);
  await own.page.getByRole("button", { name: "Forget key" }).click();
  await own.page.getByLabel("API key").waitFor();
  await own.close();
  await keyed.close();
});

test("the first-run page lights up as its commands are run", async () => {
  const fresh = await startTestServer();
  const own = await open(browser, `${fresh.url}/`);
  await own.page.waitForURL(/#\/start/);
  const lit = () => own.page.locator(".commands .lit").count();
  expect(await lit()).toBe(0);
  const take = (consumer: string, seconds: number) =>
    call(fresh, "POST", "/v1/agents/demo/data/etl/claim", {
      consumer,
      max: 1,
      lease_seconds: seconds,
      wait_seconds: 0.4,
    });
  await take("one", 5);
  await until("the agent", async () => (await lit()) === 1);
  await send(fresh, { intent_type: "etl.v1", to_agent: "agent://demo/data/etl", steps: ["extract"] });
  await until("the intent", async () => (await lit()) === 2);
  await until("the first delivery", async () => (await take("two", 1)).body.deliveries.length === 1);
  await until("the redelivery", async () => (await take("three", 5)).body.deliveries.length === 1);
  await until("the crash", async () => (await lit()) === 3);
  expect(own.complaints).toEqual([]);
  await own.close();
  await fresh.close();
});
