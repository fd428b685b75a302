/** One question and its answer, and how each event of the stream changes it. Pure: the tests feed it events. */
import type { AnswerBody, Citation, Source, Started } from "../api/types";

export type Problem = { code: string; message: string; retryAfter?: number; trace_id?: string };
export type Status = "waiting" | "streaming" | "reconnecting" | "done" | "stopped" | "failed";
export type Ask = { message: string; model?: string; compare?: string[]; only?: { uri: string; name: string } };
export type Given = { vote?: 1 | -1; reason?: string; correction?: string; unlogged?: boolean };

export type Turn = {
  id: string; // also the idempotency key of its request
  ask: Ask;
  at: number;
  status: Status;
  text: string;
  last: number; // number of the last event taken; a repeated one changes nothing
  sources: Source[];
  answerId?: string;
  session?: string;
  body?: AnswerBody;
  problem?: Problem;
  given?: Given;
};

export type TurnEvent =
  | { type: "start"; data: Started }
  | { type: "sources"; data: { sources: Source[] } }
  | { type: "token"; data: { text: string } }
  | { type: "done"; data: AnswerBody }
  | { type: "error"; data: Problem };

export function newTurn(ask: Ask): Turn {
  return { id: crypto.randomUUID(), ask, at: Date.now(), status: "waiting", text: "", last: -1, sources: [] };
}

export const isOpen = (turn: Turn) => ["waiting", "streaming", "reconnecting"].includes(turn.status);

/** Apply event `n` of the answer's stream; events already seen and events after the end are dropped. */
export function reduce(turn: Turn, n: number, event: TurnEvent): Turn {
  if (n <= turn.last || !isOpen(turn)) return turn;
  const next: Turn = { ...turn, last: n, status: "streaming" };
  switch (event.type) {
    case "start":
      return { ...next, answerId: event.data.answer_id, session: event.data.session, status: "waiting" };
    case "sources":
      return { ...next, sources: event.data.sources, status: turn.text ? "streaming" : "waiting" };
    case "token":
      return { ...next, text: turn.text + event.data.text };
    case "done":
      return finished(next, event.data);
    case "error":
      return { ...next, status: "failed", problem: event.data };
  }
}

function finished(turn: Turn, body: AnswerBody): Turn {
  const { text, sources, session, answer_id: answerId } = body;
  const lean = { ...body, text: "", sources: [] }; // kept once: a browser's storage is small
  return { ...turn, status: "done", text, sources, session, answerId, body: lean };
}

/** A passage as it is shown: `n` as the text's markers number it, `origin` as the sources do. */
export type Passage = Source & { origin: number };

/** Sources by their own numbers, as a text means them that was not checked. */
export function numbered(sources: Source[]): Map<number, Passage> {
  return new Map(sources.map((source) => [source.n, { ...source, origin: source.n }]));
}

/** What each marker [n] of the answer means: a checked answer numbers its citations, a streaming one its sources. */
export function markers(turn: Turn): Map<number, Passage> {
  if (!turn.body) return numbered(turn.sources);
  const blank = { context: "", language: "", kind: "", preview: "" };
  return new Map(
    turn.body.citations.map(({ n, uri, lines, quote, source, score }) => {
      const passage = passageOf(turn.sources, { uri, lines, source });
      return [n, { ...blank, preview: quote, ...passage, n, uri, lines, score, origin: passage?.n ?? n }];
    }),
  );
}

/** The source a citation stands in: the one it names if that holds its lines, else the first that does. */
function passageOf(sources: Source[], { uri, lines, source }: Pick<Citation, "uri" | "lines" | "source">): Source | undefined {
  const named = sources.filter(({ n }) => n === source);
  const candidates = [...named, ...sources].filter((each) => each.uri === uri);
  return candidates.find((each) => each.lines[0] <= lines[0] && lines[1] <= each.lines[1]) ?? candidates[0];
}

/** The passages that were read and not cited. */
export function uncited(turn: Turn): Passage[] {
  const cited = new Set([...markers(turn).values()].map(({ origin }) => origin));
  return turn.sources.filter(({ n }) => !turn.body || !cited.has(n)).map((source) => ({ ...source, origin: source.n }));
}
