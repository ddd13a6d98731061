// Every route there is.

import { accountRoutes } from "./accounts.ts";
import { agentRoutes } from "./agents.ts";
import { batchRoutes } from "./batch.ts";
import { bulkRoutes } from "./bulk.ts";
import { createRoutes } from "./create.ts";
import { dashboardRoutes } from "./dashboard.ts";
import type { App, RouteDeps } from "./deps.ts";
import { feedRoutes } from "./feed.ts";
import { fleetRoutes } from "./fleet.ts";
import { healthRoutes } from "./health.ts";
import { historyRoutes } from "./history.ts";
import { inboxRoutes } from "./inbox.ts";
import { keyRoutes } from "./keys.ts";
import { meRoutes } from "./me.ts";
import { meshRoutes } from "./mesh.ts";
import { operatorRoutes } from "./operate.ts";
import { outcomeRoutes } from "./outcomes.ts";
import { overviewRoutes } from "./overview.ts";
import { policyRoutes } from "./policy.ts";
import { readRoutes } from "./read.ts";
import { resumeRoutes } from "./resume.ts";
import { scenarioRoutes } from "./scenarios.ts";
import { sessionRoutes } from "./sessions.ts";
import { stateRoutes } from "./state.ts";
import { unsupportedRoutes } from "./unsupported.ts";
import { waitingRoutes } from "./waiting.ts";
import { workRoutes } from "./work.ts";

export interface Registered {
  readonly version: string;
  readonly dashboard: boolean;
}

export function registerRoutes(app: App, deps: RouteDeps, { version, dashboard }: Registered): void {
  healthRoutes(app, deps, version);
  createRoutes(app, deps);
  batchRoutes(app, deps);
  readRoutes(app, deps);
  outcomeRoutes(app, deps);
  workRoutes(app, deps);
  stateRoutes(app, deps);
  waitingRoutes(app, deps);
  historyRoutes(app, deps);
  sessionRoutes(app, deps);
  operatorRoutes(app, deps);
  agentRoutes(app, deps);
  keyRoutes(app, deps);
  meRoutes(app, deps);
  fleetRoutes(app, deps);
  overviewRoutes(app, deps);
  feedRoutes(app, deps);
  if (dashboard) dashboardRoutes(app);
  axpRoutes(app, deps);
}

/** What only AXP clients ask for. */
function axpRoutes(app: App, deps: RouteDeps): void {
  resumeRoutes(app, deps);
  policyRoutes(app, deps);
  bulkRoutes(app, deps);
  inboxRoutes(app, deps);
  meshRoutes(app, deps);
  accountRoutes(app, deps);
  scenarioRoutes(app, deps);
  unsupportedRoutes(app);
}
