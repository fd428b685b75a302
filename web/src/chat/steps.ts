/** The steps of an answer, one after the other: what each took in ms, and where it lies in the whole, in percent. */
export type Step = { name: string; took: number; from: number; to: number };

const WORDS: Record<string, string> = { first_token: "first word", embed: "question", retrieve: "search" };

/** "total" is the whole; "first_token" is a moment within it and no step. */
export function steps(timings: Record<string, number>): Step[] {
  const laps = Object.entries(timings).filter(([name]) => name !== "total" && name !== "first_token");
  const whole = Math.max(timings.total ?? 0, laps.reduce((sum, [, took]) => sum + took, 0)) || 1;
  const percent = (value: number) => Math.round((1000 * value) / whole) / 10;
  let at = 0;
  const made = laps.map(([name, took]) => {
    const step = { name: WORDS[name] ?? name, took, from: percent(at), to: percent(at + took) };
    at += took;
    return step;
  });
  const first = timings.first_token;
  return first === undefined ? made : [...made, { name: WORDS.first_token!, took: first, from: percent(first), to: percent(first) }];
}
