// JSON and other long texts, as text. Never HTML: whatever an agent wrote is only ever a text node. What is large is cut until it is
// asked for, and then laid out piece by piece as it comes into sight.

import { useMemo, useState } from "preact/hooks";
import { bytes, pretty } from "../format.ts";
import { CopyButton } from "./basics.tsx";

const SHOWN = 20_000;
const PIECE = 4_000;

/** Where a text may be cut without cutting a character in two. */
const cutAt = (text: string, place: number): number =>
  /[\uD800-\uDBFF]/.test(text.charAt(place - 1)) ? place - 1 : place;

/** Pieces of whole lines, where lines are that short. */
function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  for (let from = 0; from < text.length; ) {
    const line = text.lastIndexOf("\n", from + PIECE);
    const to = text.length - from <= PIECE ? text.length : line > from ? line + 1 : cutAt(text, from + PIECE);
    pieces.push(text.slice(from, to));
    from = to;
  }
  return pieces;
}

export function LongText({ text, label }: { text: string; label: string }) {
  const [whole, setWhole] = useState(false);
  const isLong = text.length > SHOWN;
  return (
    <div class="json">
      <div class="json-head">
        <span class="label">{label}</span>
        <span class="faint">{bytes(text.length)}</span>
        <span class="spring" />
        {isLong && !whole && (
          <button type="button" class="small" onClick={() => setWhole(true)}>
            Show all
          </button>
        )}
        <CopyButton text={text} />
      </div>
      <pre tabIndex={0} role="region" aria-label={label} dir="auto">
        {!isLong && text}
        {isLong && !whole && `${text.slice(0, cutAt(text, SHOWN))}…`}
        {isLong &&
          whole &&
          piecesOf(text).map((piece, index) => (
            <span class="piece" key={index}>
              {piece}
            </span>
          ))}
      </pre>
    </div>
  );
}

export function Json({ value, label }: { value: unknown; label: string }) {
  const text = useMemo(() => pretty(value), [value]);
  return <LongText text={text} label={label} />;
}
