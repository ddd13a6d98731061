// Bundles as the AXP command line sends them: agents and people, and who does which step.

export const PAYLOAD = { service: "api", version: "3.5.0" };
const agent = (role: string) => ({
  role,
  address: `${role}-agent`,
  delivery_mode: "stream",
  create_if_missing: true,
});
export const task = (step_id: string, assigned_to: string, more: object = {}) => ({
  step_id,
  tool_id: "tool.agent.task.v1",
  assigned_to,
  step_deadline_seconds: 60,
  ...more,
});
export const signOff = (step_id: string, more: object = {}) => ({
  step_id,
  tool_id: "tool.approval.human_signoff",
  assigned_to: "board",
  requires_approval: true,
  human_task: { title: "May it go out?", notify_email: "x@example.com" },
  ...more,
});
export const bundle = (steps: object[], roles: string[], more: object = {}) => ({
  scenario_id: "release.v1",
  title: "A release",
  agents: roles.map(agent),
  humans: [{ role: "board", contact: "board@example.com", display_name: "The board" }],
  workflow: { steps },
  intent: { type: "intent.release.v1", payload: PAYLOAD, max_delivery_attempts: 2 },
  ...more,
});
