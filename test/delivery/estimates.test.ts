// How full a stream is believed to be: commits move the belief, and an answer that is older than a commit does not undo it.
import { expect, test } from "vitest";
import { type AgentStream, AgentStreams } from "../../server/delivery/agent-streams.ts";
import type { FrameStream } from "../../server/delivery/frame-stream.ts";
import { resolve } from "../../server/domain/decide/resolve.ts";
import { created, delivered, next } from "../domain/builders.ts";

const CONSUMER = "00000000-0000-7000-8000-00000000c0de";

function streamOf(held: number): AgentStream {
  const frames = { open: true, send: () => true } as unknown as FrameStream;
  return {
    consumerId: CONSUMER,
    streamNo: 1,
    address: "local/dev/a",
    name: "c",
    capacity: 1,
    held,
    moves: 0,
    leaseTtlMs: 30_000,
    frames,
  };
}

function completion() {
  const draft = next(delivered(created()));
  const before = { ...draft.intent };
  resolve(draft, {
    status: "COMPLETED",
    attempt: 1,
    result: null,
    error: null,
    retryable: false,
    random: 1,
    holderIsLive: true,
  });
  return { before, after: draft.intent, events: draft.events };
}

test("a heartbeat that was asked before an end and is answered after it leaves the place free", () => {
  const streams = new AgentStreams();
  const stream = streamOf(1);
  streams.add(stream);
  const asked = stream.moves;
  streams.follow([completion()]);
  // The database still saw the lease when it was asked.
  streams.believe(stream, asked, 1);
  expect(stream.held).toBe(0);
  expect(streams.free("local/dev/a", 1)).toEqual([stream]);
});

test("an answer that nothing has overtaken corrects the belief", () => {
  const streams = new AgentStreams();
  const stream = streamOf(1);
  streams.add(stream);
  streams.believe(stream, stream.moves, 0);
  expect(streams.free("local/dev/a", 1)).toEqual([stream]);
});
