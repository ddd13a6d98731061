// Owns the life of the embedded PostgreSQL: bring it up on a data directory or adopt the one a killed server left,
// hold the directory, bring it up again when it dies, stop it. Must not know what the server stores in it.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Binaries, locateBinaries, platformPackage } from "./binaries.ts";
import { type Cluster, ensureCluster, hasCluster, rememberedPort, rememberPort } from "./cluster.ts";
import { codeOf, EmbeddedPostgresError } from "./errors.ts";
import { connectionUrl, type Ownership, takeOwnership } from "./ownership.ts";
import { findPlace, type Place } from "./place.ts";
import { choosePort } from "./ports.ts";
import {
  findPostmaster,
  type Postmaster,
  portOf,
  spawnPostmaster,
  stopPostmaster,
  tailOfLog,
  waitUntilReady,
} from "./postmaster.ts";

export interface EmbeddedPostgresOptions {
  /** Created when missing. */
  dataDir: string;
  /** Called with one line about each thing worth telling. */
  log?: (message: string) => void;
  /** A fixed port; else the one of last time, else a free one. A PostgreSQL that is adopted keeps its own. */
  port?: number;
  /** PostgreSQL settings for this start only; the tests turn fsync off with it. */
  settings?: Readonly<Record<string, string>>;
  /** Called once when another server took over the directory while PostgreSQL was down: the caller has to end. */
  onLost?: (error: Error) => void;
}

export interface EmbeddedPostgres {
  /** For the server's own role; contains the password. Stays the same for the life of this object. */
  readonly url: string;
  /** Where the database really is; not always the directory that was asked for. */
  readonly dataDir: string;
  readonly pid: number;
  /** True when PostgreSQL was still running from a server that had been killed. */
  readonly adopted: boolean;
  /** Ends all sessions, stops PostgreSQL, waits until it is gone. May be called more than once. */
  stop(): Promise<void>;
}

/** Recovery after a crash may have much to read, and is never to be interrupted by impatience. */
const START_TIMEOUT_MS = 300_000;
const MAX_FAILURES = 5;
const RESTART_DELAY_MAX_MS = 5_000;
/** PostgreSQL is up but cannot serve: 57P01 and 57P02 shutting down, 57P03 starting, 53300 no session free. */
const TRANSIENT = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "57P01", "57P02", "57P03", "53300"]);

interface Site {
  readonly place: Place;
  readonly binaries: Binaries;
  readonly cluster: Cluster;
  readonly settings: Readonly<Record<string, string>>;
  readonly log: (message: string) => void;
}

interface Running {
  readonly postmaster: Postmaster;
  readonly port: number;
  readonly adopted: boolean;
  readonly ownership: Ownership;
}

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const log = options.log ?? (() => {});
  const asked = resolve(options.dataDir);
  // Said before any directory is: where the package was left out, DATABASE_URL is what is missing.
  await platformPackage();
  const place = await findPlace(asked);
  if (place.relocated) log(`the database of ${asked} is in ${place.home} (PostgreSQL does not run as root)`);
  const binaries = await locateBinaries(place.identity, place.copyBase);
  const cluster = await ensureCluster(place.home, binaries, place.identity);
  if (cluster.created) log(`created a PostgreSQL ${binaries.version} database in ${place.home}`);

  const site: Site = { place, binaries, cluster, settings: options.settings ?? {}, log };
  const running = await bringUp(site, options.port ?? (await rememberedPort(cluster)), false);
  await rememberPort(cluster, running.port);
  if (running.adopted) log(`PostgreSQL was still running (process ${running.postmaster.pid}); using it`);
  return supervise(site, running, options.onLost ?? (() => {}));
}

/** The database that is there, beside the server that runs it, or started for as long as it is needed. Never makes a new one. */
export async function openExistingPostgres(dataDir: string): Promise<{ url: string; stop(): Promise<void> }> {
  const asked = resolve(dataDir);
  const place = existsSync(asked) ? await findPlace(asked) : undefined;
  if (place === undefined || !(await hasCluster(place.home))) {
    throw new EmbeddedPostgresError(
      "data_directory_unusable",
      `There is no database in ${asked}. Set DATABASE_URL or PERDURE_DATA_DIR to the one you mean.`,
    );
  }
  const binaries = await locateBinaries(place.identity, place.copyBase);
  const cluster = await ensureCluster(place.home, binaries, place.identity);
  const found = await findPostmaster(cluster.data);
  if (found.state !== "running") return startEmbeddedPostgres({ dataDir });
  return { url: connectionUrl(cluster, await portOf(cluster.data)), stop: async () => undefined };
}

