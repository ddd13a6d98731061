// Owns `perdure agents`: who listens at which address and what waits there, and pausing all of an agent.
import type { Command } from "commander";
import type { Json } from "../api.ts";
import { type Cli, newCommand, newGroup, runs } from "../context.ts";
import { describeDuration } from "../duration.ts";
import { EXIT } from "../exit-codes.ts";
import { collectListing, type LimitOptions, type Listing, printListing, withLimit } from "../listing.ts";
import { type Column, formatFields } from "../table.ts";
import { type WatchOptions, watchList, withWatch } from "../watch.ts";

const AGENTS: Listing = { path: "/v1/agents", field: "agents" };
const NOTHING = "no agents";

const COLUMNS: readonly Column<Json>[] = [
  { title: "ADDRESS", text: (agent) => agent.address },
  {
    title: "LISTENERS",
    text: (agent) => String(agent.listeners),
    colour: ({ listeners, queued }) => (listeners > 0 ? "green" : queued > 0 ? "red" : undefined),
  },
  { title: "QUEUED", text: (agent) => String(agent.queued) },
  { title: "AT WORK", text: (agent) => String(agent.held) },
  { title: "PAUSED", text: (agent) => (agent.paused ? "yes" : ""), colour: () => "yellow" },
  { title: "LAST SEEN", text: describeLastSeen, moves: true },
];

const agentPath = (address: string, ...below: string[]): string =>
  ["/v1/agents", encodeURIComponent(address), ...below].join("/");

export function agentsCommand(cli: Cli): Command {
  const about = "see who listens, and pause all of an agent";
  return newGroup("agents", about, [show(cli), verb(cli, "pause"), verb(cli, "unpause")], list(cli));
}

function list(cli: Cli): Command {
  const command = newCommand(
    "list",
    "list agents: who listens, what waits, what is at work",
    "perdure agents",
    "perdure agents --watch",
  );
  return runs(cli, withWatch(withLimit(command)), async (_args: [], options: LimitOptions & WatchOptions) => {
    if (!options.watch) {
      await printListing(cli, AGENTS, options, COLUMNS, NOTHING);
      if (!cli.json) await noteUnheard(cli);
      return EXIT.ok;
    }
    const look = () => collectListing(cli.api, AGENTS, options);
    const key = (agent: Json) => agent.address;
    return watchList(cli, { columns: COLUMNS, key, look, nothing: NOTHING }, options);
  });
}

/** Most often an address that was mistyped: nobody ever listened there, so that it is no agent in the list. */
async function noteUnheard(cli: Cli): Promise<void> {
  const { queues } = await cli.api.get("/v1/overview", { window_seconds: 60, buckets: 1 });
  for (const { address, waiting, oldest_seconds: oldest, listeners } of queues) {
    if (listeners > 0) continue;
    const intents = waiting === 1 ? "1 intent waits" : `${waiting} intents wait`;
    cli.note(`nobody listens at ${address}: ${intents}, the oldest for ${describeDuration(oldest * 1_000)}`);
  }
}

function show(cli: Cli): Command {
  const command = newCommand("show <address>", "show an agent", "perdure agents show agent://acme/prod/etl");
  return runs(cli, command, async ([address]: [string]) => {
    const answer = await cli.api.get(agentPath(address));
    if (cli.json) cli.printJson(answer);
    else {
      const fields = COLUMNS.map(({ title, text }): [string, string] => [
        title.toLowerCase(),
        text(answer.agent),
      ]);
      cli.io.out(formatFields(fields, cli.io));
    }
    return EXIT.ok;
  });
}

function verb(cli: Cli, name: "pause" | "unpause"): Command {
  const about =
    name === "pause" ? "deliver nothing to an agent, and pause what it holds" : "undo an agent's pause";
  const command = newCommand(`${name} <address>`, about, `perdure agents ${name} agent://acme/prod/etl`);
  if (name === "pause") command.option("--reason <text>", "kept in the log");
  return runs(cli, command, async ([address]: [string], { reason }: { reason?: string }) => {
    const answer = await cli.api.post(agentPath(address, name), {
      body: reason === undefined ? {} : { reason },
    });
    if (cli.json) cli.printJson(answer);
    else {
      const { agent, changed } = answer;
      const intents = changed === 1 ? "1 intent" : `${changed} intents`;
      cli.io.out(`${agent.address}  ${name}d, ${intents} changed`);
    }
    return EXIT.ok;
  });
}

function describeLastSeen({ last_seen_at: at }: Json): string {
  return at ? `${describeDuration(Math.max(0, Date.now() - Date.parse(at)))} ago` : "never";
}
