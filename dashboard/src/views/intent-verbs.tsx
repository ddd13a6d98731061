// What an operator can do with one intent.

import { useState } from "preact/hooks";
import { part, post } from "../api.ts";
import { shortId } from "../format.ts";
import { Confirm } from "../parts/dialog.tsx";
import { attempt } from "../parts/toasts.tsx";
import { hasEnded, type Intent } from "../wire.ts";

export const pathOf = (id: string): string => `/v1/intents/${part(id)}`;

export interface Restoring {
  /** A checkpoint's name, or a seq; 0 is the beginning. */
  readonly to: string | number;
}

export function RestoreDialog(props: {
  intent: Intent;
  to: Restoring["to"];
  onClose: () => void;
  onDone: () => void;
}) {
  const { intent, to, onClose, onDone } = props;
  const where =
    to === 0 ? "the beginning" : typeof to === "number" ? `entry ${to} of its log` : `checkpoint ${to}`;
  const restore = async () => {
    await attempt(`Restored to ${where}`, () => post(`${pathOf(intent.intent_id)}/restore`, { to }));
    onDone();
  };
  return (
    <Confirm
      title={`Restore ${shortId(intent.intent_id)}`}
      action="Restore"
      danger
      onConfirm={restore}
      onClose={onClose}
    >
      <p>
        It goes back to <strong>{where}</strong>. Steps done since then run again; its state is written back
        as new versions. Whoever holds it now loses it. The log keeps everything, so that this can be undone
        by another restore.
      </p>
    </Confirm>
  );
}

export function Verbs({ intent, onDone }: { intent: Intent; onDone: () => void }) {
  const [asking, setAsking] = useState<"cancel" | "restart" | null>(null);
  const ended = hasEnded(intent.status);
  const act = async (verb: string, done: string) => {
    await attempt(done, () => post(`${pathOf(intent.intent_id)}/${verb}`));
    onDone();
  };
  return (
    <div class="actions" role="group" aria-label="Actions">
      {!ended && (
        <button
          type="button"
          onClick={() => void (intent.paused ? act("unpause", "Unpaused") : act("pause", "Paused"))}
        >
          {intent.paused ? "Unpause" : "Pause"}
        </button>
      )}
      {ended && intent.status !== "COMPLETED" && (
        <button
          type="button"
          class="primary"
          onClick={() => void act("retry", "Submitted again; done steps are kept")}
        >
          Retry
        </button>
      )}
      <button type="button" onClick={() => setAsking("restart")}>
        Start over…
      </button>
      {!ended && (
        <button type="button" class="danger" onClick={() => setAsking("cancel")}>
          Cancel…
        </button>
      )}
      {asking === "restart" && (
        <RestoreDialog intent={intent} to={0} onClose={() => setAsking(null)} onDone={onDone} />
      )}
      {asking === "cancel" && (
        <Confirm
          title={`Cancel ${shortId(intent.intent_id)}`}
          action="Cancel the intent"
          danger
          onConfirm={() => act("cancel", "Canceled")}
          onClose={() => setAsking(null)}
        >
          <p>
            Its agent is told to stop, and its children are canceled with it. A canceled intent can be
            retried.
          </p>
        </Confirm>
      )}
    </div>
  );
}
