// How the last while went: throughput, latency, what waits, what failed, what had to be delivered again.

import { get, keyChanges, query } from "../api.ts";
import { count, duration, plural } from "../format.ts";
import { useEvery, useFeed, useResource } from "../hooks.ts";
import { Address, Empty, Failure, Loading, PageHead } from "../parts/basics.tsx";
import { Chart, type Series } from "../parts/chart.tsx";
import { href, route, setParams } from "../route.ts";
import { useValue } from "../store.ts";
import type { Bucket, Counts, Overview as OverviewData } from "../wire.ts";

const WINDOWS: readonly (readonly [string, number])[] = [
  ["15 min", 900],
  ["1 h", 3_600],
  ["6 h", 21_600],
  ["24 h", 86_400],
  ["7 d", 604_800],
];
const WINDOW_SECONDS = 3_600;
const BUCKETS = 60;
const REREAD_MS = 3_000;
const LOOK_MS = 10_000;

const total = (buckets: readonly Bucket[], ...names: readonly (keyof Bucket)[]): number =>
  buckets.reduce((sum, bucket) => sum + names.reduce((all, name) => all + Number(bucket[name] ?? 0), 0), 0);

function Tile({
  label,
  value,
  note,
  bad = false,
}: {
  label: string;
  value: string;
  note?: string;
  bad?: boolean;
}) {
  return (
    <div class={`tile ${bad ? "alarm" : ""}`}>
      <span class="label">{label}</span>
      <b class="num">{value}</b>
      <span class="faint">{note}</span>
    </div>
  );
}

function Tiles({ data, counts }: { data: OverviewData; counts: Counts | undefined }) {
  const { buckets, latency, queues, window_seconds } = data;
  const ended = total(buckets, "completed", "failed", "canceled", "timed_out");
  const failed = total(buckets, "failed", "timed_out");
  const waiting = queues.reduce((sum, queue) => sum + queue.waiting, 0);
  const oldest = Math.max(0, ...queues.map(({ oldest_seconds }) => oldest_seconds));
  const unheard = queues.filter(({ listeners }) => listeners === 0).length;
  const live = ["DELIVERED", "ACKNOWLEDGED", "IN_PROGRESS"] as const;
  const running = live.reduce((sum, status) => sum + (counts?.counts[status] ?? 0), 0);
  const rate = ended / window_seconds;
  return (
    <div class="tiles">
      <Tile
        label="Ended"
        value={count(ended)}
        note={rate >= 1 ? `${rate.toFixed(1)} a second` : `${(rate * 60).toFixed(1)} a minute`}
      />
      <Tile
        label="Failed"
        value={count(failed)}
        note={ended === 0 ? "of none" : `${((failed / ended) * 100).toFixed(1)} %`}
        bad={failed > 0 && failed / ended > 0.05}
      />
      <Tile
        label="Median latency"
        value={latency.p50_ms === null ? "–" : duration(latency.p50_ms)}
        note="to completion"
      />
      <Tile
        label="99th percentile"
        value={latency.p99_ms === null ? "–" : duration(latency.p99_ms)}
        note="to completion"
      />
      <Tile
        label="In the queue"
        value={count(waiting)}
        note={waiting === 0 ? "nothing waits" : `oldest ${duration(oldest * 1000)}`}
        bad={unheard > 0}
      />
      <Tile label="At work" value={count(running)} note={`${count(counts?.counts.WAITING ?? 0)} waiting`} />
    </div>
  );
}

