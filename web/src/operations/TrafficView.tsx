import { useState } from "react";
import { get } from "../api/client";
import type { Metrics, Point } from "../api/types";
import { count, dateOf, dayOf, momentOf, ms, timeOf, usd } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Chart, type Series } from "./Chart";
import { Part, Table } from "./Part";

const WINDOWS = { 3600: "Last hour", 86400: "Last day", 604800: "Last 7 days", 2592000: "Last 30 days" }; // in seconds
type Window = keyof typeof WINDOWS;
type Plot = { title: string; lines: Record<string, string>; format: (y: number) => string };

const PLOTS: Plot[] = [
  { title: "Latency", lines: { latency_p50_ms: "median", latency_p95_ms: "95th percentile" }, format: ms },
  { title: "Cost", lines: { cost_usd: "cost" }, format: usd },
  { title: "Questions", lines: { requests: "asked", abstained: "not in the documents" }, format: whole },
  { title: "Trouble", lines: { thumbs_down: "bad votes", errors: "errors" }, format: whole },
];

function whole(y: number): string {
  return count(Math.round(y * 10) / 10);
}

export function TrafficView() {
  const [window, setWindow] = useState<Window>(86400);
  const loaded = useLoad((signal) => get<Metrics>("v1/ops/metrics", { window: String(window) }, signal), [window], 60_000);
  return (
    <>
      <div className="row wrap filters" role="group" aria-label="Time span">
        {Object.entries(WINDOWS).map(([name, title]) => (
          <button key={name} type="button" className="tab" aria-pressed={name === String(window)} onClick={() => setWindow(Number(name) as Window)}>
            {title}
          </button>
        ))}
      </div>
      <Part loaded={loaded}>{({ series }) => <Plots series={series} window={window} />}</Part>
    </>
  );
}

function Plots({ series, window }: { series: Record<string, Point[]>; window: Window }) {
  const tick = window <= 86400 ? timeOf : dayOf;
  const shown = PLOTS.map(({ lines, ...plot }) => ({ ...plot, series: seriesOf(series, lines) })).filter((plot) => plot.series.length);
  if (!shown.length) {
    return (
      <div className="empty">
        <h2>No traffic in this time</h2>
        <p>Ask a question, or choose a longer time.</p>
      </div>
    );
  }
  return (
    <div className="plots">
      {shown.map(({ title, format, series: lines }) => (
        <section key={title}>
          <h2>{title}</h2>
          <Chart title={`${title}, ${WINDOWS[window].toLowerCase()}`} series={lines} format={format} height={190} fromZero tick={tick} />
          <details className="values">
            <summary>Values as a table</summary>
            <ValueTable title={title} series={lines} format={format} />
          </details>
        </section>
      ))}
    </div>
  );
}

function seriesOf(series: Record<string, Point[]>, lines: Record<string, string>): Series[] {
  return Object.entries(lines).flatMap(([key, name]) => {
    const points = (series[key] ?? []).map(([at, y]) => ({ x: dateOf(at).getTime(), label: momentOf(at), y }));
    return points.length ? [{ name, points }] : [];
  });
}

function ValueTable({ title, series, format }: { title: string; series: Series[]; format: (y: number) => string }) {
  const moments = new Map(series.flatMap(({ points }) => points.map(({ x, label }) => [x, label])));
  const rows = [...moments].sort(([a], [b]) => a - b).map(([x, label]) => [
    label,
    ...series.map(({ points }) => {
      const y = points.find((point) => point.x === x)?.y;
      return y == null ? "–" : format(y);
    }),
  ]);
  return <Table label={`${title}, values`} head={["Time", ...series.map(({ name }) => name)]} rows={rows.toReversed()} numeric={series.map((_, at) => at + 1)} />;
}
