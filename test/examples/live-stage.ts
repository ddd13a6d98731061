// A server and a stage on it for the file that asks for them: `server` and `stage` are there before its first test.
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";
import { LONG_LEASES, openStage, type Stage } from "./stage.ts";

export let server: TestServer;
export let stage: Stage;

/** One stage for all tests of the file, or one with an empty ledger for each. */
export function useStage(lasts: "file" | "test"): void {
  beforeAll(async () => {
    server = await startTestServer({ env: LONG_LEASES });
  });
  afterAll(() => server?.close());
  const [open, close] = lasts === "file" ? [beforeAll, afterAll] : [beforeEach, afterEach];
  open(() => {
    stage = openStage(server.url);
  });
  close(() => stage?.close());
}
