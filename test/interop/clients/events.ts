// Frames as the stand-ins read them: by literal prefixes, a space after each colon, one line of data.

export interface SseEvent {
  readonly id: number | undefined;
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the frame carried
  readonly data: any;
}

/** Whole frames only. Throws at a line that such a reader would not know. */
export function parseEvents(text: string): SseEvent[] {
  return text
    .split("\n\n")
    .map((block) => block.split("\n").filter((line) => line !== "" && line !== ":"))
    .filter((lines) => lines.length > 0)
    .map(parseEvent);
}

function parseEvent(lines: readonly string[]): SseEvent {
  const found = new Map<string, string>();
  for (const line of lines) {
    const [, field, value] = /^(id|event|data): (.*)$/.exec(line) ?? [];
    if (field === undefined || value === undefined || found.has(field))
      throw new Error(`not a line of a frame: ${line.slice(0, 80)}`);
    found.set(field, value);
  }
  const id = found.get("id");
  const data = found.get("data");
  if (data === undefined) throw new Error(`a frame without data: ${lines.join(" | ")}`);
  return {
    id: id === undefined ? undefined : Number(id),
    name: found.get("event") ?? "message",
    data: JSON.parse(data),
  };
}
