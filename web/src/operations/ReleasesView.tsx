import { useState } from "react";
import { get, post } from "../api/client";
import type { OpsEvent, Release, Releases } from "../api/types";
import { Confirm } from "../ui/Dialog";
import { dayOf, momentOf, score } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Chart } from "./Chart";
import { Part, Table } from "./Part";

type Move = { kind: "rollback" | "promote"; to: Release; from: number };
type Data = Releases & { events: OpsEvent[] };

async function load(signal: AbortSignal): Promise<Data> {
  const [releases, history] = await Promise.all([
    get<Releases>("v1/ops/releases", {}, signal),
    get<{ events: OpsEvent[] }>("v1/ops/history", {}, signal),
  ]);
  const rows = releases.releases.map((release) => ({ ...release, number: Number(release.number) }));
  const { champion, previous } = releases;
  return {
    ...releases,
    ...history,
    champion: champion === null ? null : Number(champion),
    previous: previous === null ? null : Number(previous),
    releases: rows.toSorted((a, b) => a.number - b.number),
  };
}

export function ReleasesView() {
  const loaded = useLoad(load, [], 60_000);
  const [move, setMove] = useState<Move>();
  const [said, setSaid] = useState("");
  const done = ({ kind, to }: Move) => {
    setSaid(kind === "rollback" ? `Rolled back: release ${to.number} answers now.` : `Release ${to.number} was promoted and answers now.`);
    loaded.reload();
  };
  return (
    <Part loaded={loaded}>
      {(data) => (
        <>
          <p className="said" role="status">{said}</p>
          {data.releases.length === 0 ? <NoRelease /> : <Shown data={data} onMove={setMove} />}
          {move && <MoveDialog move={move} onClose={() => setMove(undefined)} onDone={() => done(move)} />}
        </>
      )}
    </Part>
  );
}

function NoRelease() {
  return (
    <div className="empty">
      <h2>No release yet</h2>
      <p>
        Run <code>ragkeep nightly</code> to make and publish the first one. Its scores will stand here.
      </p>
    </div>
  );
}

function Shown({ data, onMove }: { data: Data; onMove: (move: Move) => void }) {
  const { champion, previous, rejected, releases, events } = data;
  const now = releases.find(({ number }) => number === champion);
  const back = releases.find(({ number }) => number === previous);
  return (
    <>
      <section className="now" aria-labelledby="now">
        <div className="row between wrap">
          <h2 id="now">{now ? `Release ${now.number} answers` : "No release answers"}</h2>
          {now && back && (
            <button type="button" className="button danger" onClick={() => onMove({ kind: "rollback", to: back, from: now.number })}>
              Roll back to {back.number}
            </button>
          )}
        </div>
        {now && <Versions release={now} />}
        {rejected && (
          <p className="problem">
            Release {rejected.number} was taken back by itself: {rejected.reason}
          </p>
        )}
      </section>
      <Scores releases={releases} champion={champion} />
      <section>
        <h2>All releases</h2>
        <ReleaseTable data={data} onMove={onMove} />
      </section>
      <section>
        <h2>What changed, and who did it</h2>
        {events.length === 0 && <p className="empty">Nothing was promoted or rolled back yet.</p>}
        <ol className="log">
          {events.map((event) => (
            <li key={`${event.at}${event.action}`}>
              <time dateTime={event.at}>{momentOf(event.at)}</time>
              <span>
                <b>{event.action}</b> {event.from ?? "none"} → {event.to ?? "none"} by {event.who}
                {event.reason && <span className="quiet break"> “{event.reason}”</span>}
              </span>
            </li>
          ))}
        </ol>
      </section>
    </>
  );
}

function Versions({ release }: { release: Release }) {
  const facts = { Since: momentOf(release.created_at), Index: release.index, Embedder: release.embedder, Generator: release.generator, Code: release.git_sha?.slice(0, 12) };
  return (
    <dl className="facts wide">
      {Object.entries(facts).map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd className="break">{value || "unknown"}</dd>
        </div>
      ))}
    </dl>
  );
}

