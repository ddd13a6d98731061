// Verbs for all intents that match the filter: counted first, done after a confirmation, page by page.

import { useEffect, useState } from "preact/hooks";
import { post } from "../api.ts";
import { count, plural, words } from "../format.ts";
import { type Filters, metadataOf, requestOf } from "../intent-list.ts";
import { Dialog } from "../parts/dialog.tsx";
import { toast } from "../parts/toasts.tsx";

type Verb = "cancel" | "pause" | "unpause" | "retry";
const VERBS: readonly Verb[] = ["pause", "unpause", "retry", "cancel"];
const PAGE = 500;
/** Enough to say "many". */
const COUNTED_MAX = 20_000;

interface BulkAnswer {
  readonly matched: number;
  readonly applied: number;
  readonly refused: readonly unknown[];
  readonly next_cursor: string | null;
}

export function bulkFilter(filters: Filters): Record<string, unknown> {
  const { to_agent, intent_type, session, code, created_from } = requestOf(filters, Date.now());
  const metadata = metadataOf(filters.metadata);
  return {
    ...(filters.status.length === 0 ? {} : { status: filters.status }),
    ...(to_agent === undefined ? {} : { to_agent }),
    ...(intent_type === undefined ? {} : { intent_type }),
    ...(session === undefined ? {} : { session }),
    ...(code === undefined ? {} : { code }),
    ...(created_from === undefined ? {} : { created_from }),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}

async function countMatching(
  action: Verb,
  filter: unknown,
  onCount: (n: number, more: boolean) => void,
  stopped: () => boolean,
) {
  let cursor: string | undefined;
  let total = 0;
  do {
    const body = { action, filter, dry_run: true, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) };
    const answer: BulkAnswer = await post<BulkAnswer>("/v1/intents/bulk", body);
    total += answer.matched;
    cursor = answer.next_cursor ?? undefined;
    if (stopped()) return;
    onCount(total, cursor !== undefined);
  } while (cursor !== undefined && total < COUNTED_MAX);
}

export function BulkDialog(props: { action: Verb; filter: Record<string, unknown>; onClose: () => void }) {
  const { action, filter, onClose } = props;
  const [found, setFound] = useState<{ n: number; more: boolean } | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [applied, setApplied] = useState<number | null>(null);
  useEffect(() => {
    let stopped = false;
    countMatching(
      action,
      filter,
      (n, more) => setFound({ n, more }),
      () => stopped,
    ).catch((problem: Error) => setError(problem.message));
    return () => {
      stopped = true;
    };
  }, []);

  const run = async () => {
    let cursor: string | undefined;
    let [done, refused] = [0, 0];
    try {
      do {
        const body = {
          action,
          filter,
          limit: PAGE,
          reason: "dashboard",
          ...(cursor === undefined ? {} : { cursor }),
        };
        const answer: BulkAnswer = await post<BulkAnswer>("/v1/intents/bulk", body);
        done += answer.applied;
        refused += answer.refused.length;
        setApplied(done);
        cursor = answer.next_cursor ?? undefined;
      } while (cursor !== undefined);
      toast(`${words(action)}: ${plural(done, "intent")}${refused > 0 ? `, ${count(refused)} refused` : ""}`);
    } catch (problem) {
      toast(`${(problem as Error).message} (${plural(done, "intent")} done)`, "bad");
    }
    onClose();
  };

  const number = found === null ? "…" : `${count(found.n)}${found.more ? "+" : ""}`;
  const conditions = Object.entries(filter).map(([name, one]) => `${name} = ${JSON.stringify(one)}`);
  return (
    <Dialog title={`${words(action)} many intents`} onClose={onClose}>
      <p class="big" aria-live="polite">
        {error ??
          (found === null ? "Counting…" : `${number} ${found.n === 1 ? "intent matches" : "intents match"}`)}
      </p>
      <p class="faint">
        {conditions.length === 0 ? "No filter: every intent that this applies to." : conditions.join(", ")}
      </p>
      <p class="faint">It is done to those that match when it runs.</p>
      <div class="actions end">
        <button type="button" onClick={onClose}>
          Back
        </button>
        <button
          type="button"
          class={action === "cancel" ? "danger" : "primary"}
          disabled={found === null || found.n === 0 || applied !== null}
          onClick={() => void run()}
        >
          {applied === null ? `${words(action)} ${number}` : `${count(applied)} done…`}
        </button>
      </div>
    </Dialog>
  );
}

export function BulkBar({ filters }: { filters: Filters }) {
  const [action, setAction] = useState<Verb | null>(null);
  const searching = filters.text !== "";
  return (
    <div class="actions" role="group" aria-label="For all that match">
      <span class="faint">All that match:</span>
      {VERBS.map((verb) => (
        <button
          type="button"
          key={verb}
          class="small"
          disabled={searching}
          title={
            searching
              ? "Not while searching for a text: use the other filters"
              : `${words(verb)} all that match`
          }
          onClick={() => setAction(verb)}
        >
          {words(verb)}…
        </button>
      ))}
      {action !== null && (
        <BulkDialog action={action} filter={bulkFilter(filters)} onClose={() => setAction(null)} />
      )}
    </div>
  );
}
