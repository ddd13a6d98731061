// Owns one event of an intent's log as one line for people. Must not fetch anything.
import type { Json } from "./api.ts";
import { describeDuration } from "./duration.ts";
import { type Io, paint } from "./io.ts";
import { oneLine, statusColour } from "./table.ts";
import { describeWait } from "./wait-line.ts";

/** An event as the wire has it. */
export interface WireEvent {
  readonly intent_id: string;
  readonly seq: number;
  readonly event_type: string;
  readonly status: string;
  readonly at: string;
  readonly actor?: string;
  readonly attempt?: number | null;
  readonly details?: Json;
}

/** `   7  02:03:04.567  step_done          load 2/4 in 0.4s`. */
export function formatEvent(event: WireEvent, io: Io): string {
  const name = event.event_type.replace(/^intent\./, "");
  const colour = colourOf(name);
  const shown = name.padEnd(20);
  return [
    String(event.seq).padStart(4),
    paint(io.colour.out, "dim", event.at.slice(11, 23)),
    colour === undefined ? shown : paint(io.colour.out, colour, shown),
    oneLine(describeDetails(event)),
  ]
    .join("  ")
    .trimEnd();
}

/** The same, with whose it is: enough of the id for other commands. */
export function formatFeedEvent(
  event: WireEvent,
  { intentType, toAgent }: { readonly intentType: string; readonly toAgent: string },
  io: Io,
): string {
  const whose = oneLine(`${event.intent_id.slice(-12)}  ${intentType} → ${toAgent}`);
  return `${paint(io.colour.out, "dim", whose)}  ${formatEvent(event, io).trimStart()}`;
}

function colourOf(name: string): ReturnType<typeof statusColour> {
  if (/^(step_failed|lost|stale_write_refused|delivery_failed)$/.test(name)) return "red";
  if (/^(step_done)$/.test(name)) return "green";
  return statusColour(name.toUpperCase());
}

function describeDetails({ attempt, actor, details = {} }: WireEvent): string {
  const {
    key,
    done,
    total,
    duration_ms,
    error,
    reason,
    message,
    percent,
    code,
    name,
    title,
    wait,
    to,
    checkpoint,
    output,
    result: _result,
    ...rest
  } = details ?? {};
  const parts: string[] = [];
  if (key !== undefined) parts.push(String(key));
  if (name !== undefined) parts.push(String(name));
  if (wait !== undefined) parts.push(describeWait(wait));
  if (title !== undefined) parts.push(String(title));
  if (to !== undefined) parts.push(`to ${checkpoint === undefined ? "" : `${checkpoint}, `}seq ${to}`);
  if (total !== undefined) parts.push(`${done ?? Number(rest.index ?? 0) + 1}/${total}`);
  if (duration_ms !== undefined) parts.push(`in ${describeDuration(duration_ms)}`);
  if (percent !== undefined) parts.push(`${percent}%`);
  if (message !== undefined) parts.push(String(message));
  if (output !== undefined) parts.push(JSON.stringify(output));
  if (error !== undefined && error !== null) parts.push(describeError(error));
  else if (code !== undefined) parts.push(String(code));
  if (reason !== undefined && reason !== null) parts.push(`(${reason})`);
  if (rest.escalate_to !== undefined) parts.push(`to ${rest.escalate_to}`);
  if (rest.interrupted === true) parts.push("(interrupted before)");
  if (parts.length === 0 && attempt !== undefined && attempt !== null) parts.push(`attempt ${attempt}`);
  if (key === undefined && actor !== undefined && actor !== "server") parts.push(`by ${actor}`);
  return parts.join(" ");
}

/** `code: message`, from an object or a bare text. */
export function describeError(error: Json): string {
  if (typeof error === "string") return error;
  const { code, message } = error ?? {};
  return [code, message].filter((part) => part !== undefined && part !== "").join(": ");
}
