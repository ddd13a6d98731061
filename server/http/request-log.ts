// One log line and one metric per finished request. Never bodies, never query strings: they may carry data or keys.

import type { FastifyInstance } from "fastify";
import type { Metrics } from "../observability/metrics.ts";

export function installRequestLog(app: FastifyInstance, metrics?: Metrics): void {
  app.addHook("onResponse", (request, reply, done) => {
    const route = request.routeOptions.url ?? "unmatched";
    metrics?.httpFinished(request.method, route, reply.statusCode, reply.elapsedTime / 1_000);
    if (reply.statusCode >= 500 || request.log.level === "debug" || request.log.level === "trace") {
      const line = {
        method: request.method,
        route,
        path: request.url.split("?", 1)[0],
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
        trace_id: request.traceId,
      };
      if (reply.statusCode >= 500) request.log.warn(line, "request failed");
      else request.log.debug(line, "request");
    }
    done();
  });
}
