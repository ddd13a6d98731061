// Puts the parts that every request passes through onto a Fastify app, in the order they need. No route is here.

import type { FastifyInstance } from "fastify";
import type { Metrics } from "../observability/metrics.ts";
import type { Store } from "../store/connection.ts";
import { installAudit } from "./audit.ts";
import { type AuthOptions, installAuth, installRights } from "./auth.ts";
import { installBatching } from "./batching.ts";
import { installBodyBudget } from "./body-budget.ts";
import { installConnectionLimit } from "./connections.ts";
import { installConventions } from "./conventions.ts";
import { installCors } from "./cors.ts";
import { installEncoder } from "./encode.ts";
import { installJsonBody } from "./json-body.ts";
import type { Limits } from "./limits.ts";
import { installOpenApi } from "./openapi.ts";
import { installProblems } from "./problem.ts";
import { installRateLimits, WrongKeys } from "./rate-limits.ts";
import { installRequestLog } from "./request-log.ts";
import type { Quota } from "./token-buckets.ts";
import { installValidation } from "./validation.ts";
import { installWindows } from "./windowed.ts";

export interface FoundationOptions {
  readonly limits: Limits;
  readonly auth: Omit<AuthOptions, "onWrongKey">;
  /** Requests of one client; null without a limit. */
  readonly quota: Quota | null;
  readonly store: Store;
  readonly version: string;
  readonly metrics?: Metrics;
}

/** `const app = Fastify({ ...serverOptions(limits), loggerInstance })`, then this, then the routes. */
export async function installFoundation(app: FastifyInstance, options: FoundationOptions): Promise<void> {
  installEncoder(app);
  installProblems(app);
  // Ids before auth: a refused request is answered with them too.
  installConventions(app);
  installWindows(app);
  installConnectionLimit(app, options.limits.connectionsMax);
  installRequestLog(app, options.metrics);
  installCors(app, options.auth.corsOrigins ?? []);
  const wrongKeys = new WrongKeys(options.limits.wrongKeysBurst);
  installAuth(app, { ...options.auth, onWrongKey: (request) => wrongKeys.count(request) });
  installRateLimits(app, { quota: options.quota, keyed: options.auth.keysRequired });
  installRights(app);
  installAudit(app, options.store);
  installBatching(app, options.store);
  installBodyBudget(app, { maxBytes: options.limits.bodiesMaxBytes, keyed: options.auth.keysRequired });
  installJsonBody(app, options.limits);
  installValidation(app);
  await installOpenApi(app, { version: options.version });
}
