/** Numbers and times as people read them, in the browser's own language where the language matters. */
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const time = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const full = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });

export const dateOf = (at: string | number) => new Date(typeof at === "number" && at < 1e11 ? at * 1000 : at);

/** A time that is none, such as "", is said to be unknown. */
function say(format: Intl.DateTimeFormat, at: string | number): string {
  const date = dateOf(at);
  return Number.isNaN(date.getTime()) ? "unknown" : format.format(date);
}
export const dayOf = (at: string | number) => say(day, at);
export const timeOf = (at: string | number) => say(time, at);
export const momentOf = (at: string | number) => say(full, at);

export function ago(at: string | number): string {
  const minutes = Math.round((Date.now() - dateOf(at).getTime()) / 60_000);
  if (Number.isNaN(minutes)) return "unknown";
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 60 * 24) return `${Math.round(minutes / 60)} h ago`;
  return minutes < 60 * 24 * 30 ? `${Math.round(minutes / 60 / 24)} d ago` : dayOf(at);
}

export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  return size < 1e6 ? `${(size / 1000).toFixed(size < 1e4 ? 1 : 0)} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

export const count = (n: number) => n.toLocaleString("en");
export const plural = (n: number, one: string, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
export const ms = (value: number) => (value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`);
export const usd = (value: number) => (value === 0 ? "$0" : value < 0.01 ? `$${value.toFixed(5)}` : `$${value.toFixed(2)}`);
export const score = (value: number) => value.toFixed(Math.abs(value) >= 10 ? 1 : 3);

export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
