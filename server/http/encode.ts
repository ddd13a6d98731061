// How replies and SSE data become text: JSON with RawJson leaves verbatim. It decides nothing about content.

import type { FastifyInstance } from "fastify";
import { encodeJson } from "../domain/raw-json.ts";

export { encodeJson };

// Line ends for EventSource and, beyond them, for readers that split with Unicode rules (Python's splitlines).
const LINE_END = /[\r\n\u0085\u2028\u2029]/;

/** encodeJson on exactly one line, for an SSE `data:` field. */
export function encodeJsonLine(value: unknown): string {
  const text = encodeJson(value);
  if (!LINE_END.test(text)) return text;
  return (
    text
      // A raw CR or LF in valid JSON is white space between tokens, and so is any blank that follows it.
      .replace(/[\r\n][ \t\r\n]*/g, "")
      .replace(/[\u0085\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)
  );
}

/** Every JSON reply, documented or not, is written by encodeJson; response schemas only feed the OpenAPI document. */
export function installEncoder(app: FastifyInstance): void {
  app.setReplySerializer((payload) => encodeJson(payload));
  app.setSerializerCompiler(() => encodeJson);
}
