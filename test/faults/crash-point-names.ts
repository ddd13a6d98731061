/** Where a server can be made to die (crash-points.ts). Apart from it, because importing that one patches the process. */
export const CRASH_POINTS = [
  "before_commit",
  "commit_sent",
  "commit_answered",
  "before_reply",
  "mid_reply",
  "after_reply",
  "before_frame",
  "mid_frame",
  "after_frame",
  "before_pulse",
  "after_pulse",
] as const;

export type CrashPoint = (typeof CRASH_POINTS)[number];
