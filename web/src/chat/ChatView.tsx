import { useCallback, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from "react";
import { post } from "../api/client";
import { go } from "../ui/hooks";
import { Icon } from "../ui/Icon";
import { Composer, type Options } from "./Composer";
import { Empty } from "./Empty";
import { SourcesPane } from "./SourcesPane";
import type { Chats } from "./store";
import { isOpen, type Passage, type Turn } from "./turn";
import { TurnView } from "./TurnView";

const PAGE = 30; // turns drawn at once

type Props = { chats: Chats; id?: string; about?: string[] };

export function ChatView({ chats, id, about }: Props) {
  const conversation = useSyncExternalStore(chats.subscribe, () => (id ? chats.open(id) : undefined));
  useSyncExternalStore(chats.subscribe, () => (id ? chats.missing(id) : undefined));
  const [options, setOptions] = useState<Options>({});
  const [shown, setShown] = useState<{ turn: string; passage: Passage }>();
  const opener = useRef<Element>(null);
  const turns = conversation?.turns ?? [];
  const last = turns.at(-1);
  const running = last && isOpen(last) ? last : undefined;
  const [uri, name = uri] = about ?? [];
  const missing = id && !conversation ? chats.missing(id) : undefined;
  const coming = Boolean(id) && !conversation && !missing;

  useEffect(() => {
    setShown(undefined);
    setOptions((now) => ({ ...now, only: uri && name ? { uri, name } : last?.ask.only }));
  }, [id, uri, name]); // the limits of the last question hold for the next one of the same chat only

  const ask = (message: string) => {
    const began = chats.ask(conversation ? id : undefined, { message, ...options });
    if (began !== id) go("chat", began);
  };
  const stop = useCallback(() => id && running && chats.stop(id, running), [chats, id, running]);
  useEscape(stop);

  const show = useCallback((turn: Turn, passage: Passage) => {
    if (!document.activeElement?.closest(".pane")) opener.current = document.activeElement;
    setShown({ turn: turn.id, passage });
    if (turn.answerId) void post("v1/feedback", { answer_id: turn.answerId, kind: "click", n: passage.origin }).catch(() => undefined);
  }, []);
  const close = useCallback(() => {
    setShown(undefined);
    if (opener.current instanceof HTMLElement) opener.current.focus();
  }, []);

  const shownTurn = turns.find((turn) => turn.id === shown?.turn);
  return (
    <div className="chat" data-pane={Boolean(shownTurn)}>
      <div className="talk">
        {turns.length ? (
          <Transcript id={id ?? ""} title={conversation?.title ?? ""} turns={turns} chats={chats} onCite={show} shown={shown} />
        ) : coming ? (
          <div className="loading" aria-busy="true" aria-label="Loading" />
        ) : (
          <Empty missing={missing} only={options.only} />
        )}
        <Announcer turn={last} />
        <Composer options={options} onOptions={setOptions} onAsk={ask} onStop={stop} running={Boolean(running)} />
      </div>
      {shownTurn && shown && <SourcesPane turn={shownTurn} passage={shown.passage} onShow={show} onClose={close} />}
    </div>
  );
}

function useEscape(act: () => void): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open]")) act();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, [act]);
}

type TranscriptProps = {
  id: string;
  title: string;
  turns: Turn[];
  chats: Chats;
  onCite: (turn: Turn, passage: Passage) => void;
  shown?: { turn: string; passage: Passage };
};

/** The turns. A new question goes to the top and its answer grows below it, so nothing that is being read moves. */
function Transcript({ id, title, turns, chats, onCite, shown }: TranscriptProps) {
  const box = useRef<HTMLDivElement>(null);
  const end = useRef<HTMLDivElement>(null);
  const [below, setBelow] = useState(false);
  const [pages, setPages] = useState(1);
  const hidden = Math.max(0, turns.length - pages * PAGE);
  const newest = turns.at(-1)?.id;
  useEffect(() => setPages(1), [id]);
  useLayoutEffect(() => {
    box.current?.querySelector(":scope > article:last-of-type")?.scrollIntoView({ block: "start" });
  }, [id, newest]);
  useEffect(() => {
    if (!end.current) return;
    const watch = new IntersectionObserver(([entry]) => setBelow(!entry?.isIntersecting), { root: box.current, rootMargin: "0px 0px 48px" });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [newest]);
  return (
    <>
      <div className="transcript" ref={box} tabIndex={0} role="region" aria-label="Conversation">
        <h1 className="sr-only">{title}</h1>
        {hidden > 0 && (
          <div className="earlier">
            <button type="button" className="button" onClick={() => setPages(pages + 1)}>
              Show earlier questions ({hidden})
            </button>
          </div>
        )}
        {turns.slice(hidden).map((turn, at, shownTurns) => (
          <TurnView
            key={turn.id}
            id={id}
            turn={turn}
            chats={chats}
            onCite={onCite}
            shown={shown?.turn === turn.id ? shown.passage.n : undefined}
            end={at === shownTurns.length - 1 ? end : undefined}
          />
        ))}
      </div>
      <div className="jump" data-shown={below}>
        <button type="button" className="button" tabIndex={below ? 0 : -1} aria-hidden={!below} onClick={() => end.current?.scrollIntoView({ block: "end" })}>
          <Icon name="arrow" />
          Latest
        </button>
      </div>
    </>
  );
}

/** What a screen reader hears: that an answer began, and once that it is there; never the stream itself. */
function Announcer({ turn }: { turn?: Turn }) {
  const found = turn?.body?.citations.length ?? 0;
  const words = {
    waiting: "Searching the documents.",
    streaming: "Answering.",
    reconnecting: "The connection was lost. Resuming.",
    done: turn?.body?.abstained ? "Not in the documents." : `Answer ready, ${found} ${found === 1 ? "citation" : "citations"}.`,
    stopped: "Stopped.",
    failed: "",
  };
  return (
    <p className="sr-only" role="status">
      {turn && words[turn.status]}
    </p>
  );
}
