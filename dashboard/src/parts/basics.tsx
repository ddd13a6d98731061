// Small pieces that every view uses.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { age, count, shortAddress, shortId, words } from "../format.ts";
import { href } from "../route.ts";
import type { IntentRow, Progress, Status } from "../wire.ts";
import { toast } from "./toasts.tsx";

const TONES: Readonly<Record<Status, string>> = {
  CREATED: "quiet",
  SUBMITTED: "queued",
  DELIVERED: "active",
  ACKNOWLEDGED: "active",
  IN_PROGRESS: "active",
  WAITING: "waiting",
  COMPLETED: "good",
  FAILED: "bad",
  CANCELED: "quiet",
  TIMED_OUT: "bad",
};
export const toneOf = (status: Status): string => TONES[status] ?? "quiet";

/** Colour and word: neither alone. */
export function StatusBadge({ status, paused = false }: { status: Status; paused?: boolean }) {
  return (
    <span class="badges">
      <span class={`badge tone-${toneOf(status)}`}>{words(status)}</span>
      {paused && <span class="badge tone-paused">Paused</span>}
    </span>
  );
}

export function Badge({ tone, children }: { tone: string; children: ComponentChildren }) {
  return <span class={`badge tone-${tone}`}>{children}</span>;
}

export function ProgressBar({ progress }: { progress: Progress }) {
  const { done, total } = progress;
  if (total === undefined || total === 0)
    return done === 0 ? <span class="faint">–</span> : <span class="num">{done}</span>;
  return (
    <span class="progress">
      <span class="bar" aria-hidden="true">
        <span class="fill" style={{ width: `${Math.min(100, (done / total) * 100)}%` }} />
      </span>
      <span class="num">
        {done}/{total}
      </span>
    </span>
  );
}

export function IntentLink({ id, children }: { id: string; children?: ComponentChildren }) {
  return (
    <a class="mono" href={href(["intents", id])} title={id}>
      {children ?? shortId(id)}
    </a>
  );
}

export function Address({ address }: { address: string }) {
  return (
    <span class="address" title={address}>
      {shortAddress(address)}
    </span>
  );
}

export function Age({ at, now }: { at: string; now: number }) {
  return (
    <time dateTime={at} title={at} class="num">
      {age(now - Date.parse(at))}
    </time>
  );
}

export function Attempt({
  row,
}: {
  row: Pick<IntentRow, "attempt" | "lost_deliveries" | "max_delivery_attempts">;
}) {
  if (row.attempt === 0) return <span class="faint">–</span>;
  return (
    <span class="num">
      {row.attempt}
      {row.lost_deliveries > 0 && (
        <span
          class="lost"
          title={`${count(row.lost_deliveries)} of ${count(row.max_delivery_attempts)} deliveries lost since the last progress`}
        >
          {row.lost_deliveries}/{row.max_delivery_attempts} lost
        </span>
      )}
    </span>
  );
}

export function CopyButton({ text, label = "Copy" }: { text: string | (() => string); label?: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "string" ? text : text());
      setCopied(true);
      setTimeout(() => setCopied(false), 1_500);
    } catch {
      toast("This browser does not let the page copy; select the text instead", "bad");
    }
  };
  return (
    <button type="button" class="small" onClick={() => void copy()}>
      {copied ? "Copied" : label}
    </button>
  );
}

export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  return (
    <div class="notice bad" role="alert">
      <p>{error.message}</p>
      {retry !== undefined && (
        <button type="button" class="small" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children}
    </div>
  );
}

export function Loading() {
  return (
    <p class="loading" role="status">
      Loading…
    </p>
  );
}

export function PageHead({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <header class="page-head">
      <h1>{title}</h1>
      {children}
    </header>
  );
}

export interface TabOption {
  readonly id: string;
  readonly label: string;
  readonly count?: number | undefined;
}

export function Tabs(props: {
  tabs: readonly TabOption[];
  current: string;
  onSelect: (id: string) => void;
  label: string;
}) {
  const { tabs, current, onSelect, label } = props;
  const move = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const index = tabs.findIndex(({ id }) => id === current);
    const next = tabs[(index + step + tabs.length) % tabs.length];
    if (next === undefined) return;
    onSelect(next.id);
    document.getElementById(`tab-${next.id}`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map((tab) => (
        <button
          type="button"
          key={tab.id}
          id={`tab-${tab.id}`}
          role="tab"
          aria-selected={tab.id === current}
          aria-controls={tab.id === current ? `panel-${tab.id}` : undefined}
          tabIndex={tab.id === current ? 0 : -1}
          onClick={() => onSelect(tab.id)}
        >
          {tab.label}
          {tab.count !== undefined && <span class="tab-count">{count(tab.count)}</span>}
        </button>
      ))}
    </div>
  );
}
