// The CLI's reader: line by line, by literal prefixes, and a line of more than 64 KiB ends it. It takes one more than the last id
// for its cursor.

import { get } from "node:http";

const LINE_MAX = 64 * 1024;

export interface LinesRead {
  readonly events: readonly { readonly id: number; readonly name: string; readonly data: string }[];
  /** Every line as it came. */
  readonly lines: readonly string[];
  /** What it asks for next. */
  readonly since: number;
}

/** Reads one window to its end, or rejects as the CLI gives up. */
export async function readLines(url: string, since: number): Promise<LinesRead> {
  const text = await new Promise<string>((resolve, reject) => {
    get(url, { agent: false }, async (response) => {
      let body = "";
      try {
        for await (const piece of response.setEncoding("utf8")) body += piece;
      } catch (error) {
        reject(error);
      }
      if (response.statusCode === 200) resolve(body);
      else reject(new Error(`answered ${response.statusCode}`));
    }).on("error", reject);
  });
  const lines = text.split("\n");
  const events: { id: number; name: string; data: string }[] = [];
  let [id, name, data] = [since, "", ""];
  let next = since;
  for (const line of lines) {
    if (Buffer.byteLength(line) > LINE_MAX) throw new Error("bufio.Scanner: token too long");
    if (line.startsWith("id: ")) {
      id = Number(line.slice(4));
      next = id + 1;
    } else if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data = line.slice(6);
    else if (line === "" && data !== "") {
      events.push({ id, name, data });
      data = "";
    }
  }
  return { events, lines, since: next };
}
