// Sends one intent by hand: for trying an agent.

import { useState } from "preact/hooks";
import { call, get, keyChanges } from "../api.ts";
import { useResource } from "../hooks.ts";
import { PageHead } from "../parts/basics.tsx";
import { attempt } from "../parts/toasts.tsx";
import { go } from "../route.ts";
import { useValue } from "../store.ts";
import type { Agent } from "../wire.ts";

const problemOf = (payload: string): string | null => {
  try {
    const value: unknown = JSON.parse(payload);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? null
      : "A payload is a JSON object: { … }";
  } catch (error) {
    return (error as Error).message;
  }
};

/** An id of this browser's own: sending again after a lost answer must not send twice. */
const newKey = () => `dashboard-${crypto.getRandomValues(new Uint32Array(3)).join("-")}`;

export function Send() {
  const [toAgent, setToAgent] = useState("");
  const [type, setType] = useState("");
  const [payload, setPayload] = useState("{}");
  const [steps, setSteps] = useState("");
  const [session, setSession] = useState("");
  const [key, setKey] = useState(newKey);
  const [busy, setBusy] = useState(false);
  const agents = useResource<{ agents: readonly Agent[] }>(`send agents ${useValue(keyChanges)}`, (signal) =>
    get("/v1/agents?limit=100", signal),
  );
  const problem = problemOf(payload);
  const planned = steps
    .split(",")
    .map((one) => one.trim())
    .filter(Boolean);

  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    const members = [
      `"intent_type":${JSON.stringify(type)}`,
      `"to_agent":${JSON.stringify(toAgent)}`,
      // As it was typed: numbers that JavaScript cannot hold stay what they are.
      `"payload":${payload}`,
      ...(planned.length === 0 ? [] : [`"steps":${JSON.stringify(planned)}`]),
      ...(session === "" ? [] : [`"session":${JSON.stringify(session)}`]),
    ];
    let id = "";
    const sent = await attempt("Sent", async () => {
      const answer = await call<{ intent_id: string }>("POST", "/v1/intents", {
        body: `{${members.join(",")}}`,
        idempotencyKey: key,
      });
      id = answer.intent_id;
    });
    setBusy(false);
    if (!sent) return;
    setKey(newKey());
    go(["intents", id]);
  };

  return (
    <div class="page narrow">
      <PageHead title="Send an intent" />
      <form class="form" onSubmit={(event) => void submit(event)}>
        <label class="field wide">
          <span class="label">To agent</span>
          <input
            required
            list="agents"
            placeholder="agent://demo/data/etl"
            value={toAgent}
            onInput={(event) => setToAgent(event.currentTarget.value)}
          />
          <datalist id="agents">
            {agents.data?.agents.map(({ address }) => (
              <option key={address} value={address} />
            ))}
          </datalist>
        </label>
        <label class="field wide">
          <span class="label">Type</span>
          <input
            required
            placeholder="etl.v1"
            maxLength={200}
            value={type}
            onInput={(event) => setType(event.currentTarget.value)}
          />
        </label>
        <label class="field wide">
          <span class="label">Payload (JSON)</span>
          <textarea
            class="mono"
            rows={8}
            spellcheck={false}
            value={payload}
            aria-invalid={problem !== null}
            aria-describedby="payload-problem"
            onInput={(event) => setPayload(event.currentTarget.value)}
          />
        </label>
        <p id="payload-problem" class="bad-text" role="status">
          {problem}
        </p>
        <div class="columns">
          <label class="field wide">
            <span class="label">Steps, in order (optional)</span>
            <input
              placeholder="extract, transform, load"
              value={steps}
              onInput={(event) => setSteps(event.currentTarget.value)}
            />
          </label>
          <label class="field wide">
            <span class="label">Session (optional)</span>
            <input
              maxLength={200}
              value={session}
              onInput={(event) => setSession(event.currentTarget.value)}
            />
          </label>
        </div>
        <div class="actions">
          <button type="submit" class="primary" disabled={busy || problem !== null}>
            {busy ? "Sending…" : "Send"}
          </button>
        </div>
      </form>
    </div>
  );
}
