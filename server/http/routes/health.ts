// Is the server alive, is it ready, how is it doing.

import { PerdureError } from "../../errors.ts";
import { isAnswering } from "../../store/connection.ts";
import { requireAllNamespaces } from "../auth.ts";
import type { App, RouteDeps } from "./deps.ts";

const ASK_MS = 1_000;

/** Whether the database answers now: the pulse learns of an outage only with its next failure. */
async function answers(deps: RouteDeps): Promise<boolean> {
  let late: NodeJS.Timeout | undefined;
  const silence = new Promise<boolean>((resolve) => {
    late = setTimeout(resolve, ASK_MS, false);
  });
  const asked = isAnswering(deps.engine.store);
  return Promise.race([asked, silence]).finally(() => clearTimeout(late));
}

export function healthRoutes(app: App, deps: RouteDeps, version: string): void {
  const alive = () => ({ ok: true, status: "ok", name: "perdure", version });
  app.get(
    "/health",
    { config: { needs: "nothing" }, schema: { tags: ["health"], summary: "The process is alive" } },
    alive,
  );
  app.get(
    "/v1/health",
    { config: { needs: "nothing" }, schema: { tags: ["health"], summary: "The process is alive" } },
    alive,
  );
  app.get(
    "/ready",
    {
      config: { needs: "nothing" },
      schema: { tags: ["health"], summary: "The database answers and the server is not going away" },
    },
    async () => {
      if (deps.draining.aborted || !deps.isReady() || !(await answers(deps)))
        throw new PerdureError(
          "unavailable",
          "not ready: the database is away or the server is shutting down",
          { retryAfterSeconds: 1 },
        );
      return { ok: true, status: "ready" };
    },
  );
  app.get("/metrics", { config: { needs: "read" }, schema: { hide: true } }, async (request, reply) => {
    // Its numbers are of everybody.
    requireAllNamespaces(request);
    deps.metrics.setQueueLength(deps.engine.commits.waiting);
    const text = await deps.metrics.text();
    return reply
      .type(deps.metrics.contentType)
      .serializer((payload: unknown) => String(payload))
      .send(text);
  });
}
