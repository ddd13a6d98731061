// Owns `perdure sessions`: what the intents of a session have in common, and what is done to all of them.
import type { Command } from "commander";
import type { Json } from "../api.ts";
import { type Cli, newCommand, newGroup, runs } from "../context.ts";
import { describeDuration, parseDuration } from "../duration.ts";
import { EXIT, exitForStatus, UsageError } from "../exit-codes.ts";
import { type LimitOptions, type Listing, printListing, readPages, withLimit } from "../listing.ts";
import { type Column, formatFields } from "../table.ts";

/** So many names are enough to recognise what would be deleted. */
const NAMED = 10;

const SESSIONS: Listing = { path: "/v1/sessions", field: "sessions" };

const sessionPath = (...below: string[]): string =>
  ["/v1/sessions", ...below.map(encodeURIComponent)].join("/");

const COLUMNS: readonly Column<Json>[] = [
  { title: "NAME", text: (session) => session.name },
  { title: "PAUSED", text: (session) => (session.paused ? "yes" : ""), colour: () => "yellow" },
  { title: "QUIET FOR", text: (session) => describeDuration(Math.max(0, quietMs(session))) },
  { title: "INTENTS", text: describeIntents },
];

export function sessionsCommand(cli: Cli): Command {
  const about = "see and steer all intents of a session at once";
  return newGroup("sessions", about, [show(cli), ...verbs(cli), remove(cli)], list(cli));
}

function list(cli: Cli): Command {
  const command = withLimit(newCommand("list", "list sessions", "perdure sessions"));
  return runs(cli, command, (_args: [], options: LimitOptions) =>
    printListing(cli, SESSIONS, options, COLUMNS, "no sessions"),
  );
}

function show(cli: Cli): Command {
  return runs(
    cli,
    newCommand("show <name>", "show a session", "perdure sessions show trip-42"),
    async ([name]: [string]) => {
      const answer = await cli.api.get(sessionPath(name));
      if (cli.json) {
        cli.printJson(answer);
        return EXIT.ok;
      }
      const { session } = answer;
      const fields: [string, unknown][] = [
        ["name", session.name],
        ["paused", session.paused ? "yes" : undefined],
        ["intents", describeIntents(session)],
        ["created", session.created_at],
        ["last activity", session.last_activity_at],
      ];
      cli.io.out(formatFields(fields, cli.io));
      return EXIT.ok;
    },
  );
}

interface Verb {
  readonly name: string;
  readonly about: string;
  readonly past: string;
  readonly takesReason: boolean;
  /** Cannot be undone: asks for --yes when it would do anything. */
  readonly final: boolean;
}

const VERBS: readonly Verb[] = [
  {
    name: "pause",
    about: "let no further step of its intents begin, nor of those still to come",
    past: "paused",
    takesReason: true,
    final: false,
  },
  { name: "unpause", about: "undo pause", past: "unpaused", takesReason: false, final: false },
  {
    name: "cancel",
    about: "end its intents as CANCELED",
    past: "canceled",
    takesReason: true,
    final: true,
  },
];

interface VerbOptions {
  reason?: string;
  yes?: boolean;
}

function verbs(cli: Cli): Command[] {
  return VERBS.map(({ name: verb, about, past, takesReason, final }) => {
    const command = newCommand(
      `${verb} <name>`,
      about,
      `perdure sessions ${verb} trip-42${final ? " --yes" : ""}`,
    );
    if (takesReason) command.option("--reason <text>", "kept in the log");
    if (final) command.option("--yes", "really do it");
    return runs(cli, command, async ([name]: [string], { reason, yes }: VerbOptions) => {
      if (final && !yes) return await askFirst(cli, name, past);
      const body = reason === undefined ? {} : { reason };
      const answer = await cli.api.post(sessionPath(name, verb), { body });
      if (cli.json) cli.printJson(answer);
      else cli.io.out(`${name}  ${past}, ${counted(answer.changed, "intent")} changed`);
      return EXIT.ok;
    });
  });
}

