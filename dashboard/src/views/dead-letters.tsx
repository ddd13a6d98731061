// Intents whose agents were lost too often: the cause, and the way back into the queue.

import { useState } from "preact/hooks";
import { get, keyChanges, part, post, query } from "../api.ts";
import { dateTime } from "../format.ts";
import { useFeed, useResource } from "../hooks.ts";
import { Address, Empty, Failure, IntentLink, Loading, PageHead, ProgressBar } from "../parts/basics.tsx";
import { attempt } from "../parts/toasts.tsx";
import { href } from "../route.ts";
import { useValue } from "../store.ts";
import type { Explanation, IntentRow } from "../wire.ts";
import { BulkDialog, conditionsOf } from "./bulk.tsx";

const FILTER = { status: ["FAILED"], code: "delivery_attempts_exhausted" };
const PAGE = 50;
const REREAD_MS = 2_000;

function Cause({ id }: { id: string }) {
  const story = useResource<Explanation>(`cause ${id}`, (signal) =>
    get(`/v1/intents/${part(id)}/explain`, signal),
  );
  if (story.error !== undefined) return <p class="faint">{story.error.message}</p>;
  if (story.data === undefined) return <p class="faint">…</p>;
  const lost = story.data.attempts.filter(({ end }) => end?.startsWith("lost") === true);
  return (
    <ol class="causes">
      {lost.slice(-5).map((one) => (
        <li key={one.attempt}>
          Attempt {one.attempt} on <bdi>{one.consumer}</bdi>: <bdi>{one.end}</bdi>
          {one.ended_at !== undefined && <span class="faint"> {dateTime(one.ended_at)}</span>}
        </li>
      ))}
      {story.data.in_doubt.length > 0 && <li>In doubt: {story.data.in_doubt.join(", ")}</li>}
    </ol>
  );
}

export function DeadLetters() {
  const [all, setAll] = useState(false);
  const letters = useResource<{ intents: readonly IntentRow[]; next_cursor: string | null }>(
    `dead ${useValue(keyChanges)}`,
    (signal) => get(`/v1/intents${query({ status: "FAILED", code: FILTER.code, limit: PAGE })}`, signal),
    REREAD_MS,
  );
  useFeed((frames) => {
    if (frames.some(({ intent }) => intent.status === "FAILED" || intent.status === "SUBMITTED"))
      letters.refresh();
  }, letters.refresh);
  const redrive = async (id: string) => {
    await attempt("Back in the queue; done steps are kept", () => post(`/v1/intents/${part(id)}/retry`));
    letters.refresh();
  };
  const rows = letters.data?.intents ?? [];
  return (
    <div class="page">
      <PageHead title="Dead letters">
        {rows.length > 0 && (
          <div class="actions">
            <button type="button" class="primary" onClick={() => setAll(true)}>
              Redrive all…
            </button>
          </div>
        )}
      </PageHead>
      {letters.error !== undefined && <Failure error={letters.error} retry={letters.refresh} />}
      {letters.data === undefined && letters.error === undefined && <Loading />}
      {letters.data !== undefined && rows.length === 0 && (
        <Empty title="No dead letters">
          An intent ends here when its agents are lost again and again without a step done between.
        </Empty>
      )}
      <ul class="plain">
        {rows.map((row) => (
          <li class="card" key={row.intent_id}>
            <div class="card-head">
              <a href={href(["intents", row.intent_id])}>
                <strong>
                  <bdi>{row.intent_type}</bdi>
                </strong>
              </a>
              <IntentLink id={row.intent_id} />
              <Address address={row.address} />
              <ProgressBar progress={row.progress} />
              <span class="spring" />
              <span class="faint">{dateTime(row.updated_at)}</span>
              <button type="button" onClick={() => void redrive(row.intent_id)}>
                Redrive
              </button>
            </div>
            <p>
              <bdi>{row.error?.message}</bdi>
            </p>
            <Cause id={row.intent_id} />
          </li>
        ))}
      </ul>
      {letters.data?.next_cursor != null && (
        <p class="faint">
          These are the newest {PAGE}.{" "}
          <a href={href(["intents"], { status: "FAILED", code: FILTER.code })}>All of them</a>
        </p>
      )}
      {all && (
        <BulkDialog
          action="retry"
          filters={[FILTER]}
          what={conditionsOf(FILTER)}
          onClose={() => {
            setAll(false);
            letters.refresh();
          }}
        />
      )}
    </div>
  );
}
