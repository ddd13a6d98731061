// The OpenAPI 3.1 document, made from the routes' zod schemas. It describes; it validates nothing.

import swagger from "@fastify/swagger";
import type { FastifyInstance } from "fastify";
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from "fastify-type-provider-zod";

export interface OpenApiOptions {
  readonly version: string;
}

/** Awaited before the first route is registered: only routes added afterwards are described. */
export async function installOpenApi(app: FastifyInstance, options: OpenApiOptions): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Perdure",
        version: options.version,
        description: "A self-hosted durable intent server for AI agents: HTTP, JSON and server-sent events.",
        license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      },
      components: {
        securitySchemes: {
          apiKey: { type: "apiKey", in: "header", name: "x-api-key" },
          bearer: { type: "http", scheme: "bearer" },
        },
      },
      security: [{ apiKey: [] }, { bearer: [] }],
    },
    transform: createJsonSchemaTransform({}),
    transformObject: createJsonSchemaTransformObject({}),
  });
  let text: string | undefined;
  app.get("/openapi.json", { config: { needs: "key" }, schema: { hide: true } }, (_request, reply) => {
    text ??= JSON.stringify(openApiDocument(app));
    return reply.type("application/json; charset=utf-8").send(text);
  });
}

/** The document, for the route above and for the generated reference. */
export function openApiDocument(app: FastifyInstance): Record<string, unknown> {
  const document = app.swagger() as unknown as { components?: { schemas?: Record<string, unknown> } };
  return dropUnused(document) as Record<string, unknown>;
}

type Document = { components?: { schemas?: Record<string, unknown> } };

/** Each named schema is emitted for requests and for answers; the half that nothing refers to only confuses readers. */
function dropUnused(document: Document): Document {
  const schemas = document.components?.schemas;
  if (schemas === undefined) return document;
  let kept = { ...schemas };
  for (;;) {
    const text = JSON.stringify({ ...document, components: { ...document.components, schemas: kept } });
    const used = Object.entries(kept).filter(([name]) => text.includes(`"#/components/schemas/${name}"`));
    if (used.length === Object.keys(kept).length) break;
    kept = Object.fromEntries(used);
  }
  return { ...document, components: { ...document.components, schemas: kept } };
}