/** For what cannot be undone: what it would do, unless that is nothing. */
async function askFirst(cli: Cli, name: string, past: string): Promise<number> {
  const { session } = await cli.api.get(sessionPath(name));
  const live = liveIn(session);
  if (live > 0) {
    throw new UsageError(
      `${counted(live, "intent")} of session ${name} would be ${past}; add --yes to do it, or see them with: perdure list --session ${name}`,
    );
  }
  cli.note(`session ${name} has no live intents`);
  return EXIT.ok;
}

function remove(cli: Cli): Command {
  const command = newCommand(
    "delete [name]",
    "remove a session with its ended intents and its state",
    "perdure sessions delete trip-42 --yes",
    "perdure sessions delete --older-than 30d --yes",
  )
    .option(
      "--older-than <duration>",
      "instead of a name: every one without live intents that is quiet for so long",
    )
    .option("--yes", "really do it");
  return runs(
    cli,
    command,
    async ([name]: [string?], options: { olderThan?: string; yes?: boolean }): Promise<number> => {
      if (name !== undefined && options.olderThan !== undefined)
        throw new UsageError("give either a name or --older-than, not both");
      if (options.olderThan !== undefined)
        return await removeOld(cli, parseDuration(options.olderThan, "--older-than"), options.yes === true);
      if (name === undefined)
        throw new UsageError("delete what? Give a session's name, or --older-than 30d --yes");
      return await removeOne(cli, name, options.yes === true);
    },
  );
}

async function removeOne(cli: Cli, name: string, yes: boolean): Promise<number> {
  if (!yes) {
    const { session } = await cli.api.get(sessionPath(name));
    throw new UsageError(
      `session ${name} would be deleted with ${counted(session.intents.total, "intent")}; add --yes to do it`,
    );
  }
  const answer = await cli.api.delete(sessionPath(name));
  if (cli.json) cli.printJson(answer);
  else cli.io.out(`${name}  deleted with ${counted(answer.deleted, "intent")}`);
  return EXIT.ok;
}

async function removeOld(cli: Cli, olderThanMs: number, yes: boolean): Promise<number> {
  if (!yes) return await askAboutOld(cli, olderThanMs);
  const query = { older_than_seconds: Math.ceil(olderThanMs / 1_000) };
  let sessions = 0;
  let intents = 0;
  for (;;) {
    // Some at a time, until there are none.
    const answer = await cli.api.delete(sessionPath(), query);
    if (cli.json) cli.printJson(answer);
    else for (const name of answer.sessions) cli.io.out(name);
    sessions += answer.sessions.length;
    intents += answer.deleted;
    if (answer.sessions.length === 0) break;
  }
  cli.note(`${counted(sessions, "session")} deleted with ${counted(intents, "intent")}`);
  return EXIT.ok;
}

async function askAboutOld(cli: Cli, olderThanMs: number): Promise<number> {
  const names = await findOld(cli, olderThanMs);
  if (names.length === 0) {
    cli.note("no session is quiet for so long without live intents");
    return EXIT.ok;
  }
  const more = names.length > NAMED ? ", …" : "";
  throw new UsageError(
    `${counted(names.length, "session")} would be deleted (${names.slice(0, NAMED).join(", ")}${more}); add --yes to do it`,
  );
}

async function findOld(cli: Cli, olderThanMs: number): Promise<string[]> {
  const names: string[] = [];
  await readPages(cli.api, SESSIONS, Number.POSITIVE_INFINITY, (page) => {
    const old = page.filter((session) => liveIn(session) === 0 && quietMs(session) >= olderThanMs);
    names.push(...old.map((session) => session.name));
  });
  return names;
}

const quietMs = (session: Json): number => Date.now() - Date.parse(session.last_activity_at);

/** `12: 3 IN_PROGRESS, 9 COMPLETED`. */
function describeIntents({ intents: { total, ...byStatus } }: Json): string {
  const parts = Object.entries(byStatus).map(([status, count]) => `${count} ${status}`);
  return parts.length === 0 ? String(total) : `${total}: ${parts.join(", ")}`;
}

function liveIn({ intents: { total: _total, ...byStatus } }: Json): number {
  return Object.entries<number>(byStatus)
    .filter(([status]) => exitForStatus(status) === undefined)
    .reduce((sum, [, count]) => sum + count, 0);
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
