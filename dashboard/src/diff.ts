// Two texts line by line: what stayed, what went, what came. Bounded: what is too large to compare is shown as replaced.

export interface Line {
  readonly kind: "same" | "gone" | "new";
  readonly text: string;
}

const LINES_MAX = 1_500;

const all = (kind: Line["kind"], lines: readonly string[]): Line[] => lines.map((text) => ({ kind, text }));

/** Lengths of the longest common subsequences of what is left on both sides. */
function lengths(a: readonly string[], b: readonly string[]): Uint16Array[] {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      (table[i] as Uint16Array)[j] =
        a[i] === b[j]
          ? (table[i + 1]?.[j + 1] ?? 0) + 1
          : Math.max(table[i + 1]?.[j] ?? 0, table[i]?.[j + 1] ?? 0);
  return table;
}

export function diffLines(before: string, after: string): Line[] {
  const [a, b] = [before.split("\n"), after.split("\n")];
  if (a.length > LINES_MAX || b.length > LINES_MAX) return [...all("gone", a), ...all("new", b)];
  const table = lengths(a, b);
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      lines.push({ kind: "same", text: a[i] as string });
      i += 1;
      j += 1;
    } else if ((table[i + 1]?.[j] ?? 0) >= (table[i]?.[j + 1] ?? 0)) {
      lines.push({ kind: "gone", text: a[i] as string });
      i += 1;
    } else {
      lines.push({ kind: "new", text: b[j] as string });
      j += 1;
    }
  }
  return [...lines, ...all("gone", a.slice(i)), ...all("new", b.slice(j))];
}
