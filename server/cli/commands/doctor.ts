// Owns `perdure doctor`: which server and key are in force and why, and whether they work together.
import type { Command } from "commander";
import { VERSION } from "../../version.ts";
import type { Json } from "../api.ts";
import { type Cli, newCommand, runs } from "../context.ts";
import { describeDuration } from "../duration.ts";
import { EXIT } from "../exit-codes.ts";
import { describeFailure } from "../failure.ts";
import { paint } from "../io.ts";
import { maskKey } from "../keys.ts";

interface Finding {
  readonly name: "url" | "key" | "server" | "database" | "access" | "clock";
  readonly state: "ok" | "warning" | "failed";
  readonly message: string;
  /** What it means for the exit code. */
  readonly exit?: number;
}

/** A clock that is off by less does no harm to times that people type. */
const SKEW_MS = 2_000;
const COLOURS = { ok: "green", warning: "yellow", failed: "red" } as const;

export function doctorCommand(cli: Cli): Command {
  const command = newCommand(
    "doctor",
    "tell which server and key are in force, and whether they work",
    "perdure doctor",
    "perdure doctor --profile staging",
  );
  return runs(cli, command, async () => {
    const findings = [...describeConnection(cli), ...(await examine(cli))];
    const exit = findings.find((finding) => finding.exit !== undefined)?.exit ?? EXIT.ok;
    if (cli.json) cli.printJson({ ok: exit === EXIT.ok, ...inForce(cli), findings: findings.map(shown) });
    else for (const finding of findings) cli.io.out(formatFinding(cli, finding));
    return exit;
  });
}

const inForce = ({ connection: { url, urlFrom, keyFrom, profile } }: Cli) => ({
  url,
  url_from: urlFrom,
  key_from: keyFrom ?? null,
  profile: profile ?? null,
  version: VERSION,
});

const shown = ({ name, state, message }: Finding) => ({ name, state, message });

function describeConnection({ connection }: Cli): Finding[] {
  const { url, urlFrom, apiKey, keyFrom } = connection;
  const key = apiKey === undefined ? "none" : `${maskKey(apiKey)} (${keyFrom})`;
  return [
    { name: "url", state: "ok", message: `${url} (${urlFrom})` },
    { name: "key", state: "ok", message: key },
  ];
}

/** One after the other: what does not answer needs no further question. */
async function examine(cli: Cli): Promise<Finding[]> {
  const began = performance.now();
  const alive = await ask(cli, "server", "/health");
  if ("state" in alive) return [alive];
  const tookMs = performance.now() - began;
  const server = describeServer(alive.answer, tookMs);
  if (server.state === "failed") return [server];
  const findings = [server];
  const ready = await ask(cli, "database", "/ready");
  if ("state" in ready) return [...findings, ready];
  findings.push({ name: "database", state: "ok", message: "answers the server" });
  const askedAt = Date.now();
  const me = await ask(cli, "access", "/v1/me");
  if ("state" in me) return [...findings, me];
  const clock = describeClock(Date.parse(me.answer.at), askedAt, Date.now());
  return [...findings, describeAccess(me.answer.caller), clock];
}

async function ask(cli: Cli, name: Finding["name"], path: string): Promise<{ answer: Json } | Finding> {
  try {
    return { answer: await cli.api.get(path) };
  } catch (error) {
    const { exit, message } = describeFailure(error, cli.connection);
    return { name, state: "failed", message, exit };
  }
}

function describeServer({ name, version }: Json, tookMs: number): Finding {
  if (name !== "perdure")
    return { name: "server", state: "failed", message: "is not Perdure", exit: EXIT.unreachable };
  const same = version === VERSION;
  const message = `Perdure ${version}, answered in ${Math.round(tookMs)} ms`;
  return {
    name: "server",
    state: same ? "ok" : "warning",
    message: same ? message : `${message}; this is the command line of ${VERSION}`,
  };
}

function describeAccess({ address, scopes, patterns, key_id: id, keys_required: required }: Json): Finding {
  const message = required
    ? `${address}${id === null ? ", the administrator of PERDURE_ADMIN_KEY" : ""}, may ${scopes.join(", ")}; stands for ${[address, ...patterns].join(", ")}`
    : "development mode: anybody on that machine may do everything, with any key or none";
  return { name: "access", state: "ok", message };
}

/** It was read somewhere between the question and its answer: the middle is the best guess, and half of the time the doubt. */
function describeClock(at: number, askedAt: number, answeredAt: number): Finding {
  const skewMs = at - (askedAt + answeredAt) / 2;
  if (Math.abs(skewMs) < SKEW_MS + (answeredAt - askedAt) / 2)
    return { name: "clock", state: "ok", message: "agrees with the database's" };
  const where = skewMs > 0 ? "behind" : "ahead of";
  const off = describeDuration(Math.abs(skewMs));
  return {
    name: "clock",
    state: "warning",
    message: `${off} ${where} the database's, which counts: --since and --at of a duration are off by that`,
  };
}

function formatFinding({ io }: Cli, { name, state, message }: Finding): string {
  const label = paint(io.colour.out, COLOURS[state], state.padEnd(8));
  return `${label} ${name.padEnd(9)} ${message}`;
}
