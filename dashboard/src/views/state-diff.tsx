// The versions of one key, and what changed from one to another.

import { useMemo, useState } from "preact/hooks";
import { get, part } from "../api.ts";
import { diffLines } from "../diff.ts";
import { dateTime, pretty } from "../format.ts";
import { useResource } from "../hooks.ts";
import { Failure, Loading } from "../parts/basics.tsx";

interface Version {
  readonly version: number;
  readonly value?: unknown;
  readonly deleted?: boolean;
  readonly updated_at?: string;
}

const textOf = (one: Version | undefined): string =>
  one === undefined ? "" : one.deleted === true ? "(deleted)" : pretty(one.value);

const MARKS = { same: " ", gone: "−", new: "+" } as const;

export function StateDiff({
  scope,
  entryKey,
  version,
}: {
  scope: string;
  entryKey: string;
  version: number;
}) {
  const list = useResource<{ versions: readonly Version[] }>(
    `versions ${scope} ${entryKey} ${version}`,
    (signal) => get(`/v1/state/${scope}/${part(entryKey)}/versions?limit=100`, signal),
  );
  const versions = useMemo(
    () => [...(list.data?.versions ?? [])].sort((a, b) => b.version - a.version),
    [list.data],
  );
  const [newer, setNewer] = useState(0);
  const [older, setOlder] = useState(1);
  const lines = useMemo(
    () => diffLines(textOf(versions[older]), textOf(versions[newer])),
    [versions, newer, older],
  );
  if (list.error !== undefined) return <Failure error={list.error} retry={list.refresh} />;
  if (list.data === undefined) return <Loading />;
  if (versions.length < 2) return <p class="faint">There is one version only.</p>;
  const choose = (label: string, chosen: number, set: (index: number) => void) => (
    <label class="field">
      <span class="label">{label}</span>
      <select value={String(chosen)} onChange={(event) => set(Number(event.currentTarget.value))}>
        {versions.map((one, index) => (
          <option key={one.version} value={String(index)}>
            version {one.version}
            {one.updated_at === undefined ? "" : `, ${dateTime(one.updated_at)}`}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <div class="diff">
      <div class="inline">
        {choose("From", older, setOlder)}
        {choose("To", newer, setNewer)}
      </div>
      <pre tabIndex={0} role="region" aria-label="Difference">
        {lines.map((line, index) => (
          <span class={`line ${line.kind}`} key={index}>
            {`${MARKS[line.kind]} ${line.text}\n`}
          </span>
        ))}
      </pre>
    </div>
  );
}
