import type { ReactNode } from "react";
import { get } from "../api/client";
import type { Explained, Shown } from "../api/types";
import { placeOf } from "../text/Rich";
import { CopyButton } from "../ui/CopyButton";
import { Dialog } from "../ui/Dialog";
import { count, momentOf, ms, plural, score, usd } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Problem } from "../ui/Problem";
import { type Step, steps } from "./steps";
import type { Turn } from "./turn";

/** What an answer rests on: the release that made it, every passage with its scores, what it took and what it cost. */
export function Why({ turn, onClose }: { turn: Turn; onClose: () => void }) {
  const id = turn.answerId ?? "";
  const { data, problem, trace } = useLoad((signal) => get<Explained>(`v1/answers/${encodeURIComponent(id)}`, {}, signal), [id]);
  return (
    <Dialog title="Why this answer?" onClose={onClose} wide>
      <div className="why-body">
        {problem && <Problem of={{ message: problem, trace }}>What this page knows is shown.</Problem>}
        {!data && !problem && <div className="loading" aria-busy="true" aria-label="Loading" />}
        {data ? <Explanation data={data} /> : problem && <Known turn={turn} />}
      </div>
    </Dialog>
  );
}

function Explanation({ data }: { data: Explained }) {
  const { release_details: release } = data;
  const searched = data.rewritten && data.rewritten !== data.question ? data.rewritten : undefined;
  return (
    <>
      <section aria-label="The passages">
        <h3>{plural(data.shown.length, "passage")}, best first</h3>
        {data.shown.length ? <Passages shown={data.shown} cited={data.cited} /> : <p className="quiet">Nothing was searched for this answer.</p>}
      </section>
      <section aria-label="The time it took">
        <h3>{ms(data.timings_ms.total ?? 0)}</h3>
        <Timings steps={steps(data.timings_ms)} />
      </section>
      <section aria-label="How it was made">
        <h3>How it was made</h3>
        <Facts
          facts={[
            ["Asked", momentOf(data.at)],
            ["Searched for", searched],
            ["In the documents' words", data.glossary?.map((entry) => entry.replace("=", " → ")).join(", ")],
            ["Route", data.route && `${data.route}${release ? `, ${mix(release.fusion, data.route)}` : ""}`],
            ["Release", data.release && releaseOf(data)],
            ["It came in as", release?.reason],
            ["Index", release ? `${data.index} (${release.index.store}, ${plural(release.index.chunks, "chunk")})` : data.index],
            ["Embedder", data.embedder],
            ["Second look", data.second_look?.model ?? data.second_look?.by],
            ["Model", data.model],
            ["Prompt", data.prompt && <Id key="prompt" text={data.prompt} label="Copy the prompt's hash" />],
            ["Code", release?.git_sha && <Id key="code" text={release.git_sha} label="Copy the commit" />],
            ["Tokens", `${count(data.prompt_tokens)} read, ${count(data.completion_tokens)} written`],
            ["Cost", usd(data.cost_usd)],
            ["Answer", <Id key="answer" text={data.answer_id} label="Copy answer id" />],
            ["Trace", data.trace && <Id key="trace" text={data.trace} label="Copy trace id" />],
          ]}
        />
      </section>
    </>
  );
}

/** What the page itself was told with the answer, where the server has no record of it. */
function Known({ turn: { body, answerId = "" } }: { turn: Turn }) {
  if (!body) return null;
  const { prompt_tokens: read, completion_tokens: written } = body.usage;
  return (
    <Facts
      facts={[
        ["Release", String(body.release ?? "none")],
        ["Model", body.model],
        ["Tokens", `${count(read)} read, ${count(written)} written`],
        ["Cost", usd(body.cost_usd)],
        ["Answer", <Id key="answer" text={answerId} label="Copy answer id" />],
        ["Trace", body.trace_id && <Id key="trace" text={body.trace_id} label="Copy trace id" />],
      ]}
    />
  );
}

function releaseOf({ release, release_details: found }: Explained): string {
  if (!found) return `${release}, no longer kept`;
  return found.created_at ? `${release}, of ${momentOf(found.created_at)}` : release;
}

function mix({ method, weight, code_weight: code }: NonNullable<Explained["release_details"]>["fusion"], route: string): string {
  const share = route === "code" && code !== null ? code : weight;
  return `${method} fusion, ${Math.round(share * 100)} % meaning and ${Math.round((1 - share) * 100)} % words`;
}

function Facts({ facts }: { facts: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => Boolean(value) && (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Id({ text, label }: { text: string; label: string }) {
  return (
    <span className="id">
      <code>{text}</code>
      <CopyButton text={text} label={label} />
    </span>
  );
}

const LEGS = [
  ["vector", "meaning", 3, "Cosine of the question and the passage"],
  ["keyword", "words", 1, "BM25 of the question's words"],
  ["fused", "mixed", 3, "Both legs, mixed by the release's weight"],
  ["rerank", "reread", 2, "The reranker's score, which decided the order"],
] as const;

function Passages({ shown, cited }: { shown: Shown[]; cited: number[] }) {
  const legs = LEGS.filter(([name]) => shown.some(({ scores }) => scores?.[name] !== undefined));
  return (
    <ol className="passages">
      {shown.map((each) => (
        <li key={each.rank} data-cited={cited.includes(each.rank)}>
          <b>{each.rank}</b>
          <span className="place">
            {placeOf(each)} {cited.includes(each.rank) && <span className="badge">cited</span>}
          </span>
          <dl>
            {legs.map(([name, word, digits, title]) => (
              <div key={name} title={title}>
                <dt>{word}</dt>
                <dd>{each.scores?.[name] === undefined ? "–" : each.scores[name].toFixed(digits)}</dd>
              </div>
            ))}
            {legs.length === 0 && (
              <div>
                <dt>score</dt>
                <dd>{score(each.score)}</dd>
              </div>
            )}
          </dl>
        </li>
      ))}
    </ol>
  );
}

/** A bar for each step, where it began and as long as it took. */
function Timings({ steps: bars }: { steps: Step[] }) {
  return (
    <ul className="timings">
      {bars.map(({ name, took, from, to }) => (
        <li key={name}>
          <span>{name}</span>
          <svg aria-hidden="true" focusable="false" preserveAspectRatio="none" viewBox="0 0 100 10">
            <rect className="track" width="100" height="10" />
            <rect x={from} width={Math.max(to - from, 0.7)} height="10" />
          </svg>
          <span className="number">{ms(took)}</span>
        </li>
      ))}
    </ul>
  );
}
