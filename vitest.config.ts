// How the tests run. One PostgreSQL serves them all (test/support/global-setup.ts); each file makes its own database.
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** What starts processes, or waits for random work to end, takes longest, whatever the size of its file. */
const LONG =
  /\/test\/(?:faults|postgres|examples|model|hostile|interop|kit)\/|\/(?:hearing|held-up|outages|outcomes|queue|replicated-commit|standstill)\.test/;

/** Where no earlier run has told how long each takes: a long one that comes last would leave the other worker idle. */
class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const isLong = ({ moduleId }: TestSpecification) => LONG.test(moduleId);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}
const isShuffled = process.argv.some((argument) => argument.startsWith("--sequence.shuffle"));

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "sdk/test/**/*.test.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    // Processes, not threads: tests start and kill servers, and signals and process.exit belong to processes.
    pool: "forks",
    // The files of a worker share one process, and so what they import: loading the server anew for each file took a quarter of the
    // time. A file that needs a process of its own says so with another @vitest-environment-options than the rest.
    isolate: false,
    ...(isShuffled ? {} : { sequence: { sequencer: LongOnesFirst } }),
    // Two more than a small machine has cores: much of a test's time is waiting, for leases, timers and processes of its own.
    maxWorkers: 4,
    // Longer than two waits in vain (test/support/until.ts), which say more than this does.
    testTimeout: 120_000,
    hookTimeout: 120_000,
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
