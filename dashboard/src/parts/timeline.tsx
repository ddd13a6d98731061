// The story of an intent as a Gantt chart. The same story is told in words by the bars' labels and by the list of events.

import { useMemo, useState } from "preact/hooks";
import { dateTime, duration } from "../format.ts";
import { type Bar, type Lane, type Scale, scaleOf, ticksOf, timelineOf } from "../timeline-model.ts";
import type { IntentEvent } from "../wire.ts";

const LANES_SHOWN = 40;
const TICKS = 8;
const LEGEND: readonly (readonly [string, string])[] = [
  ["queued", "In the queue"],
  ["attempt", "Held by an agent"],
  ["running", "Step runs"],
  ["done", "Done"],
  ["waiting", "Waits"],
  ["lost", "Lost: crash"],
  ["interrupted", "Interrupted step"],
  ["failed", "Failed"],
];

const percent = (share: number) => `${(share * 100).toFixed(3)}%`;

function BarView({ bar, scale }: { bar: Bar; scale: Scale }) {
  const [left, right] = [scale.at(bar.from), scale.at(bar.to)];
  const label = `${bar.label}, ${duration(bar.to - bar.from)}${bar.open ? " so far" : ""}`;
  return (
    <span
      class={`tl-bar kind-${bar.kind}${bar.open ? " open" : ""}`}
      style={{ left: percent(left), width: `max(3px, ${percent(right - left)})` }}
      title={label}
    >
      <span class="sr">{label}</span>
    </span>
  );
}

function LaneView({ lane, scale }: { lane: Lane; scale: Scale }) {
  return (
    <li class="tl-lane">
      <span class="tl-name" title={lane.name}>
        <bdi>{lane.name}</bdi>
      </span>
      <span class="tl-track">
        {lane.bars.map((bar) => (
          <BarView key={`${bar.from} ${bar.kind}`} bar={bar} scale={scale} />
        ))}
      </span>
    </li>
  );
}

export function TimelineView({
  events,
  now,
  ended,
}: {
  events: readonly IntentEvent[];
  now: number;
  ended: boolean;
}) {
  const [cutIdle, setCutIdle] = useState(true);
  const [all, setAll] = useState(false);
  const timeline = useMemo(() => timelineOf(events, now, ended), [events, now, ended]);
  const scale = useMemo(() => scaleOf(timeline, cutIdle), [timeline, cutIdle]);
  const hasIdle = useMemo(() => scaleOf(timeline, true).breaks.length > 0, [timeline]);
  const lanes = all ? timeline.steps : timeline.steps.slice(0, LANES_SHOWN);
  const kinds = new Set(
    [timeline.attempts, ...lanes].flatMap((lane) => lane.bars.map(({ kind }) => kind as string)),
  );
  return (
    <section class="timeline" aria-label="Timeline">
      <div class="tl-tools">
        <ul class="legend" aria-hidden="true">
          {LEGEND.filter(([kind]) => kinds.has(kind)).map(([kind, name]) => (
            <li key={kind}>
              <span class={`swatch kind-${kind}`} />
              {name}
            </li>
          ))}
        </ul>
        <span class="spring" />
        {hasIdle && (
          <label class="check">
            <input
              type="checkbox"
              checked={cutIdle}
              onChange={(event) => setCutIdle(event.currentTarget.checked)}
            />
            Cut idle time
          </label>
        )}
      </div>
      <div class="tl-body">
        <div class="tl-over" aria-hidden="true">
          {scale.breaks.map((one) => (
            <span
              class="tl-break"
              key={one.from}
              style={{
                left: percent(scale.at(one.from)),
                width: percent(scale.at(one.to) - scale.at(one.from)),
              }}
              title={`${duration(one.to - one.from)} without any attempt`}
            />
          ))}
          {timeline.marks.map((mark) => (
            <span
              class={`tl-mark mark-${mark.kind}`}
              key={`${mark.at} ${mark.label}`}
              style={{ left: percent(scale.at(mark.at)) }}
              title={`${mark.label}, ${dateTime(mark.at)}`}
            />
          ))}
        </div>
        <ul class="tl-lanes">
          <LaneView lane={timeline.attempts} scale={scale} />
          {lanes.map((lane) => (
            <LaneView key={lane.key} lane={lane} scale={scale} />
          ))}
        </ul>
        <div class="tl-axis" aria-hidden="true">
          {ticksOf(timeline, TICKS)
            .map((at) => ({ at, left: scale.at(at) }))
            .filter(({ left }, index, list) => index === 0 || left - (list[index - 1]?.left ?? 0) > 0.04)
            .filter(({ left }) => left < 0.96)
            .map(({ at, left }) => (
              <span key={at} style={{ left: percent(left) }}>
                {at === timeline.from ? "0" : `+${duration(at - timeline.from)}`}
              </span>
            ))}
        </div>
      </div>
      {timeline.steps.length > LANES_SHOWN && (
        <button type="button" class="small" onClick={() => setAll(!all)}>
          {all ? "Show fewer" : `Show all ${timeline.steps.length} steps`}
        </button>
      )}
    </section>
  );
}
