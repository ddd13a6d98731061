// Bounds how many connections there are. Whoever comes beyond the bound is told so in the answer to the first request;
// a flood that asks nothing is cut off without a word once even the room for such answers is full.

import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { PerdureError } from "../errors.ts";
import { isWindow } from "./windowed.ts";

/** Room for being told no: a share of the bound, and never less than this. */
const REFUSALS_MIN = 16;
const REFUSALS_SHARE = 10;
const RETRY_SECONDS = 2;

export function installConnectionLimit(app: FastifyInstance, max: number): void {
  const surplus = new WeakSet<Socket>();
  let open = 0;
  app.server.maxConnections = max + Math.max(REFUSALS_MIN, Math.ceil(max / REFUSALS_SHARE));
  app.server.on("connection", (socket: Socket) => {
    open += 1;
    if (open > max) surplus.add(socket);
    socket.once("close", () => {
      open -= 1;
    });
  });
  app.addHook("onRequest", (request, reply, done) => {
    if (!surplus.has(request.raw.socket) || isWindow(request)) return done();
    void reply.header("connection", "close");
    throw new PerdureError(
      "too_many_connections",
      "this server has as many connections as it takes (PERDURE_CONNECTIONS_MAX); close some, or come back later",
      { retryAfterSeconds: RETRY_SECONDS },
    );
  });
}
