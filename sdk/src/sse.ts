// Owns: turning the text of an event stream into messages, by the WHATWG rules. Must not: do I/O, or know our event names.

export interface SseMessage {
  /** The event name; `message` when the stream named none. */
  event: string;
  /** The data lines, joined by newlines. */
  data: string;
  /** The last id seen so far on the stream; empty when none was. */
  id: string;
}

/** An incremental parser: text may be cut anywhere, also between CR and LF or inside a field name. */
export class SseParser {
  /** The reconnection delay in milliseconds the stream asked for, when it did. */
  retryMs: number | undefined;
  #rest = "";
  #scanned = 0;
  #first = true;
  #afterCr = false;
  #event = "";
  #data: string[] = [];
  #id = "";

  /** Feeds a piece of text and returns the messages it completed. */
  push(text: string): SseMessage[] {
    if (text === "") return [];
    let chunk = text;
    if (this.#first) {
      this.#first = false;
      if (chunk.startsWith("\uFEFF")) chunk = chunk.slice(1);
    }
    if (this.#afterCr) {
      // A CR ended the last piece and has been taken as a line end; the LF that belongs to it must not be another.
      this.#afterCr = chunk === "";
      if (chunk.startsWith("\n")) chunk = chunk.slice(1);
    }
    const all = this.#rest + chunk;
    const messages: SseMessage[] = [];
    // Both searched for by the runtime, which is many times faster than looking at each character.
    let lf = all.indexOf("\n", this.#scanned);
    let cr = all.indexOf("\r", this.#scanned);
    let lineStart = 0;
    while (lf !== -1 || cr !== -1) {
      const isCr = cr !== -1 && (lf === -1 || cr < lf);
      const at = isCr ? cr : lf;
      const message = this.#line(all.slice(lineStart, at));
      if (message !== undefined) messages.push(message);
      lineStart = at + 1;
      if (isCr) {
        if (lineStart === all.length) this.#afterCr = true;
        else if (lf === lineStart) lineStart += 1;
        cr = all.indexOf("\r", lineStart);
      }
      if (lf !== -1 && lf < lineStart) lf = all.indexOf("\n", lineStart);
    }
    this.#rest = all.slice(lineStart);
    this.#scanned = this.#rest.length;
    return messages;
  }

  #line(line: string): SseMessage | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return undefined; // a comment: the keep-alive
    const field = colon === -1 ? line : line.slice(0, colon);
    let value = colon === -1 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
    return undefined;
  }

  #dispatch(): SseMessage | undefined {
    const event = this.#event || "message";
    const data = this.#data;
    this.#event = "";
    this.#data = [];
    if (data.length === 0) return undefined;
    return { event, data: data.join("\n"), id: this.#id };
  }
}
