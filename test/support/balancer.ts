// A small TCP balancer before several servers: each new connection goes to the next server that takes it.

import { type AddressInfo, createServer, connect as dial, type Socket } from "node:net";

export interface Balancer {
  readonly url: string;
  /** Where connections go, from now on. */
  route(urls: readonly string[]): void;
  close(): Promise<void>;
}

export async function startBalancer(urls: readonly string[]): Promise<Balancer> {
  let ports = portsOf(urls);
  let turn = 0;
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    open.add(client);
    client.on("close", () => open.delete(client));
    client.on("error", () => client.destroy());
    turn += 1;
    join(client, [...ports.slice(turn % ports.length), ...ports.slice(0, turn % ports.length)]);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    route: (next) => {
      ports = portsOf(next);
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

const portsOf = (urls: readonly string[]): number[] => urls.map((url) => Number(new URL(url).port));

/** Joins a client to the first server that takes the connection; what is joined is passed on, errors included. */
function join(client: Socket, [port, ...others]: readonly number[]): void {
  if (port === undefined) {
    client.destroy();
    return;
  }
  const target = dial({ port, host: "127.0.0.1", allowHalfOpen: true });
  let joined = false;
  target.on("connect", () => {
    joined = true;
    client.pipe(target);
    target.pipe(client);
    client.resume();
  });
  target.on("error", () => {
    if (joined) client.resetAndDestroy();
    else join(client, others);
  });
  client.on("close", () => target.destroy());
}
