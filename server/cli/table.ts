// Owns laying rows out in columns. Nothing is cut off: a wide terminal is easier to find than a lost character.
import { type Colour, type Io, paint, spell } from "./io.ts";

export interface Column<Row> {
  readonly title: string;
  text(row: Row): string;
  colour?(row: Row): Colour | undefined;
  /** Changes by itself, with the time. */
  readonly moves?: boolean;
}

export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  colours: boolean,
): string {
  const cells = rows.map((row) => columns.map((column) => oneLine(column.text(row))));
  const widths = columns.map((column, index) =>
    Math.max(column.title.length, ...cells.map((line) => line[index]?.length ?? 0)),
  );
  const pad = (text: string, index: number) =>
    index === columns.length - 1 ? text : text.padEnd(widths[index] ?? 0);
  const head = columns.map((column, index) => paint(colours, "dim", pad(column.title, index))).join("  ");
  const body = rows.map((row, line) =>
    columns
      .map((column, index) => {
        const text = pad(cells[line]?.[index] ?? "", index);
        const colour = column.colour?.(row);
        return colour === undefined ? text : paint(colours, colour, text);
      })
      .join("  "),
  );
  return [head, ...body].map((line) => line.trimEnd()).join("\n");
}

/** `name  value` lines, without those that have no value. */
export function formatFields(fields: readonly (readonly [string, unknown])[], io: Io): string {
  const shown = fields.filter(([, value]) => value !== undefined && value !== null && value !== "");
  const width = Math.max(...shown.map(([name]) => name.length));
  return shown
    .map(([name, value]) => `${paint(io.colour.out, "dim", name.padEnd(width))}  ${String(value)}`)
    .join("\n");
}

export function statusColour(status: string): Colour | undefined {
  switch (status) {
    case "COMPLETED":
    case "done":
      return "green";
    case "FAILED":
    case "TIMED_OUT":
    case "failed":
      return "red";
    case "CANCELED":
    case "WAITING":
    case "waiting":
    case "interrupted":
      return "yellow";
    case "IN_PROGRESS":
    case "running":
      return "cyan";
    default:
      return undefined;
  }
}

/** A line break inside a cell would break the row: it is written as \n. Control characters must not reach the terminal. */
export function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are exactly what is replaced
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, spell);
}
