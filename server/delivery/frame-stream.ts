// One open SSE answer: frames, keep-alive, back-pressure, a clean end. It knows nothing of intents.
// Written plainly on the response: a keep-alive here must be a comment without a blank line and a blocked reader
// must lose its socket, never an event (docs/decisions/0003-plain-sse.md).

import type { ServerResponse } from "node:http";
import { encodeJsonLine } from "../domain/raw-json.ts";

export interface Frame {
  readonly id?: number | string;
  readonly event: string;
  readonly data: unknown;
}

export interface FrameStreamOptions {
  readonly keepAliveMs: number;
  /** Bytes that may wait for a slow reader before its socket is dropped. */
  readonly bufferMaxBytes?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly onSlow?: () => void;
}

const READY_BYTES = 256 * 1024;
const BUFFER_MAX = 4 * 1024 * 1024;
const BURST_FACTOR = 8;
const BEHIND_MS = 5_000;

export function encodeFrame(frame: Frame): string {
  const data = encodeJsonLine(frame.data);
  return `${frame.id === undefined ? "" : `id: ${frame.id}\n`}event: ${frame.event}\ndata: ${data}\n\n`;
}

export class FrameStream {
  readonly #response: ServerResponse;
  readonly #options: FrameStreamOptions;
  readonly #keepAlive: NodeJS.Timeout;
  readonly #closing: ((byServer: boolean) => void)[] = [];
  #behindSince: number | null = null;
  #ended = false;
  #closed = false;

  constructor(response: ServerResponse, options: FrameStreamOptions) {
    this.#response = response;
    this.#options = options;
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
      connection: "close",
      ...options.headers,
    });
    response.flushHeaders();
    this.#keepAlive = setInterval(() => this.breathe(), options.keepAliveMs);
    this.#keepAlive.unref();
    response.on("close", () => this.#close());
    response.on("error", () => this.#close());
    if (response.destroyed) queueMicrotask(() => this.#close());
  }

  get open(): boolean {
    return !this.#ended && !this.#closed;
  }

  /** False when the frame could not be handed to the socket. */
  send(frame: Frame): boolean {
    return this.#write(encodeFrame(frame));
  }

  /** The same for frames that are encoded already, one behind the other: one write for all of them. */
  sendEncoded(text: string): boolean {
    return this.#write(text);
  }

  /** Whether the reader has taken most of what was sent: then there is nothing to wait for. */
  get caughtUp(): boolean {
    return this.#response.writableLength <= READY_BYTES;
  }

  /** Resolves when the reader has taken most of what was sent, or is gone: whoever has much to send waits for it. */
  async ready(): Promise<void> {
    if (!this.open || this.caughtUp) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#response.off("drain", done);
        this.#response.off("close", done);
        resolve();
      };
      this.#response.on("drain", done);
      this.#response.on("close", done);
    });
  }

  retry(ms: number): void {
    this.#write(`retry: ${ms}\n`);
  }

  /** A comment without a blank line: a sign of life that no reader takes for an event. */
  breathe(): void {
    this.#write(":\n");
  }

  /** Ends the answer normally, after what is buffered. */
  end(): void {
    if (!this.open) return;
    this.#ended = true;
    clearInterval(this.#keepAlive);
    this.#response.end();
  }

  /** Called once, with whether this side ended the stream. */
  onClose(listener: (byServer: boolean) => void): void {
    if (this.#closed) listener(this.#ended);
    else this.#closing.push(listener);
  }

  #write(text: string): boolean {
    if (!this.open || this.#response.destroyed) return false;
    this.#response.write(text);
    return this.#keepUp();
  }

  /** A burst may pile up for a moment; a reader that stays behind, or far behind, loses its socket. */
  #keepUp(): boolean {
    const waiting = this.#response.writableLength;
    const max = this.#options.bufferMaxBytes ?? BUFFER_MAX;
    if (waiting <= max) {
      this.#behindSince = null;
      return true;
    }
    if (this.#behindSince === null) {
      this.#behindSince = performance.now();
      // Looked at again also when nothing more is written, and when it has ended: its end waits behind what is not read.
      setTimeout(() => this.#closed || this.#keepUp(), BEHIND_MS + 1).unref();
    }
    if (waiting <= max * BURST_FACTOR && performance.now() - this.#behindSince < BEHIND_MS) return true;
    this.#options.onSlow?.();
    this.#response.destroy();
    return false;
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#keepAlive);
    for (const listener of this.#closing.splice(0)) listener(this.#ended);
  }
}
