// Knows which connections have a request under way, so that a stopping server can let those finish and need not wait
// for the others: a browser's spare connection, or one that never sent anything, would hold it up for ever.

import type { Server } from "node:http";
import type { Socket } from "node:net";

/** Nobody new gets in. Resolves when the last connection has ended. */
export function closeListener(server: Server): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve) => server.close(() => resolve()));
}

export interface SocketTracker {
  /** Closes what is idle now, and everything else as soon as it becomes idle. */
  drain(): void;
}

/** What was taken a moment ago may have its first request on the way: cut off now, its client would see an error. */
const FIRST_REQUEST_MS = 250;

interface Tracked {
  /** Requests under way. */
  busy: number;
  asked: boolean;
  readonly since: number;
}

export function trackSockets(server: Server): SocketTracker {
  const sockets = new Map<Socket, Tracked>();
  let draining = false;

  const closeIfIdle = (socket: Socket, tracked: Tracked): void => {
    if (!draining || tracked.busy > 0) return;
    const left = tracked.asked ? 0 : tracked.since + FIRST_REQUEST_MS - performance.now();
    if (left > 0) setTimeout(() => closeIfIdle(socket, tracked), left + 1);
    else socket.destroy();
  };
  server.on("connection", (socket: Socket) => {
    const tracked = { busy: 0, asked: false, since: performance.now() };
    sockets.set(socket, tracked);
    socket.once("close", () => sockets.delete(socket));
    closeIfIdle(socket, tracked);
  });
  server.on("request", (request, response) => {
    const { socket } = request;
    const tracked = sockets.get(socket);
    if (tracked === undefined) return;
    tracked.busy += 1;
    tracked.asked = true;
    response.once("close", () => {
      tracked.busy -= 1;
      closeIfIdle(socket, tracked);
    });
  });
  return {
    drain() {
      draining = true;
      for (const [socket, tracked] of [...sockets]) closeIfIdle(socket, tracked);
    },
  };
}
