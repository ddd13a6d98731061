// Verbs for many intents: for all that match the filter, or for those that are picked. Counted first, done after a confirmation, page
// by page.

import { useEffect, useState } from "preact/hooks";
import { post } from "../api.ts";
import { count, plural, words } from "../format.ts";
import { type Filters, metadataOf, requestOf } from "../intent-list.ts";
import { Dialog } from "../parts/dialog.tsx";
import { toast } from "../parts/toasts.tsx";

type Verb = "cancel" | "pause" | "unpause" | "retry";
type Filter = Readonly<Record<string, unknown>>;
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

export function bulkFilter(filters: Filters): Filter {
  const { to_agent, intent_type, session, code, created_from, created_to } = requestOf(filters, Date.now());
  const metadata = metadataOf(filters.metadata);
  return {
    ...(filters.status.length === 0 ? {} : { status: filters.status }),
    ...(to_agent === undefined ? {} : { to_agent }),
    ...(intent_type === undefined ? {} : { intent_type }),
    ...(session === undefined ? {} : { session }),
    ...(code === undefined ? {} : { code }),
    ...(created_from === undefined ? {} : { created_from }),
    ...(created_to === undefined ? {} : { created_to }),
    ...(filters.paused ? { paused: true } : {}),
    ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
  };
}

/** Asks page by page, filter by filter, until it is told to stop. */
async function eachPage(
  filters: readonly Filter[],
  body: object,
  onPage: (answer: BulkAnswer) => boolean,
): Promise<void> {
  for (const filter of filters) {
    let cursor: string | undefined;
    do {
      const page = { ...body, filter, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) };
      const answer: BulkAnswer = await post<BulkAnswer>("/v1/intents/bulk", page);
      if (!onPage(answer)) return;
      cursor = answer.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }
}

interface BulkProps {
  readonly action: Verb;
  /** One after the other. */
  readonly filters: readonly Filter[];
  /** What they are, in words. */
  readonly what: string;
  readonly onClose: () => void;
  readonly onDone?: () => void;
}

export function BulkDialog({ action, filters, what, onClose, onDone }: BulkProps) {
  const [found, setFound] = useState<{ n: number; more: boolean } | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [applied, setApplied] = useState<number | null>(null);
  useEffect(() => {
    let stopped = false;
    let total = 0;
    eachPage(filters, { action, dry_run: true }, ({ matched, next_cursor }) => {
      total += matched;
      if (!stopped) setFound({ n: total, more: next_cursor !== null });
      return !stopped && total < COUNTED_MAX;
    }).catch((problem: Error) => setError(problem.message));
    return () => {
      stopped = true;
    };
  }, []);

  const run = async () => {
    let [done, refused] = [0, 0];
    setApplied(0);
    try {
      await eachPage(filters, { action, reason: "dashboard" }, (answer) => {
        done += answer.applied;
        refused += answer.refused.length;
        setApplied(done);
        return true;
      });
      toast(`${words(action)}: ${plural(done, "intent")}${refused > 0 ? `, ${count(refused)} refused` : ""}`);
      onDone?.();
    } catch (problem) {
      toast(`${(problem as Error).message} (${plural(done, "intent")} done)`, "bad");
    }
    onClose();
  };

  const number = found === null ? "…" : `${count(found.n)}${found.more ? "+" : ""}`;
  return (
    <Dialog title={`${words(action)} many intents`} onClose={onClose}>
      <p class="big" aria-live="polite">
        {error ??
          (found === null ? "Counting…" : `${number} ${found.n === 1 ? "intent matches" : "intents match"}`)}
      </p>
      <p class="faint">{what}</p>
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

/** The filter as it is sent. */
export function conditionsOf(filter: Filter): string {
  const conditions = Object.entries(filter).map(([name, one]) => `${name} = ${JSON.stringify(one)}`);
  return conditions.length === 0 ? "No filter: every intent that this applies to." : conditions.join(", ");
}

function VerbButtons(props: {
  titleOf: (verb: string) => string;
  disabled?: boolean;
  onVerb: (verb: Verb) => void;
}) {
  const { titleOf, disabled = false, onVerb } = props;
  return (
    <>
      {VERBS.map((verb) => (
        <button
          type="button"
          key={verb}
          class="small"
          disabled={disabled}
          title={titleOf(words(verb))}
          onClick={() => onVerb(verb)}
        >
          {words(verb)}…
        </button>
      ))}
    </>
  );
}

export function BulkBar({ filters }: { filters: Filters }) {
  const [action, setAction] = useState<Verb | null>(null);
  const searching = filters.text !== "";
  const filter = bulkFilter(filters);
  return (
    <div class="actions" role="group" aria-label="For all that match">
      <span class="faint">All that match:</span>
      <VerbButtons
        disabled={searching}
        titleOf={(verb) =>
          searching ? "Not while searching for a text: select rows" : `${verb} all that match`
        }
        onVerb={setAction}
      />
      {action !== null && (
        <BulkDialog
          action={action}
          filters={[filter]}
          what={conditionsOf(filter)}
          onClose={() => setAction(null)}
        />
      )}
    </div>
  );
}

/** So many ids go into one request. */
const IDS_AT_ONCE = 500;

function ofIds(ids: readonly string[]): readonly Filter[] {
  const starts = Array.from({ length: Math.ceil(ids.length / IDS_AT_ONCE) }, (_, n) => n * IDS_AT_ONCE);
  return starts.map((from) => ({ intent_ids: ids.slice(from, from + IDS_AT_ONCE) }));
}

export function SelectionBar({ ids, onClear }: { ids: readonly string[]; onClear: () => void }) {
  // Those that are picked now: the list goes on changing behind the question.
  const [asked, setAsked] = useState<{ action: Verb; ids: readonly string[] } | null>(null);
  return (
    <div class="actions picked" role="group" aria-label="For the selected">
      <strong class="num" role="status">
        {count(ids.length)} selected:
      </strong>
      <VerbButtons
        titleOf={(verb) => `${verb} the selected`}
        onVerb={(action) => setAsked({ action, ids })}
      />
      <button type="button" class="small quiet" onClick={onClear} title="Select none ( Esc )">
        Clear
      </button>
      {asked !== null && (
        <BulkDialog
          action={asked.action}
          filters={ofIds(asked.ids)}
          what={`Of ${plural(asked.ids.length, "selected intent")}; the others are in a state that this does not apply to.`}
          onClose={() => setAsked(null)}
          onDone={onClear}
        />
      )}
    </div>
  );
}
