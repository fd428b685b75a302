import { get } from "../api/client";
import type { Looked, Votes, Watched, Watching } from "../api/types";
import { count, dateOf, dayOf, momentOf, score } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Chart } from "./Chart";
import { Part, Table } from "./Part";

const PARTS: Record<keyof Looked, string> = {
  embedder: "Embedder",
  recall: "Recall of the index",
  questions: "Questions",
  documents: "Documents",
  feedback: "Bad votes",
};
const PLOTS: { title: string; lines: Record<string, string> }[] = [
  { title: "Recall of the index", lines: { recall_at_10: "of the ten nearest" } },
  { title: "Told apart from before", lines: { questions_auc: "questions", documents_auc: "documents" } },
  { title: "Answers of the live release", lines: { abstained: "not in the documents", down: "voted down", clicked: "source opened" } },
  { title: "Questions far from every document", lines: { questions_far: "share" } },
];

export function WatchView() {
  const loaded = useLoad((signal) => get<Watching>("v1/ops/monitor", {}, signal), [], 60_000);
  return <Part loaded={loaded}>{(found) => (found.last ? <Shown {...found} last={found.last} /> : <Never />)}</Part>;
}

function Never() {
  return (
    <div className="empty">
      <h2>Nothing was looked at yet</h2>
      <p>
        Every night looks at what is live. <code>ragkeep monitor</code> does at any time.
      </p>
    </div>
  );
}

function Shown({ last, history, alerts }: Watching & { last: Watched }) {
  const parts = Object.entries(PARTS) as [keyof Looked, string][];
  return (
    <>
      <section>
        <h2>{alerts.length ? "What is the matter" : "All is well, as far as can be told"}</h2>
        {alerts.map(({ alert, severity, summary, action, since }) => (
          <p key={alert} className="problem">
            <b>{severity}</b>, since {momentOf(since)}: {summary} <span className="quiet">{action}</span>
          </p>
        ))}
        <p className="quiet">
          Release {last.release}, last looked at {momentOf(last.at)}.
        </p>
        <Table
          label="Last look"
          head={["What", "State", "Figures"]}
          rows={parts.map(([name, title]) => [title, <State key="s" alarm={last[name].alarm} />, figuresOf(last[name])])}
        />
      </section>
      <Plots history={history} />
      <Releases rows={last.feedback.rows ?? []} />
    </>
  );
}

function State({ alarm }: { alarm: boolean | null }) {
  const [status, word] = alarm === null ? ["submitted", "cannot tell"] : alarm ? ["error", "alarm"] : ["processed", "well"];
  return (
    <span className="badge" data-status={status}>
      {word}
    </span>
  );
}

const HIDDEN = ["alarm", "rows", "records", "fingerprint", "reasons", "state"];

/** What a part says: why it cannot tell, or its reasons and its figures. */
function figuresOf(part: Looked[keyof Looked]): string {
  if (part.why) return part.why;
  const figures = Object.entries(part).filter(([name, value]) => !HIDDEN.includes(name) && value != null);
  return [...(part.reasons ?? []), ...figures.map(([name, value]) => `${name.replace("_", " ")} ${shown(value)}`)].join(", ");
}

function shown(value: unknown): string {
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : value < 0.001 && value > 0 ? value.toExponential(1) : score(value);
  if (Array.isArray(value)) return `${shown(value[0])} (${value.slice(1).map(shown).join(" to ")})`;
  if (value && typeof value === "object") return Object.entries(value).map(([name, each]) => `${name} ${shown(each)}`).join(" ");
  return value == null ? "–" : String(value);
}

function Plots({ history }: { history: Watching["history"] }) {
  const plots = PLOTS.map(({ title, lines }) => ({ title, series: Object.entries(lines).flatMap(([key, name]) => lineOf(history, key, name)) }));
  return (
    <div className="plots">
      {plots.filter(({ series }) => series.length).map(({ title, series }) => (
        <section key={title}>
          <h2>{title}</h2>
          <Chart title={`${title}, look by look`} series={series} format={score} height={190} tick={dayOf} />
        </section>
      ))}
    </div>
  );
}

function lineOf(history: Watching["history"], key: string, name: string) {
  const points = history.flatMap((row) => {
    const y = row[key];
    return typeof y === "number" ? [{ x: dateOf(row.at).getTime(), label: momentOf(row.at), y }] : [];
  });
  return points.length ? [{ name, points }] : [];
}

function Releases({ rows }: { rows: Votes[] }) {
  if (!rows.length) return <p className="empty">No answer was logged and sealed yet.</p>;
  return (
    <section>
      <h2>What people did with the answers</h2>
      <Table
        label="Releases by what people did"
        head={["Release", "Answers", "Not in the documents", "Voted down", "Source opened"]}
        numeric={[1, 2, 3, 4]}
        rows={rows.map((row) => [row.release, count(row.answers), shown(row.abstained), shown(row.down), shown(row.clicked)])}
      />
    </section>
  );
}
