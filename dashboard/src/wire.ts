// The shapes that the API answers with, as far as the page shows them.

export const STATUSES = [
  "CREATED",
  "SUBMITTED",
  "DELIVERED",
  "ACKNOWLEDGED",
  "IN_PROGRESS",
  "WAITING",
  "COMPLETED",
  "FAILED",
  "CANCELED",
  "TIMED_OUT",
] as const;
export type Status = (typeof STATUSES)[number];

const ENDED: readonly Status[] = ["COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"];
export const hasEnded = (status: Status): boolean => ENDED.includes(status);

export interface Progress {
  readonly done: number;
  readonly total?: number;
  readonly current?: string;
}

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly retryable?: boolean;
  readonly details?: unknown;
}

/** What the feed and the list both say of an intent. */
export interface IntentRow {
  readonly intent_id: string;
  readonly intent_type: string;
  readonly address: string;
  readonly seq: number;
  readonly status: Status;
  readonly lifecycle_waiting_reason: string | null;
  readonly paused: boolean;
  readonly attempt: number;
  readonly lost_deliveries: number;
  readonly max_delivery_attempts: number;
  readonly priority: number;
  readonly deadline_at: string | null;
  readonly parent_intent_id: string | null;
  readonly created_at: string;
  readonly updated_at: string;
  readonly progress: Progress;
  readonly error?: Failure | null;
}

export interface Intent extends IntentRow {
  readonly from_agent: string;
  readonly to_agent: string;
  readonly payload?: unknown;
  readonly result: unknown;
  readonly error: Failure | null;
  readonly correlation_id: string | null;
  readonly deliver_at?: string;
  readonly session: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly paused_by?: readonly string[];
  readonly in_doubt?: readonly string[];
  readonly reply_to: string | null;
  readonly plan_by: string | null;
}

export interface IntentEvent {
  readonly intent_id: string;
  readonly seq: number;
  readonly event_type: string;
  readonly status: Status;
  readonly at: string;
  readonly waiting_reason: string | null;
  readonly actor: string;
  readonly attempt: number | null;
  readonly details: Readonly<Record<string, unknown>> | null;
}

export interface FeedFrame extends IntentEvent {
  /** How many events it stands for. */
  readonly events: number;
  readonly intent: Omit<IntentRow, "intent_id">;
}

export interface Step {
  readonly key: string;
  readonly title?: string;
  readonly status: "planned" | "running" | "done" | "failed" | "interrupted" | "waiting" | "superseded";
  readonly result?: unknown;
  readonly error?: unknown;
  readonly idempotency_key: string;
  readonly wait?: unknown;
  readonly tries: number;
  readonly interrupted: boolean;
  readonly on_interrupt?: string;
  readonly started_at?: string;
  readonly finished_at?: string;
  readonly duration_ms?: number;
}

export interface Explanation {
  readonly summary: string;
  readonly holder?: {
    readonly consumer: string;
    readonly attempt: number;
    readonly since: string | null;
    readonly lease_until: string | null;
  };
  readonly attempts: readonly {
    readonly attempt: number;
    readonly consumer: string;
    readonly delivered_at: string;
    readonly ended_at?: string;
    readonly end?: string;
  }[];
  readonly next?: { readonly what: string; readonly at?: string };
  readonly in_doubt: readonly string[];
}

export interface Agent {
  readonly address: string;
  readonly display_name: string | null;
  readonly paused: boolean;
  readonly listeners: number;
  readonly queued: number;
  readonly held: number;
  readonly last_seen_at: string | null;
}

export interface Consumer {
  readonly consumer_id: string;
  readonly address: string;
  readonly consumer: string;
  readonly mode: string;
  readonly capacity: number;
  readonly online: boolean;
  readonly connected: boolean;
  readonly held: number;
  readonly holding: readonly { readonly intent_id: string; readonly attempt: number }[];
  readonly lease_until: string | null;
  readonly seen_at: string;
}

export interface Task {
  readonly intent_id: string;
  readonly step: string;
  readonly intent_type: string;
  readonly from_agent: string;
  readonly assigned_at: string;
  readonly due_at: string | null;
  readonly human_task: {
    readonly title?: string;
    readonly description?: string;
    readonly task_type?: string;
    readonly allowed_outcomes?: readonly string[];
    readonly required_comment?: boolean;
    readonly assignees?: readonly string[];
    readonly form_schema?: unknown;
  };
}

export interface Bucket {
  readonly at: string;
  readonly created: number;
  readonly completed: number;
  readonly failed: number;
  readonly canceled: number;
  readonly timed_out: number;
  readonly redeliveries: number;
  readonly lost: number;
  readonly queued_p50_ms: number | null;
  readonly queued_p95_ms: number | null;
  readonly p50_ms: number | null;
  readonly p95_ms: number | null;
  readonly p99_ms: number | null;
}

export interface Overview {
  readonly at: string;
  readonly window_seconds: number;
  readonly bucket_seconds: number;
  readonly buckets: readonly Bucket[];
  readonly latency: {
    readonly p50_ms: number | null;
    readonly p95_ms: number | null;
    readonly p99_ms: number | null;
  };
  readonly failures: readonly {
    readonly code: string;
    readonly count: number;
    readonly counts: readonly number[];
  }[];
  readonly queues: readonly {
    readonly address: string;
    readonly waiting: number;
    readonly oldest_seconds: number;
    readonly listeners: number;
  }[];
  readonly capped: boolean;
}

export interface Counts {
  readonly counts: Readonly<Partial<Record<Status, number>>>;
  readonly paused: number;
  readonly total: number;
  readonly capped: boolean;
}
