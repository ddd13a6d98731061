// Judges what the server did with a hostile request: its answer, what it stored, and what it wrote into its log.
import { ERRORS } from "../../server/errors.ts";
import { type TestServer, until } from "../support/server.ts";
import { CANARY } from "./values.ts";
import type { Outgoing, Raw } from "./wire.ts";

/** The newest write and the number of rows of every table: any row that is added, changed or removed shows. */
export async function stored(server: TestServer): Promise<string> {
  const { rows: tables } = await server.store.pool.query<{ name: string }>(
    "select quote_ident(tablename) as name from pg_tables where schemaname = 'public' order by 1",
  );
  const { rows } = await server.store.pool.query<{ t: string; n: string; x: string }>(
    tables
      .map(({ name }) => `select '${name}' as t, count(*) as n, max(xmin::text::bigint) as x from ${name}`)
      .join(" union all "),
  );
  return rows.map(({ t, n, x }) => `${t} ${n} ${x}`).join("\n");
}

/** What is stored once every stream has been left and nothing has moved for a while. */
export async function quiet(server: TestServer): Promise<string> {
  await until("the streams' end", () => server.streams.all().length === 0);
  let last = "";
  let same = 0;
  await until("quiet", async () => {
    const now = await stored(server);
    same = now === last ? same + 1 : 0;
    last = now;
    return same >= 5;
  });
  return last;
}

/** Refusals that are remembered by design: a dead agent's write in the log, a refused rival beside the consumer. */
const REMEMBERED = /"code":"(?:stale_attempt|consumer_in_use)"/;

/** What is wrong with an answer; empty when nothing is. */
export function faultsOf(request: Outgoing, answer: Raw, key: string): string[] {
  if (answer.status === 0) return ["no answer"];
  const faults: string[] = [];
  if (answer.status >= 500) faults.push(`status ${answer.status}`);
  if ("x-evil" in answer.headers) faults.push("a header of the request's making");
  if (answer.bytes.includes(key)) faults.push("the key is in the answer");
  if (answer.status >= 400) faults.push(...problemFaults(request, answer));
  else if (answer.body === "" && request.method !== "HEAD" && !isStream(answer))
    faults.push("an empty answer");
  return faults;
}

const isStream = (answer: Raw): boolean => /event-stream/.test(answer.headers["content-type"] ?? "");

function problemFaults(request: Outgoing, answer: Raw): string[] {
  if (answer.body.includes(CANARY) && !request.path.includes(CANARY))
    return ["the problem repeats the payload"];
  if (!/^application\/problem\+json/.test(answer.headers["content-type"] ?? "")) return ["not a problem"];
  let problem: {
    status?: number;
    code?: string;
    detail?: string;
    errors?: { pointer: string; detail: string }[];
  };
  try {
    problem = JSON.parse(answer.body);
  } catch {
    return ["the problem is not JSON"];
  }
  const faults: string[] = [];
  const kind = (ERRORS as Record<string, { status: number }>)[problem.code ?? ""];
  if (kind?.status !== answer.status || problem.status !== answer.status)
    faults.push("code and status differ");
  if (!problem.detail || problem.detail.length > 2_000) faults.push("no detail, or an endless one");
  if (
    problem.code === "validation_failed" &&
    !problem.errors?.every((one) => one.detail && /^(?:$|[/?:]|header )/.test(one.pointer))
  )
    faults.push("it does not name the place");
  if (answer.headers["x-request-id"] === undefined) faults.push("no request id");
  return faults;
}

/** Refused, and so not to be stored. */
export function mustStoreNothing(answer: Raw): boolean {
  return answer.status >= 400 && !REMEMBERED.test(answer.body);
}