/** Finds or starts PostgreSQL and takes the lock. With `keepPort`, no other port will do. */
async function bringUp(site: Site, preferredPort: number | undefined, keepPort: boolean): Promise<Running> {
  const { cluster, binaries, settings, place } = site;
  const deadline = Date.now() + START_TIMEOUT_MS;
  let reason = "it is not ready yet";
  for (
    let failures = 0;
    failures < MAX_FAILURES && Date.now() < deadline;
    await delay(100 + 200 * failures)
  ) {
    const found = await findPostmaster(cluster.data);
    let postmaster: Postmaster;
    if (found.state === "running") {
      postmaster = { pid: found.pid };
    } else {
      const port = keepPort && preferredPort !== undefined ? preferredPort : await choosePort(preferredPort);
      const stalePid = found.state === "stale" ? found.pid : undefined;
      const spawned = await spawnPostmaster({
        binaries,
        cluster,
        identity: place.identity,
        port,
        settings,
        stalePid,
      });
      if ("failure" in spawned) {
        throw new EmbeddedPostgresError(
          "postgres_start_failed",
          `PostgreSQL did not start: ${spawned.failure}`,
        );
      }
      postmaster = spawned;
    }
    const adopted = postmaster.child === undefined;
    const outcome = await waitUntilReady(cluster.data, postmaster, deadline);
    if (outcome === "late") break;
    if (outcome === "gone") {
      // An adopted one was just being stopped. One of ours refused, or lost the race against another start.
      if (!adopted) failures += 1;
      reason = "it ended at once";
      continue;
    }
    try {
      const port = await portOf(cluster.data);
      return { postmaster, port, adopted, ownership: await takeOwnership(cluster, port) };
    } catch (error) {
      if (!TRANSIENT.has(codeOf(error) ?? "")) throw error;
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  throw new EmbeddedPostgresError(
    "postgres_start_failed",
    `PostgreSQL did not start: ${reason}. Its log, ${cluster.log}, ends with:\n${await tailOfLog(cluster.log)}`,
  );
}

/** Watches the session that holds the lock: it ends when PostgreSQL dies, which is then brought up again. */
function supervise(site: Site, first: Running, onLost: (error: Error) => void): EmbeddedPostgres {
  const { cluster, log } = site;
  const stopping = new AbortController();
  let running = first;
  let restarting: Promise<Running | undefined> | undefined;
  let lostToAnother = false;
  let stopped: Promise<void> | undefined;

  const watch = async (): Promise<void> => {
    for (;;) {
      await running.ownership.lost;
      if (stopping.signal.aborted) return;
      log("lost the embedded PostgreSQL; bringing it up again");
      restarting = restart();
      const next = await restarting;
      if (next === undefined) return;
      running = next;
      restarting = undefined;
      log(`the embedded PostgreSQL is back (process ${running.postmaster.pid})`);
    }
  };

  const restart = async (): Promise<Running | undefined> => {
    for (let waitMs = 100; !stopping.signal.aborted; waitMs = Math.min(waitMs * 2, RESTART_DELAY_MAX_MS)) {
      try {
        return await bringUp(site, first.port, true);
      } catch (error) {
        const failure = error instanceof Error ? error : new Error(String(error));
        if (failure instanceof EmbeddedPostgresError && failure.code === "data_directory_in_use") {
          lostToAnother = true;
          onLost(failure);
          return undefined;
        }
        log(`the embedded PostgreSQL does not start (next try in ${waitMs} ms): ${failure.message}`);
      }
      await delay(waitMs, undefined, { signal: stopping.signal }).catch(() => {});
    }
    return undefined;
  };

  const watching = watch();

  const stop = async (): Promise<void> => {
    stopping.abort();
    // A start in progress is let finish, so that what it starts is stopped too.
    const next = await restarting;
    if (next !== undefined) running = next;
    if (lostToAnother) return;
    const gone = stopPostmaster(cluster.data, running.postmaster, site.binaries);
    if (!(await gone)) log(`PostgreSQL (process ${running.postmaster.pid}) could not be stopped`);
    await running.ownership.release();
    await watching;
  };

  return {
    url: connectionUrl(cluster, first.port),
    dataDir: site.place.home,
    adopted: first.adopted,
    get pid() {
      return running.postmaster.pid;
    },
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}
