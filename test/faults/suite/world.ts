// The world that faults happen in: a PostgreSQL, two servers or more, three agents, an initiator and an operator, each a process of its
// own, with faulty wires in between. Knows how to break and to mend each part; decides nothing.

import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import pg from "pg";
import { startEmbeddedPostgres } from "../../../server/postgres/embedded.ts";
import { migrate } from "../../../server/store/migrate.ts";
import { openHistory, recordingFetch } from "../../judge/history.ts";
import { compiled, serverIn } from "../../support/programs.ts";
import { freePort } from "../processes.ts";
import { type FaultProxy, openProxy } from "../proxy.ts";
import { adopt, adoptDatabase, forgetDatabase } from "../reaper.ts";
import { type Call, openCalls } from "./calls.ts";
import { openPair } from "./pair.ts";
import { AGENTS, type Replication } from "./plan.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));

/** Short, but each well apart from the next, as in production. */
const TIMINGS = {
  PERDURE_HEARTBEAT_INTERVAL_MS: "400",
  PERDURE_LEASE_TTL_MS: "2500",
  PERDURE_RECONNECT_GRACE_MS: "300",
  PERDURE_RESTART_GRACE_MS: "2000",
  PERDURE_POLL_INTERVAL_MS: "200",
  PERDURE_MAX_TOTAL_LOSSES: "100000",
};

/** Intents that an agent takes at once of each address, and as many more as there is more work. */
const CAPACITY = 4;

type Role = "server" | "agent" | "initiator" | "operator";

/** A process that is started again until the world ends, unless somebody keeps it away. */
export class Part {
  readonly role: Role;
  readonly number: number;
  readonly #spawn: (part: Part) => ChildProcess;
  #child: ChildProcess | null = null;
  #kept = false;
  #ended = false;
  /** Set for the next start only. */
  crashPoint: string | null = null;
  starts = 0;
  output = "";

  constructor(role: Role, number: number, spawnChild: (part: Part) => ChildProcess) {
    this.role = role;
    this.number = number;
    this.#spawn = spawnChild;
  }

