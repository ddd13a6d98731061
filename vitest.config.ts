// How the tests run. One PostgreSQL serves them all (test/support/global-setup.ts); each file makes its own database.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "sdk/test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    // Processes, not threads: tests start and kill servers, and signals and process.exit belong to processes.
    pool: "forks",
    // Several tests start processes of their own; more workers only make them wait for each other.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    restoreMocks: true,
    unstubEnvs: true,
    coverage: {
      provider: "v8",
      include: ["server/**/*.ts", "sdk/src/**/*.ts"],
      exclude: ["server/main.ts", "server/dashboard/**", "**/*.d.ts"],
      reporter: ["text-summary", "html", "json-summary"],
      thresholds: {
        // The part that decides. Everything else is exercised through it and through processes that coverage cannot see.
        "server/domain/**/*.ts": { branches: 100, functions: 100, lines: 100, statements: 100 },
      },
    },
  },
});
