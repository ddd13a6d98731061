// Every view in light, in dark and on a phone, for docs/dashboard: SCREENSHOTS=docs/dashboard npm run test:browser -- screenshots
import { mkdirSync, mkdtempSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { launch, open } from "./browser.ts";
import { type Seed, seed, seedPast } from "./seed.ts";

let server: TestServer;
let seeded: Seed;
let browser: Browser;
const folder = process.env.SCREENSHOTS ?? mkdtempSync(join(tmpdir(), "perdure-shots-"));

beforeAll(async () => {
  server = await startTestServer();
  await seedPast(server.databaseUrl);
  seeded = await seed(server);
  browser = await launch();
  mkdirSync(folder, { recursive: true });
});
afterAll(async () => {
  await browser?.close();
  await seeded?.close();
  await server?.close();
});

const views = (): readonly (readonly [name: string, hash: string, sign: string])[] => [
  ["intents", "#/intents", ".grid-body .row"],
  ["intent", `#/intents/${seeded.crashed}`, ".tl-bar"],
  ["intent-events", `#/intents/${seeded.crashed}?tab=events`, ".events li"],
  ["intent-state", `#/intents/${seeded.stateful}?tab=state`, ".panel .json"],
  ["agents", "#/agents?agent=agent%3A%2F%2Fdemo%2Fshop%2Forders", ".agent table"],
  ["approvals", "#/approvals", ".task"],
  ["overview", "#/overview", ".chart"],
  ["dead-letters", "#/dead", ".causes li"],
  ["send", "#/send", "form"],
  ["first-run", "#/start", ".commands"],
];

const SHOTS = [
  { name: "light", colorScheme: "light", width: 1280, height: 800 },
  { name: "dark", colorScheme: "dark", width: 1280, height: 800 },
  { name: "phone", colorScheme: "light", width: 390, height: 780 },
] as const;

for (const shot of SHOTS)
  test(`every view shows itself: ${shot.name}`, async () => {
    const { page, complaints, close } = await open(browser, server.url, shot);
    for (const [name, hash, sign] of views()) {
      await page.goto(`${server.url}/${hash}`);
      await page.waitForSelector(sign);
      await page.locator(".loading").waitFor({ state: "detached" });
      if (name === "intent-state") {
        await page.getByRole("button", { name: "History and diff" }).first().click();
        await page.waitForSelector(".diff pre");
      }
      // Nothing is under the pointer.
      await page.mouse.move(0, 0);
      const path = join(folder, `${name}-${shot.name}.png`);
      await page.screenshot({ path });
      expect(statSync(path).size).toBeGreaterThan(5_000);
      const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      expect(wide, `${name} is no wider than the window`).toBeLessThanOrEqual(0);
    }
    expect(complaints).toEqual([]);
    await close();
  });
