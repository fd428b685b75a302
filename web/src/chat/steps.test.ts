import { expect, test } from "vitest";
import { steps } from "./steps";

test("steps lie one after the other, and the first word is a moment", () => {
  expect(steps({ embed: 10, retrieve: 30, first_token: 60, generate: 60, total: 100 })).toEqual([
    { name: "question", took: 10, from: 0, to: 10 },
    { name: "search", took: 30, from: 10, to: 40 },
    { name: "generate", took: 60, from: 40, to: 100 },
    { name: "first word", took: 60, from: 60, to: 60 },
  ]);
});

test("without a total the steps are the whole, and nothing is nothing", () => {
  expect(steps({ cache: 2 })).toEqual([{ name: "cache", took: 2, from: 0, to: 100 }]);
  expect(steps({})).toEqual([]);
});
