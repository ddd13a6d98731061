// The first connection to the database of a starting server. What can be wrong with where the settings say it is becomes a sentence for
// whoever set them; passwords are in none of them.

import pg from "pg";

/** The database cannot be used as it is named. The message says what to do. */
export class DatabaseUnusableError extends Error {}

const CONNECT_MS = 10_000;

interface Place {
  readonly server: string;
  readonly host: string;
  readonly database: string;
  readonly user: string;
}

const mayNot = ({ database, user }: Place): string =>
  `the user ${user} may not make tables in the database ${database}: make ${user} its owner (alter database … owner to …), or name another in DATABASE_URL`;

/** PostgreSQL's SQLSTATE, or the system's code: what is said of it. */
const WORDS: Readonly<Record<string, (place: Place) => string>> = {
  "3D000": ({ server, database }) =>
    `there is no database ${database} on ${server}: create it (createdb ${database}), or name another in DATABASE_URL`,
  "28P01": ({ server, user }) =>
    `PostgreSQL on ${server} does not accept this password for the user ${user}: correct DATABASE_URL`,
  "28000": ({ server, database, user }) =>
    `PostgreSQL on ${server} does not let the user ${user} into the database ${database}: create the role, allow it in pg_hba.conf, or name another in DATABASE_URL`,
  "42501": mayNot,
  "3F000": mayNot,
  "25006": ({ server }) =>
    `PostgreSQL on ${server} takes no writes, because it is a standby or set to read only: name the primary in DATABASE_URL`,
  "53300": ({ server }) =>
    `PostgreSQL on ${server} has no connection left: raise its max_connections, or lower PERDURE_DB_POOL_MAX of the servers that use it`,
  "57P03": ({ server }) => `PostgreSQL on ${server} is starting or stopping: try again in a moment`,
  ECONNREFUSED: ({ server }) =>
    `${server} refuses connections: is PostgreSQL running there? DATABASE_URL says where to look`,
  ENOTFOUND: ({ host }) => `the host ${host} is not known here: correct DATABASE_URL`,
  EAI_AGAIN: ({ host }) =>
    `the host ${host} cannot be looked up now: is there a network and a name server? DATABASE_URL names it`,
  ETIMEDOUT: ({ server }) =>
    `${server} does not answer: is it up, and does a firewall let this machine through?`,
  EHOSTUNREACH: ({ server }) => `${server} cannot be reached from here: correct DATABASE_URL`,
  ENETUNREACH: ({ server }) => `${server} cannot be reached from here: correct DATABASE_URL`,
  ENOENT: ({ host }) =>
    `there is no socket of PostgreSQL in ${host}: is it running? DATABASE_URL says where to look`,
};

function placeOf({ host, port, database, user }: pg.Client): Place {
  const name = host.includes(":") ? `[${host}]` : host;
  return {
    host,
    server: host.startsWith("/") ? host : `${name}:${port}`,
    database: JSON.stringify(database ?? ""),
    user: JSON.stringify(user ?? ""),
  };
}

const codeOf = (error: unknown): string => String((error as { code?: unknown } | null)?.code ?? "");

/** In words, where the words are known. */
function explained(error: unknown, client: pg.Client): DatabaseUnusableError | null {
  const words = WORDS[codeOf(error)]?.(placeOf(client));
  return words === undefined ? null : new DatabaseUnusableError(words, { cause: error });
}

async function connect(client: pg.Client): Promise<void> {
  try {
    await client.connect();
  } catch (error) {
    // Not awaited: what stands at the other end may never close its side.
    client.end().catch(() => undefined);
    const { server, database } = placeOf(client);
    // What the driver itself finds (no password where one is wanted, no TLS, no answer in time) has no code and good words.
    throw (
      explained(error, client) ??
      new DatabaseUnusableError(
        `the database ${database} on ${server} cannot be opened: ${(error as Error).message}. Correct DATABASE_URL`,
        { cause: error },
      )
    );
  }
}

/** Opens the database, and closes it once `body` is done. What refuses is put into words. */
export async function withFirstContact<T>(
  connectionString: string,
  body: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    connectionString,
    application_name: "perdure-migrate",
    connectionTimeoutMillis: CONNECT_MS,
  });
  // One that breaks between two statements would end the process without a word.
  client.on("error", () => undefined);
  await connect(client);
  try {
    return await body(client);
  } catch (error) {
    throw explained(error, client) ?? error;
  } finally {
    await client.end();
  }
}
