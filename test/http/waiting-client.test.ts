// Whoever waits for an answer may go away: nobody waits for nobody, and nothing is handed to them.
import { getEventListeners } from "node:events";
import { createServer, get, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { type RouteDeps, waitSignal } from "../../server/http/routes/deps.ts";

/** The answer of a request whose client has gone. */
async function abandoned(): Promise<{ raw: ServerResponse; close(): void }> {
  const http = createServer();
  http.listen(0, "127.0.0.1");
  const raw = await new Promise<ServerResponse>((resolve) => {
    http.on("listening", () => {
      const asking = get({ port: (http.address() as AddressInfo).port, host: "127.0.0.1" });
      asking.on("error", () => undefined);
      http.on("request", (_request, response) => {
        response.on("close", () => resolve(response));
        asking.destroy();
      });
    });
  });
  return { raw, close: () => http.close() };
}

test("a wait for a client that has gone already is over at once, and leaves no listener behind", async () => {
  const { raw, close } = await abandoned();
  const draining = new AbortController();
  const signal = waitSignal({ draining: draining.signal } as RouteDeps, { raw });
  expect(signal.aborted).toBe(true);
  expect(getEventListeners(draining.signal, "abort")).toEqual([]);
  close();
});
