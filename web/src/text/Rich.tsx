/** An answer's text as elements. Made of React text nodes only: what a model writes never becomes markup. */
import { memo, useMemo } from "react";
import type { Passage } from "../chat/turn";
import { CopyButton } from "../ui/CopyButton";
import { type Block, parseBlocks, parseSpans } from "./parse";

export type Markers = Map<number, Passage>;
type Cites = { sources: Markers; onCite: (source: Passage) => void; unsupported?: readonly string[] };

export function Rich({ text, ...cites }: { text: string } & Cites) {
  const blocks = useMemo(() => parseBlocks(text), [text]);
  return (
    <div className="rich">
      {blocks.map((block, at) => (
        <BlockView key={at} block={block} {...cites} />
      ))}
    </div>
  );
}

// While an answer streams only its last block changes; the others are drawn once.
const BlockView = memo(drawBlock, (a, b) => {
  const same = a.sources === b.sources && a.unsupported === b.unsupported && a.onCite === b.onCite;
  return same && JSON.stringify(a.block) === JSON.stringify(b.block);
});

function drawBlock({ block, ...cites }: { block: Block } & Cites) {
  const inner = (blocks: Block[]) => blocks.map((each, at) => <BlockView key={at} block={each} {...cites} />);
  switch (block.type) {
    case "code":
      return <Code text={block.text} language={block.language} />;
    case "quote":
      return <blockquote>{inner(block.blocks)}</blockquote>;
    case "list":
      return block.ordered ? (
        <ol start={block.start}>{block.items.map((item, at) => <li key={at}>{inner(item)}</li>)}</ol>
      ) : (
        <ul>{block.items.map((item, at) => <li key={at}>{inner(item)}</li>)}</ul>
      );
    case "h":
      return <h4><Spans text={block.text} {...cites} /></h4>;
    case "p":
      return <p><Spans text={block.text} {...cites} /></p>;
  }
}

function Spans({ text, sources, onCite, unsupported }: { text: string } & Cites) {
  return parseSpans(text, (n) => sources.has(n), unsupported).map((span, at) => {
    if (span.type === "cite") return <Marker key={at} source={sources.get(span.n)!} onCite={onCite} />;
    const content = span.unsupported ? <mark className="unsupported">{span.text}</mark> : span.text;
    if (span.type === "text") return <span key={at}>{content}</span>;
    const Tag = span.type;
    return <Tag key={at}>{content}</Tag>;
  });
}

function Marker({ source, onCite }: { source: Passage; onCite: (source: Passage) => void }) {
  const where = placeOf(source);
  return (
    <button type="button" className="cite" title={where} aria-label={`Source ${source.n}: ${where}`} onClick={() => onCite(source)}>
      {source.n}
    </button>
  );
}

function Code({ text, language }: { text: string; language: string }) {
  return (
    <figure className="code">
      <figcaption>
        <span>{language || "text"}</span>
        <CopyButton text={text} label="Copy code" />
      </figcaption>
      <pre tabIndex={0} aria-label={`Code, ${language || "text"}`}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}

/** file:line, as editors and compilers write it. */
export function placeOf({ uri, lines }: { uri: string; lines: readonly [number, number] }): string {
  return lines[0] === lines[1] ? `${uri}:${lines[0]}` : `${uri}:${lines[0]}-${lines[1]}`;
}
