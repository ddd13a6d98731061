// Keys and scenarios: service accounts that the command line provisions, and whom a scenario may be sent to.
import { expect, test } from "vitest";
import { ADMIN_KEY, issueKey, startKeyedServer } from "../support/keys.ts";
import { call } from "../support/server.ts";
import { bundle, task } from "./bundles.ts";
import { AxpCli } from "./clients/cli.ts";
import { valid } from "./schemas.ts";

test("the command line provisions agents with keys of their own, whatever organization it thinks it is in", async () => {
  const keyed = await startKeyedServer();
  try {
    const admin = new AxpCli(keyed.url, ADMIN_KEY);
    const body = bundle([task("run", "pipeline")], ["pipeline"]);
    const { intentId, keys } = await admin.apply(body);
    const key = keys.get("pipeline-agent") ?? "";
    const asAgent = (method: string, path: string, sent?: object) =>
      call(keyed, method, path, sent, { "x-api-key": key });
    // The agent listens by its short name, with the key that was made for it.
    const { deliveries } = (await asAgent("POST", "/v1/agents/pipeline-agent/claim", { wait_seconds: 30 }))
      .body;
    expect(deliveries[0].intent_id).toBe(intentId);
    const done = await asAgent("POST", `/v1/intents/${intentId}/resume`, {
      action: "complete",
      attempt: 1,
      rows: 5,
    });
    expect(done.body.status).toBe("COMPLETED");
    const asAdmin = { "x-api-key": ADMIN_KEY };
    const listed = (await call(keyed, "GET", "/v1/service-accounts?org_id=x", undefined, asAdmin)).body;
    expect(valid("accounts", listed).service_accounts).toHaveLength(1);
    expect(listed.warnings.join()).toMatch(/ignored/);
    const [account] = listed.service_accounts;
    const path = `/v1/service-accounts/${account.service_account_id}`;
    expect(
      valid("account", (await call(keyed, "GET", path, undefined, asAdmin)).body).service_account.name,
    ).toBe("pipeline-agent");
    // Another apply finds the account and gets another key; a revoked one is no key any more.
    const again = await admin.apply(body);
    expect(again.keys.get("pipeline-agent")).not.toBe(key);
    expect(
      (await call(keyed, "GET", "/v1/service-accounts", undefined, asAdmin)).body.service_accounts,
    ).toHaveLength(1);
    const made = await call(keyed, "POST", `${path}/keys`, { expires_at: "2999-01-01T00:00:00Z" }, asAdmin);
    const { key_id, token } = valid("accountKey", made.body).key;
    const revoked = await call(keyed, "POST", `${path}/keys/${key_id}/revoke`, undefined, asAdmin);
    expect(valid("accountKey", revoked.body).key).toMatchObject({ status: "revoked" });
    expect((await call(keyed, "GET", "/v1/intents", undefined, { "x-api-key": token })).status).toBe(401);
    const boss = await issueKey(keyed, "other/prod/boss", ["admin", "read", "operate"]);
    expect((await call(keyed, "GET", path, undefined, boss.headers)).status).toBe(404);
    expect((await call(keyed, "POST", `${path}/keys`, {}, boss.headers)).status).toBe(404);
  } finally {
    await keyed.close();
  }
});

test("a scenario goes only to agents to whom its sender may send", async () => {
  const keyed = await startKeyedServer();
  try {
    const sender = await issueKey(keyed, "acme/prod/sender", ["send", "read"]);
    const body = bundle([task("run", "agent://other/prod/worker")], []);
    expect((await call(keyed, "POST", "/v1/scenarios/apply", body, sender.headers)).status).toBe(403);
    const { body: listed } = await call(keyed, "GET", "/v1/intents", undefined, sender.headers);
    expect(listed.intents).toEqual([]);
  } finally {
    await keyed.close();
  }
});
