// Times, numbers and names as people read them.

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export function duration(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1) return "0 ms";
  if (size < SECOND) return `${Math.round(ms)} ms`;
  if (size < 10 * SECOND) return `${(ms / SECOND).toFixed(1)} s`;
  if (size < MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (size < HOUR) return parts(ms, MINUTE, "m", SECOND, "s");
  if (size < DAY) return parts(ms, HOUR, "h", MINUTE, "m");
  return parts(ms, DAY, "d", HOUR, "h");
}

function parts(ms: number, large: number, largeName: string, small: number, smallName: string): string {
  const whole = Math.floor(ms / large);
  const rest = Math.floor((ms - whole * large) / small);
  return rest === 0 ? `${whole} ${largeName}` : `${whole} ${largeName} ${rest} ${smallName}`;
}

/** One unit: for columns. */
export function age(ms: number): string {
  if (ms < SECOND) return "now";
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} m`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

const clockFormat = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const shortClockFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dateFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const dayFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const numberFormat = new Intl.NumberFormat("en-US");

export const clock = (at: string | number): string => clockFormat.format(new Date(at));
export const preciseClock = (at: string): string =>
  `${clock(at)}.${String(new Date(at).getMilliseconds()).padStart(3, "0")}`;
export const shortClock = (at: string | number): string => shortClockFormat.format(new Date(at));
export const day = (at: string | number): string => dayFormat.format(new Date(at));
export const dateTime = (at: string | number): string => dateFormat.format(new Date(at));
export const count = (n: number): string => numberFormat.format(n);
export const plural = (n: number, one: string, many = `${one}s`): string =>
  `${count(n)} ${n === 1 ? one : many}`;

/** The end of an id is what tells it apart: its beginning is the time. */
export const shortId = (id: string): string => id.slice(-8);

export const shortAddress = (address: string): string => address.replace(/^agent:\/\//, "");

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1024 / 1024).toFixed(1)} MiB`;
}

/** `IN_PROGRESS` → `In progress`. */
export function words(name: string): string {
  const text = name
    .replace(/^intent\./, "")
    .replaceAll("_", " ")
    .toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const pretty = (json: unknown): string => JSON.stringify(json, null, 2) ?? "undefined";

/** As an input for a local date and time wants it. */
export function localInput(at: string): string {
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * MINUTE).toISOString().slice(0, 16);
}
