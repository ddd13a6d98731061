// Knows which connections have a request under way, so that a stopping server can let those finish and need not wait
// for the others: a browser's spare connection, or one that never sent anything, would hold it up for ever.

import type { Server } from "node:http";
import { Server as NetServer, type Socket } from "node:net";

/** What the system has taken for us becomes ours, connections and requests: a turn looks once, and what it finds may ask for the next. */
export async function takeWaiting(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Nobody new gets in. Resolves when the last connection has ended. Not as an HTTP server closes: that also cuts connections on which
 * the next request may be on its way.
 */
export function closeListener(server: Server): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve) => NetServer.prototype.close.call(server, () => resolve()));
}

export interface SocketTracker {
  /** Closes each connection as soon as it has been quiet for a moment. Resolves when none is left that is not in use. */
  drain(): Promise<void>;
}

/** Whoever connected or was answered a moment ago may have its next request on the way: cut off now, it would see an error. */
const QUIET_MS = 150;

interface Tracked {
  /** Requests under way. */
  busy: number;
  quietSince: number;
}

export function trackSockets(server: Server): SocketTracker {
  const sockets = new Map<Socket, Tracked>();
  let draining = false;

  const closeIfQuiet = (socket: Socket, tracked: Tracked): void => {
    if (!draining || tracked.busy > 0) return;
    const left = tracked.quietSince + QUIET_MS - performance.now();
    if (left > 0) setTimeout(() => closeIfQuiet(socket, tracked), left + 1);
    else void closeUnlessAsked(socket, tracked);
  };
  /** A process that was held up itself may only not have read the request yet. */
  const closeUnlessAsked = async (socket: Socket, tracked: Tracked): Promise<void> => {
    const { quietSince } = tracked;
    await takeWaiting();
    if (tracked.busy === 0 && tracked.quietSince === quietSince) socket.destroy();
  };
  server.on("connection", (socket: Socket) => {
    const tracked = { busy: 0, quietSince: performance.now() };
    sockets.set(socket, tracked);
    socket.once("close", () => sockets.delete(socket));
    closeIfQuiet(socket, tracked);
  });
  // Before anybody answers: a client that is told of the end does not use the connection again.
  server.prependListener("request", (request, response) => {
    const { socket } = request;
    const tracked = sockets.get(socket);
    if (tracked === undefined) return;
    if (draining) response.shouldKeepAlive = false;
    tracked.busy += 1;
    response.once("close", () => {
      tracked.busy -= 1;
      tracked.quietSince = performance.now();
      closeIfQuiet(socket, tracked);
    });
  });
  return {
    async drain() {
      draining = true;
      for (const [socket, tracked] of [...sockets]) closeIfQuiet(socket, tracked);
      while ([...sockets.values()].some((tracked) => tracked.busy === 0))
        await new Promise((resolve) => setTimeout(resolve, QUIET_MS / 10));
    },
  };
}