  start(): void {
    if (this.#ended || this.#kept || this.#child !== null) return;
    this.starts += 1;
    const child = this.#spawn(this);
    this.crashPoint = null;
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output = (this.output + text).slice(-20_000);
      });
    child.once("exit", () => {
      this.#child = null;
      setTimeout(() => this.start(), 50);
    });
  }

  get alive(): boolean {
    return this.#child !== null;
  }

  /** Of the process that is it now. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Dead for a while: the supervisor comes only then. */
  async keepAway(ms: number): Promise<void> {
    this.#kept = true;
    this.signal("SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, ms));
    this.#kept = false;
    this.start();
  }

  async end(): Promise<void> {
    this.#ended = true;
    const child = this.#child;
    if (child === null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGCONT");
    child.kill("SIGKILL");
    await gone;
  }
}

export interface World {
  readonly servers: readonly Part[];
  readonly agents: readonly Part[];
  readonly initiator: Part;
  readonly operator: Part;
  /** What the suite itself asks, written down like everything else. */
  readonly call: Call;
  readonly agentWires: readonly FaultProxy[];
  readonly databaseWire: FaultProxy;
  /** The one that is written to now. */
  readonly postgres: { readonly url: string; readonly pid: number };
  /** A server's own address, past the wires. */
  readonly serverUrls: readonly string[];
  readonly historyFiles: readonly string[];
  /** The primary's word no longer reaches its standby; so much later it dies for good, and the standby takes over. */
  promoteStandby(unsentMs: number): Promise<void>;
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  end(): Promise<void>;
}

export interface WorldOptions {
  readonly seed: number;
  /** Where the built server is, asked anew at each start of one. */
  readonly distribution: string | ((server: number) => string);
  /** Where the programs of agents and initiators are compiled, asked anew at each start. Default: those of this repository. */
  readonly programs?: (part: Part) => string;
  /** Over the short ones of this suite. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The servers' own, without a clock that can be put wrong. Default: this repository's. */
  readonly schema?: "of the servers";
  /** Parts that wait for their `start`. */
  readonly later?: (part: Part) => boolean;
  readonly servers: number;
  /** How much the initiator has under way at once: with all that may happen to an intent, and without. */
  readonly lanes: number;
  readonly busyLanes: number;
  /** Undefined: there is no standby. */
  readonly replication: Replication | undefined;
}

export async function openWorld(options: WorldOptions): Promise<World> {
  const { seed, distribution, replication } = options;
  const directory = await mkdtemp(join(tmpdir(), "perdure-faults-"));
  // As root, PostgreSQL runs as another user, who has to be able to enter.
  await chmod(directory, 0o711);
  const dataDir = join(directory, "postgres");
  adoptDatabase(dataDir, [directory]);
  const postgres = await startEmbeddedPostgres({
    dataDir,
    settings: { fsync: "off", full_page_writes: "off", max_connections: "200" },
  });
  if (postgres.dataDir !== dataDir) adoptDatabase(postgres.dataDir, [postgres.dataDir]);
  if (options.schema === undefined) {
    await migrate(postgres.url);
    await makeClockSteerable(postgres.url);
  }
  const database = new URL(postgres.url);
  const databaseWire = await openProxy({ host: database.hostname, port: Number(database.port) });
  database.port = String(databaseWire.port);

  const pair = replication && (await openPair(postgres, join(directory, "standby"), replication));

  const ports = await Promise.all(Array.from({ length: options.servers }, () => freePort()));
  const serverUrls = ports.map((port) => `http://127.0.0.1:${port}`);
  const agentWires = await Promise.all(ports.map((port) => openProxy({ host: "127.0.0.1", port })));
  const historyFiles: string[] = [];
  const history = (name: string) => {
    const file = join(directory, `${name}.jsonl`);
    historyFiles.push(file);
    return file;
  };
  const wireUrl = (n: number) => `http://127.0.0.1:${agentWires[n % options.servers]?.port}`;

  const servers = ports.map(
    (port, n) =>
      new Part("server", n, (part) =>
        spawnServer(part, typeof distribution === "string" ? distribution : distribution(n), {
          ...options.settings,
          DATABASE_URL: database.href,
          PORT: String(port),
        }),
      ),
  );
  const program = (part: Part, name: string): string => {
    const source = `test/faults/fixtures/${name}`;
    return options.programs === undefined
      ? compiled(`${source}.ts`)
      : join(options.programs(part), `${source}.js`);
  };
  const agents = Array.from({ length: AGENTS }, (_, n) => {
    const file = history(`agent${n}`);
    return new Part("agent", n, (part) =>
      run([program(part, "faulted-agent")], {
        HISTORY: file,
        SERVER_URL: wireUrl(n),
        NAME: `agent${n}`,
        CAPACITY: String(CAPACITY + options.busyLanes),
        // Only the second listens far from the initiator's server.
        ...(n === 1 ? { LISTENS_FAR: "1" } : {}),
        // The last one is a new name each time, as the SDK does by default.
        ...(n < AGENTS - 1 ? { FIXED_NAME: `agent${n}` } : {}),
      }),
    );
  });
  const initiatorFile = history("initiator");
  const initiator = new Part("initiator", 0, (part) =>
    run([program(part, "faulted-initiator")], {
      HISTORY: initiatorFile,
      SERVER_URL: wireUrl(0),
      NAME: "initiator",
      SEED: String(seed),
      LANES: String(options.lanes),
      BUSY_LANES: String(options.busyLanes),
    }),
  );
  const operatorFile = history("operator");
  const operator = new Part("operator", 0, (part) =>
    run([program(part, "faulted-operator")], {
      HISTORY: operatorFile,
      SERVER_URL: wireUrl(1),
      NAME: "operator",
      SEED: String(seed),
      STARTS: String(part.starts),
    }),
  );
  for (const part of [...servers, ...agents, initiator, operator])
    if (options.later?.(part) !== true) part.start();
  const call = openCalls(serverUrls[0] ?? "", recordingFetch("suite", openHistory(history("suite"))));

  return {
    servers,
    agents,
    initiator,
    operator,
    call,
    agentWires,
    databaseWire,
    get postgres() {
      return pair?.current() ?? postgres;
    },
    promoteStandby: async (unsentMs) => pair?.promote(databaseWire, unsentMs),
    serverUrls,
    historyFiles,
    query: (text, values = []) => queryOnce((pair?.current() ?? postgres).url, text, values),
    async end() {
      await Promise.all([...agents, initiator, operator, ...servers].map((part) => part.end()));
      await Promise.all([...agentWires, databaseWire].map((wire) => wire.close()));
      await pair?.stop();
      await postgres.stop();
      for (const path of new Set([postgres.dataDir, directory]))
        await rm(path, { recursive: true, force: true });
      for (const home of new Set([postgres.dataDir, dataDir])) forgetDatabase(home);
    },
  };
}

/** The clock of the whole world is the database's; a row says how wrong it is. */
async function makeClockSteerable(url: string): Promise<void> {
  await queryOnce(url, "create table test_clock (wrong_by interval not null)", []);
  await queryOnce(url, "insert into test_clock values ('0')", []);
  await queryOnce(
    url,
    "create or replace function perdure_now() returns timestamptz language sql volatile as 'select clock_timestamp() + (select wrong_by from test_clock)'",
    [],
  );
}

async function queryOnce<Row extends pg.QueryResultRow>(
  url: string,
  text: string,
  values: unknown[],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url, application_name: "faults" });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function spawnServer(part: Part, distribution: string, env: Record<string, string>): ChildProcess {
  const armed = part.crashPoint !== null;
  const preload = armed ? ["--import", pathToFileURL(compiled("test/faults/crash-points.ts")).href] : [];
  return run([...preload, serverIn(distribution)], {
    ...TIMINGS,
    HOST: "127.0.0.1",
    PERDURE_LOG_LEVEL: "error",
    // The second one hears of nothing: its agents live by the poll.
    PERDURE_NOTIFY: part.number === 1 ? "off" : "on",
    ...(part.crashPoint === null ? {} : { CRASH_POINT: part.crashPoint }),
    ...env,
  });
}

function run(args: string[], env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, args, {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  adopt(child);
  return child;
}
