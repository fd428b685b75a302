import { expect, test } from "vitest";
import { openShelf } from "./storage";

/** A Storage with room for so many characters. */
function storage(room: number): Storage {
  const kept = new Map<string, string>();
  const size = () => [...kept.values()].join("").length;
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    removeItem: (key: string) => void kept.delete(key),
    setItem: (key: string, value: string) => {
      if (size() - (kept.get(key)?.length ?? 0) + value.length > room) throw new Error("QuotaExceededError");
      kept.set(key, value);
    },
  } as unknown as Storage;
}

const talk = (id: string) => ({ id, title: "t".repeat(300), updated: 1, turns: [] });

test("the oldest chats make room for the newest", () => {
  const shelf = openShelf("u:w", storage(2000));
  for (const id of "abcdef") shelf.save(talk(id));
  expect(shelf.list()[0]?.id).toBe("f");
  expect(shelf.load("f")?.title).toHaveLength(300);
  expect(shelf.load("a")).toBeUndefined();
});

test("chats of one workspace are not those of another", () => {
  const one = storage(9000);
  openShelf("u:w", one).save(talk("a"));
  expect(openShelf("u:other", one).list()).toEqual([]);
});