function Scores({ releases, champion }: { releases: Release[]; champion: number | null }) {
  const names = [...new Set(releases.flatMap(({ scores }) => Object.keys(scores)))];
  const [chosen, setChosen] = useState("");
  const name = names.includes(chosen) ? chosen : names[0];
  if (!name) return <p className="empty">These releases carry no scores. The next night measures them.</p>;
  const points = releases.map(({ number, created_at: at, scores }) => ({
    x: number,
    label: `Release ${number}, ${dayOf(at)}`,
    y: scores[name]?.value ?? null,
    lo: scores[name]?.lo,
    hi: scores[name]?.hi,
    mark: number === champion ? "answers now" : undefined,
  }));
  return (
    <section>
      <div className="row between wrap">
        <h2>Scores over time</h2>
        <label className="inline-field">
          Score
          <select value={name} onChange={(event) => setChosen(event.target.value)}>
            {names.map((each) => <option key={each}>{each}</option>)}
          </select>
        </label>
      </div>
      <Chart title={`${name} by release${points.some(({ lo }) => lo != null) ? ", with its 95 % interval" : ""}`} series={[{ name, points }]} format={score} height={260} tick={String} />
    </section>
  );
}

function ReleaseTable({ data, onMove }: { data: Data; onMove: (move: Move) => void }) {
  const { releases, champion } = data;
  const names = [...new Set(releases.flatMap(({ scores }) => Object.keys(scores)))];
  const rows = releases.toReversed().map((release) => [
    <span key="n" className="row">
      <b>{release.number}</b>
      {release.number === champion && <span className="badge" data-status="processed">answers</span>}
    </span>,
    dayOf(release.created_at),
    <span key="v" title={release.reason ?? undefined}>{release.verdict ?? release.reason ?? ""}</span>,
    ...names.map((name) => <ScoreCell key={name} release={release} name={name} />),
    <span key="i">
      <code>{release.index}</code>
      <small className="quiet below">
        {release.embedder}, {release.generator}
      </small>
    </span>,
    release.number !== champion && (
      <button
        type="button"
        className="button small"
        aria-label={`Promote release ${release.number}`}
        onClick={() => onMove({ kind: "promote", to: release, from: champion ?? 0 })}
      >
        Promote
      </button>
    ),
  ]);
  const numeric = names.map((_, at) => at + 3);
  return <Table label="All releases" head={["Release", "Made", "Verdict", ...names, "Index and models", ""]} rows={rows} numeric={numeric} />;
}

function ScoreCell({ release, name }: { release: Release; name: string }) {
  const found = release.scores[name];
  if (!found) return <span className="quiet">–</span>;
  return (
    <>
      {score(found.value)}
      {found.lo != null && found.hi != null && <small className="quiet"> {score(found.lo)}–{score(found.hi)}</small>}
    </>
  );
}

function MoveDialog({ move, onClose, onDone }: { move: Move; onClose: () => void; onDone: () => void }) {
  const [reason, setReason] = useState("");
  const { kind, to, from } = move;
  const back = kind === "rollback";
  const act = async () => {
    await (back ? post("v1/ops/rollback", { reason, expect: from }) : post("v1/ops/promote", { number: to.number, reason }));
    onDone();
  };
  return (
    <Confirm
      title={back ? `Roll back to release ${to.number}?` : `Promote release ${to.number}?`}
      action={back ? "Roll back" : "Promote"}
      danger={back}
      onClose={onClose}
      onConfirm={act}
    >
      <p>
        Release {from || "none"} answers now. From the next question on, release {to.number} does; answers under way are finished by the release that
        began them.
      </p>
      <label className="field">
        Reason, for the record
        <textarea required autoFocus rows={2} maxLength={500} value={reason} onChange={(event) => setReason(event.target.value)} />
      </label>
    </Confirm>
  );
}
