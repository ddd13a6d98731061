// Owns how results are shown to people: a table for each workload, and the last lines for programs.

import type { Results } from "./results.ts";
import type { Workload } from "./workload.ts";

/** Three digits that mean something, and no exponent. */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size >= 0.01 || size === 0 ? value.toFixed(2) : value.toPrecision(2);
}

/** What was measured on, one line for each thing. */
export function heading(run: Readonly<Record<string, unknown>>): string {
  const words = (value: unknown) =>
    typeof value === "object" && value !== null
      ? Object.entries(value)
          .map(([name, one]) => `${name} ${one}`)
          .join(", ")
      : String(value);
  return Object.entries(run)
    .map(([name, value]) => `${name}: ${words(value)}`)
    .join("\n");
}

function align(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
  return rows.map((row) => `  ${line(row).join("  ").trimEnd()}`).join("\n");
}

/** Sides below each other, each with the medians of its rounds. */
export function table({ name, about }: Workload, results: Results): string {
  const columns = [...new Set(results.sides.flatMap((side) => Object.keys(results.medians(side))))];
  const rows = results.sides.map((side) => {
    const medians = results.medians(side);
    const cells = columns.map((column) => formatFigure(medians[column] ?? Number.NaN));
    return [side, String(results.rounds(side).filter(Boolean).length), ...cells];
  });
  return `\n${name}: ${about}\n${align([["", "rounds", ...columns], ...rows])}`;
}

/** `name=value` for programs to read; what could not be measured says so. */
export function headline(name: string, value: number | undefined): string {
  return `${name}=${value === undefined || !Number.isFinite(value) ? "missing" : Number(value.toPrecision(4))}`;
}
