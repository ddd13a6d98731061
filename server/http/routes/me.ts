// Who is asking: what the key of a request is and may, for whoever has one and wonders.

import { formatAddress } from "../../domain/address.ts";
import { readClock } from "../../store/queries/clock.ts";
import type { App, RouteDeps } from "./deps.ts";

export function meRoutes(app: App, deps: RouteDeps): void {
  app.get(
    "/v1/me",
    {
      config: { needs: "key" },
      schema: {
        tags: ["keys"],
        summary: "What the key of this request is and may, and the time by the database's clock",
      },
    },
    async ({ principal: { access, namespace, keyId } }) => ({
      ok: true,
      caller: {
        key_id: keyId,
        address: formatAddress(access.address),
        namespace,
        scopes: access.verbs,
        patterns: access.patterns,
        keys_required: deps.keyed,
      },
      at: new Date(await readClock(deps.engine.store)).toISOString(),
    }),
  );
}
