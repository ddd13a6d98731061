// After a restore of a backup or the promotion of a standby that lacked commits: no attempt of before is valid any more, and no number
// that may have been given out is given out again. Beside working servers; only ever on an operator's word.

import { forgetAttempts } from "../domain/decide/attempt.ts";
import { SERVER } from "../domain/intent.ts";
import type { Store } from "../store/connection.ts";
import type { GroupCommit } from "../store/group-commit.ts";
import { liveAfter } from "../store/queries/live.ts";

/** More than anybody delivers of one intent in the time that is lost. */
const LEFT_OUT = 1_000;
const PAGE = 500;
const STEPS_AT_ONCE = 50;

/** @returns how many intents */
export async function fenceAll(store: Store, commits: GroupCommit): Promise<number> {
  let count = 0;
  let last: string | null = null;
  for (;;) {
    const ids: string[] = await liveAfter(store, last, PAGE);
    const fenced = await Promise.all(ids.map((id) => fenceOne(commits, id)));
    count += fenced.filter(Boolean).length;
    last = ids.at(-1) ?? null;
    if (ids.length < PAGE) return count;
  }
}

function fenceOne(commits: GroupCommit, intentId: string): Promise<boolean> {
  return commits.submit<boolean>({
    name: "fence",
    intents: [intentId],
    steps: [{ intentId, keys: [], undone: STEPS_AT_ONCE }],
    decide(work) {
      if (!work.has(intentId)) return false;
      const draft = work.open(intentId, SERVER);
      const fenced = forgetAttempts(draft, LEFT_OUT);
      if (fenced) work.stage(draft);
      return fenced;
    },
  });
}
