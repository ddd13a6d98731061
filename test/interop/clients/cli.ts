// A stand-in for what AXME's command line asks and how it reads the answers: it looks into `detail` for errors, and into
// `lifecycle_status`, `human_task` and the like for what it prints. Written anew; none of it is theirs.

// biome-ignore lint/suspicious/noExplicitAny: a client without types
type Json = any;

export class CliError extends Error {}

export class AxpCli {
  readonly #base: string;
  readonly #key: string;

  constructor(base: string, key = "any") {
    this.#base = base;
    this.#key = key;
  }

  async request(method: string, path: string, body?: Json): Promise<Json> {
    const response = await fetch(`${this.#base}${path}`, {
      method,
      headers: { "X-Api-Key": this.#key, Accept: "application/json", "Content-Type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const told: Json = await response.json();
    if (response.status >= 400) throw new CliError(told.detail || `HTTP ${response.status}`);
    return told;
  }

  /** `axme intents list`: the inbox, then each of its intents. */
  async listIntents(status?: string): Promise<{ id: string; status: string; owner: string }[]> {
    const { threads } = await this.request("GET", "/v1/inbox");
    const rows: { id: string; status: string; owner: string }[] = [];
    for (const { intent_id } of threads) {
      const { intent } = await this.request("GET", `/v1/intents/${intent_id}`);
      const row = { id: intent_id, status: String(intent.status), owner: String(intent.to_agent) };
      if (status === undefined || row.status === status) rows.push(row);
    }
    return rows;
  }

  /** `axme intents cancel`. */
  cancel = (id: string, reason = "canceled via axme cli") =>
    this.request("POST", `/v1/intents/${id}/resolve`, { status: "CANCELED", reason, actor: "agent://me" });

  /** `axme intents log`. */
  async log(id: string): Promise<string[]> {
    const { events } = await this.request("GET", `/v1/intents/${id}/events`);
    return events.map((event: Json) => `${event.seq} ${event.event_type} ${event.status}`);
  }

  /** `axme tasks list`. */
  async tasks(): Promise<{ id: string; type: string; title: string }[]> {
    const { tasks } = await this.request("GET", "/v1/me/tasks");
    return tasks.map((task: Json) => ({
      id: task.intent_id,
      type: task.intent_type,
      title: task.human_task.title,
    }));
  }

  /** `axme tasks get`: the intent, and what it is that is asked. */
  async task(id: string): Promise<Json> {
    const { intent } = await this.request("GET", `/v1/intents/${id}`);
    return intent.human_task;
  }

  /** `axme tasks approve|reject|submit`: fields of a form stand beside the outcome. */
  decide = (id: string, outcome: string, comment?: string, fields: Record<string, string> = {}) =>
    this.request("POST", `/v1/intents/${id}/resume`, {
      task_result: { outcome, ...(comment === undefined ? {} : { comment }), ...fields },
    });

  /** `axme scenarios validate`. */
  async validate(bundle: Json): Promise<{ errors: string[]; warnings: string[] }> {
    const { errors, warnings } = await this.request("POST", "/v1/scenarios/validate", bundle);
    return { errors, warnings };
  }

  /** `axme scenarios apply`: the accounts of its agents with their keys first, then the bundle. */
  async apply(bundle: Json): Promise<{ intentId: string; compileId: string; keys: Map<string, string> }> {
    const keys = new Map<string, string>();
    for (const agent of bundle.agents ?? []) {
      if (agent.create_if_missing !== true) continue;
      keys.set(agent.address, await this.#provision(agent));
    }
    const answer = await this.request("POST", "/v1/scenarios/apply", bundle);
    return { intentId: answer.intent_id, compileId: answer.compile_id, keys };
  }

  async #provision({ address, display_name }: Json): Promise<string> {
    const place = { org_id: "e7a1", workspace_id: "w1" };
    const { service_accounts } = await this.request(
      "GET",
      `/v1/service-accounts?org_id=${place.org_id}&workspace_id=${place.workspace_id}`,
    );
    const known = service_accounts.find((account: Json) => account.name === address);
    const { service_account } =
      known === undefined
        ? await this.request("POST", "/v1/service-accounts", { name: address, display_name, ...place })
        : { service_account: known };
    const id = service_account.service_account_id;
    const { key } = await this.request("POST", `/v1/service-accounts/${id}/keys`, {});
    return key.token;
  }
}
