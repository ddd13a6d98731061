// One agent stream from connect to close: the lease, the frames of what is already held, the goodbye.

import { type ConnectInput, type Connection, connectConsumer } from "../engine/connect.ts";
import type { Engine } from "../engine/context.ts";
import type { AgentStream, AgentStreams } from "./agent-streams.ts";
import type { Closings } from "./closings.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { FrameStream } from "./frame-stream.ts";
import { buildFrames } from "./frames.ts";

export interface SessionDeps {
  readonly engine: Engine;
  readonly streams: AgentStreams;
  readonly dispatcher: Dispatcher;
  readonly closings: Closings;
  readonly onError: (error: unknown) => void;
}

const RECONNECT_HINT_MS = 250;

/** Connects first (it may be refused with an ordinary error), then opens the stream and sends what is held, same attempts. */
export async function openAgentSession(
  deps: SessionDeps,
  input: ConnectInput,
  openFrames: () => FrameStream,
): Promise<void> {
  const connection = await connectConsumer(deps.engine, input);
  const frames = openFrames();
  const stream: AgentStream = {
    consumerId: connection.consumerId,
    streamNo: connection.streamNo,
    address: input.address,
    name: input.name,
    capacity: input.capacity,
    held: connection.held.length,
    moves: 0,
    leaseTtlMs: input.leaseTtlMs,
    frames,
  };
  frames.onClose((byServer) => closeSession(deps, stream, byServer));
  frames.retry(RECONNECT_HINT_MS);
  frames.send({ event: "stream.open", data: openData(deps.engine, input, connection) });
  try {
    for (const frame of await heldFrames(deps.engine, connection))
      frames.send({ id: frame.seq, event: "intent.delivered", data: frame.data });
  } catch (error) {
    // The answer has begun: all that can be said is to connect again, and the lease waits for it.
    deps.onError(error);
    frames.send({ event: "stream.end", data: { reason: "database" } });
    frames.end();
  }
  // Only now may the dispatcher use it: what is held comes before what is new.
  if (!frames.open) return;
  deps.streams.add(stream);
  deps.dispatcher.wake(input.address);
}

function heldFrames(engine: Engine, connection: Connection) {
  return buildFrames(
    engine,
    connection.held.map((lease) => ({ intentId: lease.intent_id, attempt: lease.attempt })),
  );
}

function openData(engine: Engine, input: ConnectInput, connection: Connection) {
  return {
    consumer_id: connection.consumerId,
    consumer: input.name,
    incarnation: input.incarnation,
    stream_no: connection.streamNo,
    heartbeat_interval_ms: Math.min(engine.settings.heartbeatIntervalMs, Math.floor(input.leaseTtlMs / 3)),
    lease_ttl_ms: input.leaseTtlMs,
    server_time: new Date().toISOString(),
  };
}

/** A close that this server did not start begins the grace; one that it started leaves the lease alone (D2). */
function closeSession({ streams, closings }: SessionDeps, stream: AgentStream, byServer: boolean): void {
  streams.remove(stream);
  if (!byServer) closings.add({ id: stream.consumerId, streamNo: stream.streamNo });
}
