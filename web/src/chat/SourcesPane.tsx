import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import { get } from "../api/client";
import type { SourceText } from "../api/types";
import { useSession } from "../session";
import { placeOf } from "../text/Rich";
import { CopyButton } from "../ui/CopyButton";
import { useLoad } from "../ui/hooks";
import { Icon } from "../ui/Icon";
import { Problem } from "../ui/Problem";
import { markers, type Passage, type Turn, uncited } from "./turn";

type Props = { turn: Turn; passage: Passage; onShow: (turn: Turn, passage: Passage) => void; onClose: () => void };

const keyOf = ({ origin, n, lines }: Passage) => `${origin}:${n}:${lines.join("-")}`;

/** The passages behind an answer, the chosen one opened at its lines. */
export function SourcesPane({ turn, passage, onShow, onClose }: Props) {
  const head = useRef<HTMLHeadingElement>(null);
  const cited = useMemo(() => [...markers(turn).values()], [turn]);
  const rest = useMemo(() => (turn.body ? uncited(turn) : []), [turn]);
  const key = keyOf(passage);
  useEffect(() => {
    if (!document.activeElement?.closest(".pane")) head.current?.focus();
  }, [key]);
  const escape = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    onClose();
  };
  const rows = (passages: Passage[]) =>
    passages.map((each) => <Row key={keyOf(each)} passage={each} open={keyOf(each) === key} onOpen={() => onShow(turn, each)} />);
  return (
    <aside className="pane" aria-label="Sources" onKeyDown={escape}>
      <header>
        <h2 tabIndex={-1} ref={head}>
          Sources
        </h2>
        <button type="button" className="icon-button" aria-label="Close sources" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      <ol>{rows(cited)}</ol>
      {rest.length > 0 && (
        <>
          <h3>{cited.length ? "Found, not cited" : "Nearest passages"}</h3>
          <ol>{rows(rest)}</ol>
        </>
      )}
    </aside>
  );
}

function Row({ passage, open, onOpen }: { passage: Passage; open: boolean; onOpen: () => void }) {
  const ref = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (open) ref.current?.scrollIntoView({ block: "nearest" });
  }, [open]);
  return (
    <li ref={ref} data-open={open}>
      <button type="button" className="source-head" aria-expanded={open} onClick={onOpen}>
        <b>{passage.n}</b>
        <span>
          <span className="place">{placeOf(passage)}</span>
          {passage.context && <span className="quiet">{passage.context}</span>}
        </span>
      </button>
      {open && <Lines passage={passage} />}
    </li>
  );
}

function Lines({ passage }: { passage: Passage }) {
  const { workspace } = useSession();
  const { uri, lines } = passage;
  const around = `${lines[0]},${lines[1]}`;
  const { data, problem, trace } = useLoad((signal) => get<SourceText>("v1/source", { workspace, uri, around }, signal), [workspace, uri, around]);
  const shown: SourceText = data ?? { uri, first_line: lines[0], lines: passage.preview.split("\n"), highlight: lines, language: passage.language };
  const marked = shown.lines.filter((_, at) => isMarked(shown, at)).join("\n");
  return (
    <div className="source">
      <Listing text={shown} />
      {problem && <Problem of={{ message: problem, trace }}>The passage as it was read is shown instead.</Problem>}
      <div className="row wrap">
        <CopyButton wide text={marked} label="Copy lines" />
        <CopyButton wide text={placeOf(passage)} label="Copy file:line" />
      </div>
    </div>
  );
}

const isMarked = ({ first_line: first, highlight: [from, to] }: SourceText, at: number) => first + at >= from && first + at <= to;

function Listing({ text }: { text: SourceText }) {
  const box = useRef<HTMLDivElement>(null);
  const [wrap, setWrap] = useState(true);
  useEffect(() => {
    const line = box.current?.querySelector<HTMLElement>("[data-marked=true]");
    if (box.current && line) box.current.scrollTop = line.offsetTop - box.current.clientHeight / 3;
  }, [text]);
  return (
    <>
      <label className="check small">
        <input type="checkbox" checked={wrap} onChange={(event) => setWrap(event.target.checked)} />
        Wrap lines
      </label>
      <div className="listing" ref={box} tabIndex={0} role="region" aria-label={`${text.uri}, lines ${text.highlight.join(" to ")} are marked`} data-wrap={wrap}>
        {text.lines.map((line, at) => (
          <div key={at} data-marked={isMarked(text, at)}>
            <span aria-hidden="true">{text.first_line + at}</span>
            {isMarked(text, at) ? <mark>{line || " "}</mark> : <code>{line || " "}</code>}
          </div>
        ))}
      </div>
    </>
  );
}
