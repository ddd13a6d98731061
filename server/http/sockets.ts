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

export function trackSockets(server: Server): SocketTracker {
  const busy = new Map<Socket, number>();
  let draining = false;

  const closeIfIdle = (socket: Socket): void => {
    if (draining && busy.get(socket) === 0) socket.destroy();
  };
  server.on("connection", (socket: Socket) => {
    busy.set(socket, 0);
    socket.once("close", () => busy.delete(socket));
    closeIfIdle(socket);
  });
  server.on("request", (request, response) => {
    const { socket } = request;
    busy.set(socket, (busy.get(socket) ?? 0) + 1);
    response.once("close", () => {
      const count = busy.get(socket);
      if (count === undefined) return;
      busy.set(socket, count - 1);
      closeIfIdle(socket);
    });
  });
  return {
    drain() {
      draining = true;
      for (const socket of [...busy.keys()]) closeIfIdle(socket);
    },
  };
}
