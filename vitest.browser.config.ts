// The dashboard's tests, in a real Chromium against a real server: `npm run test:browser`. Not part of `npm test`, which needs no browser.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/browser/**/*.browser.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    pool: "forks",
    // A browser, a server and PostgreSQL are enough for two cores.
    maxWorkers: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
  },
});
