// Small charts over time, drawn as SVG; each says in words what it shows, for those who do not see it.

import { count, day, shortClock } from "../format.ts";

export interface Series {
  readonly name: string;
  readonly tone: string;
  readonly values: readonly (number | null)[];
}

interface ChartProps {
  readonly title: string;
  readonly times: readonly string[];
  readonly series: readonly Series[];
  readonly kind: "bars" | "lines";
  readonly format?: (n: number) => string;
}

const WIDTH = 600;
const HEIGHT = 150;
const DAY_MS = 86_400_000;

/** A round number; of things that are counted, one whose half is a whole number, too. */
function niceMax(n: number, counted: boolean): number {
  if (n <= 0) return counted ? 2 : 1;
  const power = 10 ** Math.floor(Math.log10(n));
  const steps = counted && power === 1 ? [2, 4, 6, 10] : [1, 2, 2.5, 5, 10];
  return (steps.find((step) => step * power >= n) ?? 10) * power;
}

const totals = (series: readonly Series[], length: number): number[] =>
  Array.from({ length }, (_, index) => series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0));

/** What the two kinds draw, within a box whose top is `max`. */
interface PlotProps {
  readonly series: readonly Series[];
  readonly times: readonly string[];
  readonly max: number;
  readonly format: (n: number) => string;
}

const stepOf = (length: number): number => WIDTH / Math.max(1, length);

function Bars({ series, times, max, format }: PlotProps) {
  const step = stepOf(times.length);
  return (
    <>
      {times.map((time, index) => {
        let below = 0;
        const parts = series.map(({ name, tone, values }) => {
          const height = ((values[index] ?? 0) / max) * HEIGHT;
          below += height;
          return { name, tone, height, y: HEIGHT - below, n: values[index] ?? 0 };
        });
        return (
          <g key={time}>
            <title>{`${shortClock(time)}: ${parts.map(({ name, n }) => `${name} ${format(n)}`).join(", ")}`}</title>
            <rect x={index * step} y={0} width={step} height={HEIGHT} class="chart-hit" />
            {parts
              .filter(({ height }) => height > 0)
              .map(({ name, tone, y, height }) => (
                <rect
                  key={name}
                  class={`chart-${tone}`}
                  x={index * step + step * 0.12}
                  width={step * 0.76}
                  y={y}
                  height={Math.max(1, height)}
                />
              ))}
          </g>
        );
      })}
    </>
  );
}

function pathOf(values: readonly (number | null)[], max: number): string {
  const step = stepOf(values.length);
  let pen = "M";
  return values
    .map((one, index) => {
      if (one === null) {
        pen = "M";
        return "";
      }
      const point = `${pen}${((index + 0.5) * step).toFixed(1)} ${(HEIGHT - (one / max) * HEIGHT).toFixed(1)}`;
      pen = "L";
      return point;
    })
    .join("");
}

function Lines({ series, times, max, format }: PlotProps) {
  const step = stepOf(times.length);
  return (
    <>
      {series.map(({ name, tone, values }) => (
        <g key={name} class={`chart-${tone}`}>
          <path class="chart-line" d={pathOf(values, max)} />
          {values.map((one, index) =>
            one === null ? null : (
              <path
                key={times[index]}
                class="chart-dot"
                d={`M${((index + 0.5) * step).toFixed(1)} ${(HEIGHT - (one / max) * HEIGHT).toFixed(1)}h0`}
              />
            ),
          )}
        </g>
      ))}
      {times.map((time, index) => (
        <rect key={time} x={index * step} y={0} width={step} height={HEIGHT} class="chart-hit">
          <title>
            {`${shortClock(time)}: ${series
              .map(
                ({ name, values }) => `${name} ${values[index] == null ? "–" : format(values[index] ?? 0)}`,
              )
              .join(", ")}`}
          </title>
        </rect>
      ))}
    </>
  );
}

export function Chart({ title, times, series, kind, format = count }: ChartProps) {
  const tallest =
    kind === "bars"
      ? Math.max(0, ...totals(series, times.length))
      : Math.max(0, ...series.flatMap(({ values }) => values.map((one) => one ?? 0)));
  const Plot = kind === "bars" ? Bars : Lines;
  const max = niceMax(tallest, format === count);
  const long = times.length > 1 && Date.parse(times.at(-1) ?? "") - Date.parse(times[0] ?? "") > DAY_MS;
  const label = (time: string | undefined) => (time === undefined ? "" : long ? day(time) : shortClock(time));
  const summary = series
    .map(({ name, values }) => `${name}: at most ${format(Math.max(0, ...values.map((one) => one ?? 0)))}`)
    .join("; ");
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong>
        <ul class="legend" aria-hidden="true">
          {series.map(({ name, tone }) => (
            <li key={name}>
              <span class={`swatch chart-${tone}`} />
              {name}
            </li>
          ))}
        </ul>
      </figcaption>
      <div class="chart-plot">
        <div class="chart-y faint num" aria-hidden="true">
          <span>{format(max)}</span>
          <span>{format(max / 2)}</span>
          <span>0</span>
        </div>
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`${title}. ${summary}`}
        >
          <line class="chart-grid" x1="0" x2={WIDTH} y1="0.5" y2="0.5" />
          <line class="chart-grid" x1="0" x2={WIDTH} y1={HEIGHT / 2} y2={HEIGHT / 2} />
          <line class="chart-grid" x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
          <Plot series={series} times={times} max={max} format={format} />
        </svg>
      </div>
      <div class="chart-x faint num" aria-hidden="true">
        <span>{label(times[0])}</span>
        <span>{label(times[Math.floor(times.length / 2)])}</span>
        <span>now</span>
      </div>
    </figure>
  );
}
