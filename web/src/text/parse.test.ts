import { expect, test } from "vitest";
import { parseBlocks, parseSpans } from "./parse";

const all = () => true;
const kinds = (text: string) => parseBlocks(text).map(({ type }) => type);

test("paragraphs, lists, code, quotes and headings are told apart", () => {
  expect(kinds("One\nline.\n\n- a\n- b\n\n```py\n- c\n```\n> said\n## Head")).toEqual(["p", "list", "code", "quote", "h"]);
});

test("a list holds lists and code of its own", () => {
  const [list] = parseBlocks("1. a\n   - b\n   - c\n2. d\n\n   ```\n   x\n   ```");
  expect(list).toMatchObject({ ordered: true, items: [[{ type: "p" }, { type: "list" }], [{ type: "p" }, { type: "code", text: "x" }]] });
});

test("a fence that is not closed yet takes what is there", () => {
  expect(parseBlocks("```py\nx = 1")).toEqual([{ type: "code", language: "py", text: "x = 1" }]);
});

test("HTML, images and links stay letters", () => {
  const text = '<img src=x onerror=alert(1)> ![a](http://x) [b](javascript:c)';
  expect(parseSpans(text, all)).toEqual([{ type: "text", text }]);
});

test("a marker is a citation, an index is not", () => {
  const found = parseSpans("argv[1] is first. [1][2] See `x[3]` and f(x)[1].[3]", all);
  expect(found.filter((span) => span.type === "cite").map((span) => span.n)).toEqual([1, 2, 3]);
});

test("a marker without a source stays text", () => {
  expect(parseSpans("so. [9]", () => false)).toEqual([{ type: "text", text: "so. [9]" }]);
});

test("sentences without a passage are marked where they stand", () => {
  const found = parseSpans("Sure. [1] **Maybe** not.", all, ["**Maybe** not."]);
  expect(found.filter((span) => "unsupported" in span).map((span) => span.type)).toEqual(["strong", "text"]);
});

test("stars in code and sums are no emphasis", () => {
  expect(parseSpans("2 * 3 * 4 and a_b_c", all)).toEqual([{ type: "text", text: "2 * 3 * 4 and a_b_c" }]);
});

test.each(["> ", "- ", "1. "])("ten thousand times %o is no way to break the page", (mark) => {
  expect(JSON.stringify(parseBlocks(mark.repeat(10_000) + "deep"))).toContain("deep");
});

test("a text of 100,000 characters is read at once", () => {
  const began = performance.now();
  parseBlocks("* **".repeat(25_000)).forEach((block) => "text" in block && parseSpans(block.text, all));
  parseSpans("`".repeat(3_000) + "**[1".repeat(3_000), all);
  expect(performance.now() - began).toBeLessThan(1500);
});