function Queues({ data }: { data: OverviewData }) {
  if (data.queues.length === 0) return <p class="faint">Nothing waits for an agent.</p>;
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Agent</th>
          <th scope="col">Waiting</th>
          <th scope="col">Oldest</th>
          <th scope="col">Listening</th>
        </tr>
      </thead>
      <tbody>
        {data.queues.map((queue) => (
          <tr key={queue.address} class={queue.listeners === 0 ? "alarm" : ""}>
            <td>
              <a href={href(["intents"], { agent: queue.address, status: "SUBMITTED" })}>
                <Address address={queue.address} />
              </a>
            </td>
            <td class="num">{count(queue.waiting)}</td>
            <td class="num">{duration(queue.oldest_seconds * 1000)}</td>
            <td class="num">{queue.listeners === 0 ? "nobody" : count(queue.listeners)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Failures({ data }: { data: OverviewData }) {
  if (data.failures.length === 0) return <p class="faint">Nothing failed.</p>;
  const most = data.failures[0]?.count ?? 1;
  return (
    <ul class="ranks">
      {data.failures.map(({ code, count: n }) => (
        <li key={code}>
          <a class="mono" href={href(["intents"], { code })}>
            <bdi>{code}</bdi>
          </a>
          <span class="bar" aria-hidden="true">
            <span class="fill bad" style={{ width: `${(n / most) * 100}%` }} />
          </span>
          <span class="num">{count(n)}</span>
        </li>
      ))}
    </ul>
  );
}

const FAILURE_TONES = ["bad", "warn", "waiting", "active"] as const;

/** The codes that came most often, each for itself; the others together. */
function failureSeries({ failures, buckets }: OverviewData): readonly Series[] {
  const shown = failures.slice(0, FAILURE_TONES.length);
  const others = failures.slice(FAILURE_TONES.length);
  const rest = buckets.map((_, index) => others.reduce((sum, { counts }) => sum + (counts[index] ?? 0), 0));
  return [
    ...shown.map(({ code, counts }, index) => ({
      name: code,
      tone: FAILURE_TONES[index] ?? "quiet",
      values: counts,
    })),
    ...(others.length === 0 ? [] : [{ name: "others", tone: "quiet", values: rest }]),
  ];
}

export function Overview() {
  const { params } = useValue(route);
  const key = useValue(keyChanges);
  const window =
    WINDOWS.find(([, seconds]) => String(seconds) === params.get("window"))?.[1] ?? WINDOW_SECONDS;
  const overview = useResource<OverviewData>(
    `overview ${window} ${key}`,
    (signal) => get(`/v1/overview${query({ window_seconds: window, buckets: BUCKETS })}`, signal),
    REREAD_MS,
  );
  const counts = useResource<Counts>(
    `overview counts ${key}`,
    (signal) => get("/v1/intents/counts", signal),
    REREAD_MS,
  );
  const reread = () => {
    overview.refresh();
    counts.refresh();
  };
  useFeed(reread, reread);
  useEvery(LOOK_MS, reread);
  const { data } = overview;
  const times = data?.buckets.map(({ at }) => at) ?? [];
  const values = (name: keyof Bucket) => data?.buckets.map((bucket) => bucket[name] as number | null) ?? [];
  return (
    <div class="page">
      <PageHead title="Overview">
        <div class="actions" role="group" aria-label="Time">
          {WINDOWS.map(([name, seconds]) => (
            <button
              type="button"
              class="small"
              key={seconds}
              aria-pressed={seconds === window}
              onClick={() => setParams({ window: seconds === WINDOW_SECONDS ? null : String(seconds) })}
            >
              {name}
            </button>
          ))}
        </div>
      </PageHead>
      {overview.error !== undefined && <Failure error={overview.error} retry={overview.refresh} />}
      {data === undefined && overview.error === undefined && <Loading />}
      {data !== undefined && counts.data?.total === 0 && (
        <Empty title="Nothing has been sent yet">
          <a href={href(["start"])}>Three commands to begin with</a>
        </Empty>
      )}
      {data !== undefined && (
        <>
          <Tiles data={data} counts={counts.data} />
          <div class="charts">
            <Chart
              title={`Ended, per ${duration(data.bucket_seconds * 1000)}`}
              kind="bars"
              times={times}
              series={[
                { name: "Completed", tone: "good", values: values("completed") },
                { name: "Failed", tone: "bad", values: values("failed") },
                { name: "Timed out", tone: "warn", values: values("timed_out") },
                { name: "Canceled", tone: "quiet", values: values("canceled") },
              ]}
            />
            <Chart
              title="Latency to completion"
              kind="lines"
              times={times}
              format={duration}
              series={[
                { name: "Median", tone: "active", values: values("p50_ms") },
                { name: "95th", tone: "waiting", values: values("p95_ms") },
                { name: "99th", tone: "bad", values: values("p99_ms") },
              ]}
            />
            <Chart
              title="Wait in the queue, by when the intent was created"
              kind="lines"
              times={times}
              format={duration}
              series={[
                { name: "Median", tone: "active", values: values("queued_p50_ms") },
                { name: "95th", tone: "waiting", values: values("queued_p95_ms") },
              ]}
            />
            <Chart title="Failures by code" kind="bars" times={times} series={failureSeries(data)} />
            <Chart
              title="Created"
              kind="bars"
              times={times}
              series={[{ name: "Created", tone: "active", values: values("created") }]}
            />
            <Chart
              title="Redeliveries, by when the intent was created"
              kind="bars"
              times={times}
              series={[{ name: "Redeliveries", tone: "warn", values: values("redeliveries") }]}
            />
          </div>
          <div class="columns">
            <section class="card">
              <h2>Queues</h2>
              <Queues data={data} />
            </section>
            <section class="card">
              <h2>Failures by code</h2>
              <Failures data={data} />
            </section>
          </div>
          {data.capped && (
            <p class="faint">
              There is more than is counted: the newest {plural(total(data.buckets, "created"), "intent")} of
              this time are shown.
            </p>
          )}
        </>
      )}
    </div>
  );
}
