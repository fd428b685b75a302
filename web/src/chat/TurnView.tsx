import { memo, type Ref, useCallback, useEffect, useMemo, useState } from "react";
import { placeOf, Rich } from "../text/Rich";
import { ms, plural } from "../ui/format";
import { Icon } from "../ui/Icon";
import { TraceId } from "../ui/Problem";
import { AnswerFoot } from "./AnswerFoot";
import { CompareView } from "./CompareView";
import type { Chats } from "./store";
import { isOpen, markers, numbered, type Passage, type Turn, uncited } from "./turn";

type Props = {
  id: string;
  turn: Turn;
  chats: Chats;
  onCite: (turn: Turn, passage: Passage) => void;
  shown?: number;
  end?: Ref<HTMLDivElement>;
};

export const TurnView = memo(function TurnView({ id, turn, chats, onCite, shown, end }: Props) {
  const sources = useMemo(() => markers(turn), [turn.sources, turn.body]);
  const snippets = useMemo(() => numbered(turn.sources), [turn.sources]);
  const cite = useCallback((passage: Passage) => onCite(turn, passage), [onCite, turn.id, turn.answerId]);
  return (
    <article className="turn" data-status={turn.status} aria-label={`Question: ${turn.ask.message.slice(0, 80)}`}>
      <h2 className="question">{turn.ask.message}</h2>
      <StatusLine turn={turn} />
      <div className="answer" aria-busy={isOpen(turn)}>
        {turn.body?.abstained ? (
          <NotFound turn={turn} onCite={cite} />
        ) : (
          <Rich text={turn.text} sources={sources} onCite={cite} unsupported={turn.body?.unsupported} />
        )}
        {turn.status === "stopped" && (
          <p className="note">Stopped. {turn.text && "What stands here was not checked against the documents."}</p>
        )}
        {turn.status === "failed" && <Failure turn={turn} onRetry={() => chats.retry(id, turn)} />}
      </div>
      {turn.body && !turn.body.abstained && <Places passages={[...sources.values()]} shown={shown} onCite={cite} />}
      {turn.body && <Notes turn={turn} />}
      {turn.body?.agreement && <CompareView agreement={turn.body.agreement} sources={snippets} onCite={cite} />}
      {turn.body && <AnswerFoot id={id} turn={turn} chats={chats} />}
      <div ref={end} />
    </article>
  );
});

/** One line of fixed height above the answer: what is being done, then what it took. */
function StatusLine({ turn }: { turn: Turn }) {
  const passages = plural(turn.sources.length, "passage");
  const { body } = turn;
  const only = turn.ask.only && `only in ${turn.ask.only.name}`;
  const facts = body && [body.model, ms(body.timings_ms.total ?? 0), body.cached && "from the cache", only];
  const words = {
    waiting: turn.sources.length ? `Reading ${passages}` : "Searching the documents",
    streaming: `Answering from ${passages}`,
    reconnecting: "Connection lost, resuming",
    done: facts?.filter(Boolean).join(" · "),
    stopped: "Stopped",
    failed: "Not answered",
  };
  return <p className="status-line">{words[turn.status]}</p>;
}

function NotFound({ turn, onCite }: { turn: Turn; onCite: (passage: Passage) => void }) {
  const near = uncited(turn);
  return (
    <div className="not-found">
      <h3>Not in the documents</h3>
      <p>{turn.body?.reason || "No passage that was found answers this question."}</p>
      <p>
        Try the words the documents would use, or <a href="#/documents">add a document</a> that covers it.
      </p>
      {near.length > 0 && (
        <>
          <h4>The nearest passages</h4>
          <Places passages={near} onCite={onCite} />
        </>
      )}
    </div>
  );
}

type PlacesProps = { passages: Passage[]; shown?: number; onCite: (passage: Passage) => void };

function Places({ passages, shown, onCite }: PlacesProps) {
  return (
    <ul className="places" aria-label="Sources">
      {passages.map((passage) => (
        <li key={passage.n}>
          <button type="button" aria-pressed={shown === passage.n} title={placeOf(passage)} onClick={() => onCite(passage)}>
            <b>{passage.n}</b>
            <span>{shorten(placeOf(passage))}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

/** The end of a path says which file it is. */
function shorten(place: string): string {
  const parts = place.split("/");
  return parts.length > 3 ? `…/${parts.slice(-2).join("/")}` : place;
}

/** What a reader should know of an answer besides its text, said quietly. */
function Notes({ turn }: { turn: Turn }) {
  const { body } = turn;
  const bare = body?.unsupported.length ?? 0;
  return (
    <>
      {bare > 0 && (
        <details className="note">
          <summary>{bare === 1 ? "One sentence has" : `${bare} sentences have`} no passage behind it</summary>
          <ul>{body?.unsupported.map((sentence) => <li key={sentence}>{sentence}</li>)}</ul>
        </details>
      )}
      {body && !body.logged && <p className="note">Not recorded: the interaction log cannot be written, so this answer will not be learned from.</p>}
    </>
  );
}

function Failure({ turn, onRetry }: { turn: Turn; onRetry: () => void }) {
  const wait = useCountdown(turn.problem?.retryAfter ?? 0);
  return (
    <div className="failure" role="alert">
      <Icon name="warn" />
      <p>{turn.problem?.message}</p>
      <TraceId id={turn.problem?.trace_id} />
      <button type="button" className="button" disabled={wait > 0} onClick={onRetry}>
        <Icon name="retry" />
        {wait > 0 ? `Try again in ${wait} s` : "Try again"}
      </button>
    </div>
  );
}

function useCountdown(seconds: number): number {
  const [left, setLeft] = useState(seconds);
  useEffect(() => {
    const timer = left > 0 ? setTimeout(() => setLeft(left - 1), 1000) : undefined;
    return () => clearTimeout(timer);
  }, [left]);
  return left;
}
