/** Conversations as the server's log holds them, as turns of this page; what both know is one. */
import type { AnswerBody, SessionInfo, SessionTurn } from "../api/types";
import type { Summary } from "./storage";
import type { Turn } from "./turn";

export function turnOf(told: SessionTurn, session: string): Turn {
  const blank = { context: "", language: "", kind: "", preview: "" };
  const sources = told.sources.map((source) => ({ ...blank, ...source }));
  const citations = told.citations.map(({ n, source, lines }) => {
    const { uri = "", score = 0 } = sources.find((each) => each.n === source) ?? {};
    return { n, uri, lines, quote: "", score, source };
  });
  const { answer_id, abstained, model, release, usage, cost_usd, timings_ms, trace_id } = told;
  const about = { answer_id, session, abstained, model, release, usage, cost_usd, timings_ms, trace_id };
  const body: AnswerBody = { ...about, text: "", citations, sources: [], unsupported: [], cached: false, logged: true };
  return {
    id: answer_id,
    ask: { message: told.question },
    at: Date.parse(told.at),
    status: told.aborted ? "stopped" : "done",
    text: told.text,
    last: 0,
    sources,
    answerId: answer_id,
    session,
    body: told.aborted ? undefined : body,
    given: told.vote ? { vote: told.vote } : undefined,
  };
}

/** The turns this browser has, and those that only the server knows, as they were asked. */
export function joined(here: Turn[], told: Turn[]): Turn[] {
  const known = new Set(here.map(({ answerId }) => answerId));
  const more = told.filter(({ answerId }) => !known.has(answerId));
  return more.length ? [...here, ...more].sort((one, other) => one.at - other.at) : here;
}

/** One list of what is kept here and what only the server knows, the newest first. */
export function listed(here: Summary[], told: SessionInfo[]): Summary[] {
  const known = new Set(here.flatMap(({ id, session }) => [id, session]));
  const more = told.filter(({ id }) => !known.has(id)).map(summaryOf);
  return [...here, ...more].sort((one, other) => other.updated - one.updated);
}

export const summaryOf = ({ id, title, updated_at }: SessionInfo): Summary => ({
  id,
  title: title || "Without words",
  updated: Date.parse(updated_at),
  session: id,
});
