// The web page at `/`: files that were made at build time, held in memory. They hold no data and need no key; the page asks the same
// API as everybody, with its reader's key. Nothing in them may run that is not from here.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { PerdureError } from "../../errors.ts";
import type { App } from "./deps.ts";

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  txt: "text/plain; charset=utf-8",
};

const SECURITY = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; "),
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), geolocation=(), microphone=()",
};

interface Asset {
  readonly type: string;
  readonly plain: Buffer;
  readonly gzipped: Buffer;
  readonly etag: string;
}

const INDEX = "index.html";
/** The file's name changes with what is in it. */
const FOR_EVER = "public, max-age=31536000, immutable";

/** Beside the compiled server, whether that is one file, many, or the source. */
function readAssets(): ReadonlyMap<string, Asset> {
  for (const place of ["../dashboard/", "../../../dist/dashboard/", "../../../dashboard/"]) {
    const folder = fileURLToPath(new URL(place, import.meta.url));
    const files = namesIn(folder);
    if (files.includes(INDEX)) return new Map(files.map((file) => [file, readAsset(folder, file)]));
  }
  return new Map();
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((file) => TYPES[extensionOf(file)] !== undefined);
  } catch {
    return [];
  }
}

const extensionOf = (file: string): string => file.slice(file.lastIndexOf(".") + 1);

function readAsset(folder: string, file: string): Asset {
  const plain = readFileSync(`${folder}${file}`);
  return {
    type: TYPES[extensionOf(file)] ?? "application/octet-stream",
    plain,
    gzipped: gzipSync(plain, { level: 9 }),
    etag: `"${createHash("sha256").update(plain).digest("base64url").slice(0, 22)}"`,
  };
}

function sendAsset(request: FastifyRequest, reply: FastifyReply, asset: Asset | undefined, cached: string) {
  if (asset === undefined)
    throw new PerdureError("not_found", "the dashboard has no such file; it is built by npm run build");
  reply
    .headers(SECURITY)
    .header("cache-control", cached)
    .header("etag", asset.etag)
    .header("vary", "Accept-Encoding");
  if (request.headers["if-none-match"] === asset.etag) return reply.code(304).send();
  const zipped = /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""));
  if (zipped) reply.header("content-encoding", "gzip");
  return reply.type(asset.type).send(zipped ? asset.gzipped : asset.plain);
}

export function dashboardRoutes(app: App): void {
  const assets = readAssets();
  const page = assets.get(INDEX);
  app.get("/", { config: { needs: "nothing" }, schema: { hide: true } }, (request, reply) =>
    sendAsset(request, reply, page, "no-cache"),
  );
  app.get(
    "/assets/:file",
    { config: { needs: "nothing" }, schema: { hide: true, params: z.object({ file: z.string().max(200) }) } },
    (request, reply) => {
      const { file } = request.params;
      return sendAsset(request, reply, file === INDEX ? undefined : assets.get(file), FOR_EVER);
    },
  );
}
