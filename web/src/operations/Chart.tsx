import { type KeyboardEvent, type PointerEvent, useEffect, useId, useMemo, useRef, useState } from "react";
import { niceTicks } from "./scale";

export type Datum = { x: number; label: string; y: number | null; lo?: number | null; hi?: number | null; mark?: string };
export type Series = { name: string; points: Datum[] };
type Props = { title: string; series: Series[]; format: (y: number) => string; fromZero?: boolean; height?: number; tick?: (x: number) => string };

const PAD = { left: 52, right: 16, top: 14, bottom: 26 };

/** A line chart with error bars. Hover shows the nearest column's values; so do the arrow keys, Home and End. */
export function Chart({ title, series, format, fromZero, height = 220, tick }: Props) {
  const { box, width } = useWidth();
  const [at, setAt] = useState<number>();
  const id = useId();
  const xs = useMemo(() => [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))].sort((a, b) => a - b), [series]);
  const scale = useMemo(() => scales(series, xs, width, height, fromZero), [series, xs, width, height, fromZero]);
  const move = (event: PointerEvent<SVGSVGElement>) => {
    const x = event.clientX - event.currentTarget.getBoundingClientRect().left;
    setAt(nearest(xs.map(scale.x), x));
  };
  const key = (event: KeyboardEvent) => {
    const last = xs.length - 1;
    const now = at ?? last;
    const to = { ArrowLeft: Math.max(0, now - 1), ArrowRight: Math.min(last, now + 1), Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    setAt(at === undefined && event.key !== "Home" ? last : to);
  };
  const said = at === undefined ? [] : valuesAt(series, xs[at], format);
  return (
    <figure className="chart">
      <figcaption id={id}>
        <span>{title}</span>
        {series.length > 1 && <Legend series={series} />}
      </figcaption>
      <div
        ref={box}
        className="plot"
        tabIndex={0}
        role="group"
        aria-labelledby={id}
        aria-roledescription="chart, arrow keys read its values"
        onKeyDown={key}
        onBlur={() => setAt(undefined)}
      >
        {width > 0 && (
          <svg width={width} height={height} aria-hidden="true" onPointerMove={move} onPointerLeave={() => setAt(undefined)}>
            <Axes scale={scale} format={format} width={width} height={height} xs={xs} tick={tick ?? (() => "")} />
            {at !== undefined && <line className="cursor" x1={scale.x(xs[at]!)} x2={scale.x(xs[at]!)} y1={PAD.top} y2={height - PAD.bottom} />}
            {series.map((each, n) => (
              <Line key={each.name} series={each} n={n} scale={scale} active={at === undefined ? undefined : xs[at]} />
            ))}
          </svg>
        )}
        {at !== undefined && <Tip x={scale.x(xs[at]!)} width={width} lines={said} />}
      </div>
      <p className="sr-only" role="status">
        {said.join(", ")}
      </p>
    </figure>
  );
}

type Scale = { x: (x: number) => number; y: (y: number) => number; ticks: number[] };

function scales(series: Series[], xs: number[], width: number, height: number, fromZero = false): Scale {
  const points = series.flatMap((each) => each.points);
  const ys = points.flatMap(({ y, lo, hi }) => [y, lo, hi]).filter((value): value is number => value != null);
  const ticks = niceTicks(fromZero ? 0 : Math.min(...ys), Math.max(...ys), height > 160 ? 5 : 3);
  const [low = 0, high = 1] = [ticks[0], ticks.at(-1)];
  const [first = 0, last = 1] = [xs[0], xs.at(-1)];
  const inner = width - PAD.left - PAD.right - 16;
  return {
    x: (x) => PAD.left + 8 + (last === first ? inner / 2 : ((x - first) / (last - first)) * inner),
    y: (y) => PAD.top + (1 - (y - low) / (high - low || 1)) * (height - PAD.top - PAD.bottom),
    ticks,
  };
}

type AxesProps = { scale: Scale; format: (y: number) => string; width: number; height: number; xs: number[]; tick: (x: number) => string };

function Axes({ scale, format, width, height, xs, tick }: AxesProps) {
  const every = Math.max(1, Math.ceil(xs.length / Math.max(2, Math.floor(width / 84))));
  const shown = xs.filter((_, at) => (xs.length - 1 - at) % every === 0);
  return (
    <g className="axes">
      {scale.ticks.map((y) => (
        <g key={y}>
          <line x1={PAD.left} x2={width - PAD.right} y1={scale.y(y)} y2={scale.y(y)} />
          <text x={PAD.left - 8} y={scale.y(y)} dy="0.32em" textAnchor="end">
            {format(y)}
          </text>
        </g>
      ))}
      {shown.map((x) => (
        <text key={x} x={scale.x(x)} y={height - 8} textAnchor="middle">
          {tick(x)}
        </text>
      ))}
    </g>
  );
}

function Line({ series, n, scale, active }: { series: Series; n: number; scale: Scale; active?: number }) {
  const points = series.points.filter((point): point is Datum & { y: number } => point.y !== null);
  const dots = points.length <= 40;
  return (
    <g className="series" data-n={n}>
      <path d={points.map(({ x, y }, at) => `${at ? "L" : "M"}${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}`).join("")} />
      {points.map(({ x, lo, hi }) => lo != null && hi != null && <Bar key={x} x={scale.x(x)} lo={scale.y(lo)} hi={scale.y(hi)} />)}
      {points.map((p) =>
        dots || p.x === active ? <circle key={p.x} cx={scale.x(p.x)} cy={scale.y(p.y)} r={p.x === active || p.mark ? 5 : 3.5} data-mark={p.mark} /> : null,
      )}
    </g>
  );
}

function Bar({ x, lo, hi }: { x: number; lo: number; hi: number }) {
  return <path className="bar" d={`M${x - 4} ${hi}h8M${x} ${hi}V${lo}M${x - 4} ${lo}h8`} />;
}

function Legend({ series }: { series: Series[] }) {
  return (
    <span className="legend">
      {series.map(({ name }, n) => (
        <span key={name} data-n={n}>
          <i aria-hidden="true" />
          {name}
        </span>
      ))}
    </span>
  );
}

function Tip({ x, width, lines }: { x: number; width: number; lines: string[] }) {
  const side = x > width / 2 ? { right: width - x + 10 } : { left: x + 10 };
  return (
    <div className="tip" style={side} aria-hidden="true">
      {lines.map((line) => <span key={line}>{line}</span>)}
    </div>
  );
}

function valuesAt(series: Series[], x: number | undefined, format: (y: number) => string): string[] {
  const here = series.flatMap(({ name, points }) => points.filter((p) => p.x === x).map((p) => ({ name, ...p })));
  const label = here[0]?.label;
  const values = here.map(({ name, y, lo, hi, mark }) => {
    const span = lo != null && hi != null ? ` (${format(lo)} to ${format(hi)})` : "";
    return `${name} ${y === null ? "no value" : format(y)}${span}${mark ? `, ${mark}` : ""}`;
  });
  return label ? [label, ...values] : values;
}

function nearest(places: number[], x: number): number | undefined {
  const distance = places.map((place) => Math.abs(place - x));
  return places.length ? distance.indexOf(Math.min(...distance)) : undefined;
}

function useWidth() {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!box.current) return;
    const watch = new ResizeObserver(([entry]) => setWidth(Math.floor(entry?.contentRect.width ?? 0)));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  return { box, width };
}
