// Who counts as one client where something is shared out fairly: open streams here, requests in rate-limits.ts.

import { isIP } from "node:net";
import type { FastifyReply, FastifyRequest } from "fastify";
import { PerdureError } from "../errors.ts";

/** The key; without keys, whoever shares a remote address. */
export function clientOf(request: FastifyRequest, keyed: boolean): string {
  if (!keyed) return remoteOf(request);
  const { keyId, sender } = request.principal;
  return keyId ?? sender;
}

/** An IPv6 client has a whole /64 to itself and may come from another address each time. */
export function remoteOf({ ip }: Pick<FastifyRequest, "ip">): string {
  if (isIP(ip) !== 6 || ip.includes(".")) return ip;
  const [head = "", tail] = ip.split("::", 2);
  const groups = head.split(":").filter((group) => group !== "");
  const after = tail === undefined ? 0 : tail.split(":").filter((group) => group !== "").length;
  while (tail !== undefined && groups.length + after < 8) groups.push("0");
  return `${groups.slice(0, 4).join(":")}::/64`;
}

const RETRY_SECONDS = 5;

/** Counts open streams, and answers that are held like one, by name, each up to a bound. What has none open is forgotten. */
export class StreamCounts {
  /** Of each name, how many each of its members has. */
  readonly #open = new Map<string, Map<unknown, number>>();

  /**
   * Counts one more until its answer is closed, however that comes about; 429 `too_many_streams` beyond `max`. All of one `member` count
   * once: whoever comes back is often here before it shows that its old connection is gone.
   */
  enter(
    name: string,
    max: number,
    setting: string,
    reply: Pick<FastifyReply, "raw">,
    member: unknown = Symbol(name),
  ): void {
    const members = this.#open.get(name) ?? new Map<unknown, number>();
    const own = members.get(member) ?? 0;
    if (own === 0 && members.size >= max)
      throw new PerdureError(
        "too_many_streams",
        `${name} has ${members.size} open streams and held answers, as many as this server allows (${setting}); close one first`,
        { retryAfterSeconds: RETRY_SECONDS },
      );
    if (reply.raw.destroyed) return;
    this.#open.set(name, members.set(member, own + 1));
    reply.raw.once("close", () => this.#leave(name, members, member));
  }

  #leave(name: string, members: Map<unknown, number>, member: unknown): void {
    const left = (members.get(member) ?? 1) - 1;
    if (left > 0) members.set(member, left);
    else members.delete(member);
    if (members.size === 0 && this.#open.get(name) === members) this.#open.delete(name);
  }
}
