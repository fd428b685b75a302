import { expect, test } from "vitest";
import { sseParser } from "./sse";

const STREAM = ": keep-alive\n\nid: a:1\nevent: token\ndata: {\"text\":\ndata:  \"x\"}\n\nid: a:2\r\nevent: done\r\ndata: {}\r\n\r\n";

test.each([1, 2, 7, 500])("events are whole whatever the pieces: %i characters", (size) => {
  const parse = sseParser();
  const pieces = STREAM.match(new RegExp(`[^]{1,${size}}`, "g")) ?? [];
  expect(pieces.flatMap(parse)).toEqual([
    { id: "a:1", event: "token", data: '{"text":\n "x"}' },
    { id: "a:2", event: "done", data: "{}" },
  ]);
});

test("an event that was cut off does not come out", () => {
  expect(sseParser()("id: a:1\nevent: token\ndata: {}")).toEqual([]);
});
