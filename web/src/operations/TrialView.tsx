import { get } from "../api/client";
import type { Measure, Trial, TrialState } from "../api/types";
import { count, momentOf, ms, plural, score } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Part, Table } from "./Part";

const MODES: Record<Trial["mode"], string> = {
  shadow: "computed in the shadow, seen by nobody",
  split: "it answers a share of the people",
  interleave: "its sources are mixed with the champion's",
};
const MEASURES: Record<string, string> = {
  thumbs_down: "Voted down",
  thumbs_up: "Voted up",
  clicked: "Source opened",
  abstained: "Not in the documents",
  stopped: "Stopped by the reader",
  latency_ms: "Time of an answer",
  search_ms: "Time of a search",
  preference: "Preferred, beyond one half",
  "overlap@5": "Alike, first five",
  rbo: "Alike in order, first ten",
};

export function TrialView() {
  const loaded = useLoad((signal) => get<TrialState>("v1/ops/trial", {}, signal), [], 60_000);
  return (
    <Part loaded={loaded}>
      {(found) => (
        <>
          {found.trouble && <p className="problem">{found.trouble}</p>}
          {found.trial ? <Shown found={found} trial={found.trial} /> : !found.trouble && <Never />}
        </>
      )}
    </Part>
  );
}

function Never() {
  return (
    <div className="empty">
      <h2>No release has been on trial</h2>
      <p>
        <code>ragkeep releases trial start N</code> tries release N beside the one that answers.
      </p>
    </div>
  );
}

function Shown({ found, trial }: { found: TrialState; trial: Trial }) {
  const { running, ended_at: ended, why, says, measures = [] } = found;
  return (
    <>
      <section className="now" aria-labelledby="trial">
        <h2 id="trial">
          Release {trial.number} {running ? "is on trial against" : "was on trial against"} release {trial.champion}
        </h2>
        <p>{says && says[0]?.toUpperCase() + says.slice(1)}.</p>
        {running ? (
          <p className="quiet">
            A look in between: whoever stops as soon as something wins finds winners where there are none. <code>ragkeep releases trial stop</code> ends it.
          </p>
        ) : (
          <p>
            It ended {momentOf(ended ?? trial.until)}: {why ?? "its time has passed"}
          </p>
        )}
        <Facts found={found} trial={trial} />
      </section>
      <section>
        <h2>Challenger less champion</h2>
        <Table
          label="What the trial shows"
          head={["Measure", "Champion", "Challenger", "Difference", "Interval", "Answers"]}
          numeric={[1, 2, 3, 4, 5]}
          rows={measures.map((row) => [MEASURES[row.measure] ?? row.measure, ...figures(row), count(row.n)])}
        />
      </section>
    </>
  );
}

function Facts({ found, trial }: { found: TrialState; trial: Trial }) {
  const { answers = 0, people = 0, counts, fell_back: fellBack } = found;
  const decided = (counts?.wins ?? 0) + (counts?.losses ?? 0);
  const part = `${Math.round(100 * trial.share)} % of the ${trial.mode === "split" ? `${trial.by}s` : "answers"}`;
  const facts: Record<string, string | undefined> = {
    How: `${MODES[trial.mode]}, ${part}`,
    Began: `${momentOf(trial.started_at)}, by ${trial.who}: ${trial.reason}`,
    Answers: `${plural(answers, "answer")} to ${plural(people, trial.by)}`,
    Clicks: counts && Object.entries(counts).map(([name, n]) => `${count(n)} ${name}`).join(", "),
    "Decided by people": trial.answers ? `${count(decided)} of ${count(trial.answers)}${found.running ? ", by at least five people; then the next night carries it out" : ""}` : undefined,
    "Answered by the champion instead": fellBack ? count(fellBack) : undefined,
  };
  return (
    <dl className="facts wide">
      {Object.entries(facts).map(([name, value]) => value && (
        <div key={name}>
          <dt>{name}</dt>
          <dd className="break">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function figures({ measure, champion, challenger, difference, lo, hi }: Measure): string[] {
  const say = (value: number | null) => (value === null ? "–" : measure.endsWith("_ms") ? (value < 0 ? `−${ms(-value)}` : ms(value)) : score(value));
  return [say(champion), say(challenger), say(difference), lo === null || hi === null ? "–" : `${say(lo)} to ${say(hi)}`];
}
