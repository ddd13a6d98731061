// Owns: reading a list page by page. Must not: know what is in it.
import type { Http, HttpRequest } from "./http.ts";
import type { Wire } from "./intents.ts";

const PAGE_SIZE = 100;

/** The entries of `list` in every page, asked for as they are read. */
export async function* pages(
  http: Http,
  path: string,
  query: NonNullable<HttpRequest["query"]>,
  list: string,
): AsyncGenerator<Wire, void, void> {
  let cursor: string | undefined;
  do {
    const answer = await http.send({ method: "GET", path, query: { limit: PAGE_SIZE, ...query, cursor } });
    yield* answer[list];
    cursor = answer.next_cursor ?? undefined;
  } while (cursor !== undefined);
}
