// Which answers are asked for again, against a plain HTTP server whose answers the test chooses.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { errorOf, parseRetryAfter } from "../../sdk/src/answer.ts";
import { PerdureError } from "../../sdk/src/errors.ts";
import { Http } from "../../sdk/src/http.ts";

type Reply = { status: number; body?: unknown; headers?: Record<string, string> } | "drop";
const servers: Server[] = [];

/** Answers each request with the next of `replies`, then always with the last. */
async function serve(...replies: Reply[]): Promise<{ http: Http; requests: IncomingMessage[] }> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    const reply = replies[Math.min(requests.length, replies.length - 1)] ?? "drop";
    requests.push(request);
    if (reply === "drop") return void request.socket.destroy();
    response.writeHead(reply.status, { "content-type": "application/json", ...reply.headers });
    response.end(JSON.stringify(reply.body ?? { ok: true }));
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return { http: new Http({ baseUrl, apiKey: "secret", maxRetries: 2, fetch }), requests };
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

describe("Http", () => {
  it("repeats a keyed write after a lost answer, with the same key", async () => {
    const { http, requests } = await serve(
      "drop",
      { status: 503 },
      { status: 200, body: { ok: true, n: 1 } },
    );
    await expect(
      http.send({ method: "POST", path: "/x", body: {}, idempotencyKey: "k" }),
    ).resolves.toMatchObject({ n: 1 });
    expect(requests.map((request) => request.headers["idempotency-key"])).toEqual(["k", "k", "k"]);
    expect(requests[0]?.headers["x-api-key"]).toBe("secret");
  });

  it("sends a write only once when nothing tells the server that it is the same", async () => {
    const { http, requests } = await serve("drop");
    await expect(http.send({ method: "POST", path: "/x", body: {} })).rejects.toMatchObject({
      code: "unreachable",
      retryable: true,
    });
    expect(requests).toHaveLength(1);
  });

  it("gives up after maxRetries, and never repeats a refusal", async () => {
    const failing = await serve({ status: 500, body: { code: "internal_error", detail: "a bug" } });
    await expect(failing.http.send({ method: "GET", path: "/x" })).rejects.toMatchObject({
      code: "internal_error",
      message: "a bug",
    });
    expect(failing.requests).toHaveLength(3);
    const refusing = await serve({ status: 409, body: { code: "stale_attempt", retryable: true } });
    await expect(
      refusing.http.send({ method: "PUT", path: "/x", body: {}, fenced: true, retry: "forever" }),
    ).rejects.toMatchObject({ code: "stale_attempt", status: 409 });
    expect(refusing.requests).toHaveLength(1);
  });

  it("goes on past maxRetries for as long as the server is away, when told so", async () => {
    const { http, requests } = await serve("drop", "drop", { status: 503 }, { status: 502 }, { status: 200 });
    await http.send({ method: "PUT", path: "/x", body: {}, fenced: true, retry: "forever" });
    expect(requests).toHaveLength(5);
  });

  it("stops at once, with the signal's reason, between two tries", async () => {
    const { http } = await serve({ status: 503, headers: { "retry-after": "30" } });
    const controller = new AbortController();
    const sending = http.send({ method: "GET", path: "/x", retry: "forever", signal: controller.signal });
    controller.abort(new Error("enough"));
    await expect(sending).rejects.toThrow("enough");
  });

  it("ends what is under way when it closes", async () => {
    const { http } = await serve({ status: 503, headers: { "retry-after": "30" } });
    const sending = http.send({ method: "GET", path: "/x", retry: "forever" });
    http.close();
    await expect(sending).rejects.toMatchObject({ code: "client_closed" });
  });
});

describe("errors from answers", () => {
  const headers = new Headers({ "x-request-id": "r1", "retry-after": "2" });

  it("takes code, text and details from problem+json", () => {
    const body = { code: "stale_attempt", detail: "too late", error: { details: { open: false } } };
    expect(errorOf({ status: 409, headers }, JSON.stringify(body))).toMatchObject({
      code: "stale_attempt",
      message: "too late",
      status: 409,
      requestId: "r1",
      details: { open: false },
      retryAfterMs: 2_000,
    });
  });

  it("makes something of a proxy's page", () => {
    const error = errorOf({ status: 502, headers }, "<html>Bad gateway</html>");
    expect(error).toMatchObject({ code: "unavailable", status: 502, retryable: true });
    expect(PerdureError.is(error, "unavailable")).toBe(true);
  });

  it("reads Retry-After as seconds and as a date, and bounds it", () => {
    const now = Date.parse("2026-01-01T00:00:00Z");
    expect(parseRetryAfter("3", now)).toBe(3_000);
    expect(parseRetryAfter("Thu, 01 Jan 2026 00:00:05 GMT", now)).toBe(5_000);
    expect(parseRetryAfter("9999", now)).toBe(60_000);
    expect(parseRetryAfter("soon", now)).toBeUndefined();
    expect(parseRetryAfter(null, now)).toBeUndefined();
  });
});
