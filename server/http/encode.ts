// How replies become text: JSON with RawJson leaves verbatim. It decides nothing about content.

import type { FastifyInstance } from "fastify";
import { encodeJson } from "../domain/raw-json.ts";

/** Every JSON reply, documented or not, is written by encodeJson; response schemas only feed the OpenAPI document. */
export function installEncoder(app: FastifyInstance): void {
  app.setReplySerializer((payload) => encodeJson(payload));
  app.setSerializerCompiler(() => encodeJson);
}
