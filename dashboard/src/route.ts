// Where the page is: the part of the URL behind the #, so that filters can be shared and the server sees none of it.

import { value } from "./store.ts";

export interface Route {
  /** Parts of the path, decoded. */
  readonly path: readonly string[];
  readonly params: URLSearchParams;
}

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

function parse(): Route {
  const [path = "", search = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { path: path.split("/").filter(Boolean).map(decode), params: new URLSearchParams(search) };
}

export const route = value<Route>(parse());
addEventListener("hashchange", () => route.set(parse()));

export function href(
  path: readonly string[],
  params?: Readonly<Record<string, string>> | URLSearchParams,
): string {
  const search = new URLSearchParams(params).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${search === "" ? "" : `?${search}`}`;
}

export function go(path: readonly string[], params?: Readonly<Record<string, string>>): void {
  location.hash = href(path, params);
}

/** Changes what follows the `?` without a step in the history: typing in a filter is one visit. */
export function setParams(changes: Readonly<Record<string, string | null>>): void {
  const { path, params } = route.get();
  const next = new URLSearchParams(params);
  for (const [name, one] of Object.entries(changes)) {
    if (one === null || one === "") next.delete(name);
    else next.set(name, one);
  }
  history.replaceState(null, "", href(path, next));
  route.set(parse());
}
