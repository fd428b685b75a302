import { expect, test } from "vitest";
import type { AnswerBody } from "../api/types";
import { markers, newTurn, reduce, type Turn, type TurnEvent } from "./turn";

const source = { n: 4, uri: "a.md", lines: [1, 2] as [number, number], context: "", language: "", kind: "", score: 1, preview: "" };
const start: TurnEvent = { type: "start", data: { answer_id: "a", session: "s", workspace: "w", release: 1, model: "m" } };
const token = (text: string): TurnEvent => ({ type: "token", data: { text } });
const body = { answer_id: "a", session: "s", text: "Checked. [1]", sources: [source], citations: [{ ...source, n: 1, source: 4, quote: "" }] };
const done: TurnEvent = { type: "done", data: body as unknown as AnswerBody };

const play = (events: [number, TurnEvent][]): Turn =>
  events.reduce((turn, [n, event]) => reduce(turn, n, event), newTurn({ message: "?" }));

test("an event that comes twice is taken once", () => {
  expect(play([[1, start], [2, token("a")], [2, token("a")], [1, start], [3, token("b")]]).text).toBe("ab");
});

test("the checked text replaces the streamed one, and nothing follows it", () => {
  expect(play([[1, start], [2, token("a")], [3, done], [4, token("b")]])).toMatchObject({ text: "Checked. [1]", status: "done" });
});

test("an error keeps what was streamed", () => {
  const turn = play([[1, start], [2, token("a")], [3, { type: "error", data: { code: "provider", message: "gone" } }]]);
  expect(turn).toMatchObject({ text: "a", status: "failed", problem: { message: "gone" } });
});

test("markers mean sources while streaming and citations when checked", () => {
  const streaming = play([[1, start], [2, { type: "sources", data: { sources: [source] } }]]);
  expect([...markers(streaming).keys()]).toEqual([4]);
  expect(markers(reduce(streaming, 3, done)).get(1)).toMatchObject({ n: 1, origin: 4, uri: "a.md" });
});
