// Owns the databases that tests use: a migrated one for each test file, copied from the run's template, and gone
// with everything that the file left open. The PostgreSQL behind them belongs to global-setup.ts.
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { inject } from "vitest";
import { witnessDatabase } from "./witnesses.ts";

declare module "vitest" {
  interface ProvidedContext {
    testPostgres: {
      /** A role that may create databases. */
      adminUrl: string;
      template: string;
      prefix: string;
      /** Why there is no template, if there is none. */
      failure?: string;
    };
  }
}

export interface TestDatabase {
  readonly url: string;
  /** Drops it. Fails when the test left a connection open: in production that would be a leak. */
  drop(options?: { openConnections?: "fail" | "close" }): Promise<void>;
}

const CLOSING_MS = 3_000;
const INSUFFICIENT_PRIVILEGE = "42501";

/** A database of its own, migrated, within tens of milliseconds. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { adminUrl, template, prefix, failure } = inject("testPostgres");
  if (failure !== undefined) throw new Error(`the template database could not be made: ${failure}`);
  const name = `${prefix}${randomBytes(6).toString("hex")}`;
  await asAdmin(adminUrl, (admin) =>
    admin.query(`create database ${name} template ${template} strategy file_copy`),
  );
  const url = urlOf(adminUrl, name);
  const forget = witnessDatabase(url);
  let dropped = false;
  return {
    url,
    drop: async ({ openConnections = "fail" } = {}) => {
      if (dropped) return;
      dropped = true;
      forget();
      const left = openConnections === "close" ? [] : await openSessions(adminUrl, name);
      await asAdmin(adminUrl, (admin) => dropDatabase(admin, name));
      if (left.length > 0)
        throw new Error(`connections to the test database were left open: ${left.join("; ")}`);
    },
  };
}

/** Vacuum may just be at work in it, whom only a superuser could throw out: it goes by itself. */
async function dropDatabase(admin: pg.Client, name: string): Promise<void> {
  for (const deadline = Date.now() + CLOSING_MS; ; await delay(20)) {
    try {
      await admin.query(`drop database ${name} with (force)`);
      return;
    } catch (error) {
      if ((error as { code?: string }).code !== INSUFFICIENT_PRIVILEGE || Date.now() > deadline) throw error;
    }
  }
}

/** What is still connected once sessions that are just ending have had time to end. */
async function openSessions(adminUrl: string, database: string): Promise<string[]> {
  return asAdmin(adminUrl, async (admin) => {
    const deadline = Date.now() + CLOSING_MS;
    for (;;) {
      const { rows } = await admin.query<{ session: string }>(
        `select coalesce(nullif(application_name, ''), 'unnamed') || ': ' || left(query, 80) as session
           from pg_stat_activity where datname = $1`,
        [database],
      );
      if (rows.length === 0 || Date.now() > deadline) return rows.map((row) => row.session);
      await delay(20);
    }
  });
}

export async function asAdmin<T>(adminUrl: string, use: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: adminUrl, application_name: "perdure tests" });
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.end();
  }
}

export function urlOf(adminUrl: string, database: string): string {
  const url = new URL(adminUrl);
  url.pathname = `/${database}`;
  return url.href;
}
