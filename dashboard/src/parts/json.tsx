// JSON as text. Never HTML: whatever an agent wrote is only ever a text node. What is large is cut until it is asked for.

import { useMemo, useState } from "preact/hooks";
import { bytes, pretty } from "../format.ts";
import { CopyButton } from "./basics.tsx";

const SHOWN = 20_000;

export function Json({ value, label }: { value: unknown; label: string }) {
  const text = useMemo(() => pretty(value), [value]);
  const [whole, setWhole] = useState(false);
  const cut = text.length > SHOWN && !whole;
  return (
    <div class="json">
      <div class="json-head">
        <span class="label">{label}</span>
        <span class="faint">{bytes(text.length)}</span>
        <span class="spring" />
        {cut && (
          <button type="button" class="small" onClick={() => setWhole(true)}>
            Show all
          </button>
        )}
        <CopyButton text={text} />
      </div>
      <pre tabIndex={0} role="region" aria-label={label} dir="auto">
        {cut ? `${text.slice(0, SHOWN)}…` : text}
      </pre>
    </div>
  );
}
