import { expect, test } from "vitest";
import type { SessionTurn } from "../api/types";
import { joined, listed, turnOf } from "./sessions";
import { markers, newTurn } from "./turn";

const TOLD: SessionTurn = {
  answer_id: "a1",
  at: "2026-11-21T06:00:00.000+00:00",
  question: "How often?",
  text: "Yearly. [1]",
  abstained: false,
  aborted: false,
  citations: [{ n: 1, source: 2, lines: [3, 4] }],
  sources: [
    { n: 1, uri: "a.md", lines: [1, 9], score: 0.9 },
    { n: 2, uri: "b.md", lines: [1, 9], score: 0.5 },
  ],
  model: "extractive",
  release: "7",
  usage: { prompt_tokens: 10, completion_tokens: 5 },
  cost_usd: 0,
  timings_ms: { total: 12 },
  trace_id: "t",
  vote: -1,
};

test("a turn of the log shows what its markers mean", () => {
  const turn = turnOf(TOLD, "s1");
  expect(markers(turn).get(1)).toMatchObject({ uri: "b.md", lines: [3, 4], origin: 2 });
  expect(turn).toMatchObject({ status: "done", given: { vote: -1 }, session: "s1" });
  expect(turnOf({ ...TOLD, aborted: true }, "s1")).toMatchObject({ status: "stopped", body: undefined });
});

test("what both know is one turn, in the order it was asked", () => {
  const mine = { ...newTurn({ message: "later" }), answerId: "a2" };
  const told = [turnOf(TOLD, "s1"), turnOf({ ...TOLD, answer_id: "a2" }, "s1")];
  expect(joined([mine], told).map(({ answerId }) => answerId)).toEqual(["a1", "a2"]);
});

test("a session that is kept here is listed once", () => {
  const here = [{ id: "local", title: "mine", updated: 5, session: "s1" }];
  const info = { workspace: "default", turns: 1, created_at: "", title: "theirs", updated_at: "2026-11-21T06:00:00Z" };
  expect(listed(here, [{ ...info, id: "s1" }, { ...info, id: "s2" }]).map(({ id }) => id)).toEqual(["s2", "local"]);
});
