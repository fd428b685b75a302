/** Answers as blocks and spans: paragraphs, headings, lists, quotes, code. Nothing else is understood, so nothing else
 *  can be smuggled in: HTML, images and links stay the letters they are. */
export type Span =
  | { type: "text" | "code" | "strong" | "em"; text: string; unsupported?: boolean }
  | { type: "cite"; n: number };
export type Block =
  | { type: "p" | "h"; text: string }
  | { type: "code"; text: string; language: string }
  | { type: "quote"; blocks: Block[] }
  | { type: "list"; ordered: boolean; start: number; items: Block[][] };

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)/;
const HEADING = /^ {0,3}#{1,6}[ \t]+(.*?)[ \t#]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+•]|\d{1,4}[.)])[ \t]+/;

const DEEPEST = 8; // lists in quotes in lists: what lies deeper is shown as the letters it is

export function parseBlocks(text: string, depth = 0): Block[] {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at] ?? "";
    const nests = depth < DEEPEST;
    const take = !line.trim() ? skip : FENCE.test(line) ? fence : nests && QUOTE.test(line) ? quote : nests && ITEM.test(line) ? list : prose;
    const [block, next] = take(lines, at, depth);
    if (block) blocks.push(block);
    at = next;
  }
  return blocks;
}

type Taken = [block: Block | null, next: number];

const skip = (_: string[], at: number): Taken => [null, at + 1];

function fence(lines: string[], at: number): Taken {
  const [, mark = "```", language = ""] = FENCE.exec(lines[at] ?? "") ?? [];
  const closed = (line: string) => line.trim().startsWith(mark) && !line.trim().replaceAll(mark.charAt(0), "");
  let end = at + 1;
  while (end < lines.length && !closed(lines[end] ?? "")) end += 1;
  return [{ type: "code", text: lines.slice(at + 1, end).join("\n"), language }, end + 1];
}

function quote(lines: string[], at: number, depth: number): Taken {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end] ?? "")) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return [{ type: "quote", blocks: parseBlocks(inner.join("\n"), depth + 1) }, end];
}

function list(lines: string[], at: number, depth: number): Taken {
  const first = ITEM.exec(lines[at] ?? "")?.[2] ?? "-";
  const ordered = /\d/.test(first);
  const items: string[][] = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end] ?? "";
    const mark = ITEM.exec(line);
    if (mark && /\d/.test(mark[2] ?? "") === ordered) items.push([line.slice(mark[0].length)]);
    else if (belongs(lines, end)) items.at(-1)?.push(line.replace(/^(?:\t| {1,4})/, ""));
    else break;
  }
  const start = ordered ? Number.parseInt(first, 10) : 1;
  return [{ type: "list", ordered, start, items: items.map((item) => parseBlocks(item.join("\n"), depth + 1)) }, end];
}

/** A line goes on with the item above when it is indented, or blank with such a line or another item after it. */
function belongs(lines: string[], at: number): boolean {
  if (lines[at]?.trim()) return /^(?:\t| {2})/.test(lines[at] ?? "");
  const next = lines[at + 1] ?? "";
  return /^(?:\t| {2,})\S/.test(next) || ITEM.test(next);
}

function prose(lines: string[], at: number): Taken {
  const heading = HEADING.exec(lines[at] ?? "");
  if (heading) return [{ type: "h", text: heading[1] ?? "" }, at + 1];
  let end = at + 1;
  while (end < lines.length && inside(lines[end] ?? "")) end += 1;
  return [{ type: "p", text: lines.slice(at, end).join("\n").trim() }, end];
}

const inside = (line: string) => Boolean(line.trim()) && ![FENCE, HEADING, QUOTE, ITEM].some((mark) => mark.test(line));

const INLINE = /(`+)([^`](?:.*?[^`])?)\1(?!`)|\*\*(?=\S)(.+?)(?<=\S)\*\*|(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![\w*])|\[(\d{1,3})\]/gs;

/** Split a block's text into spans. A marker [n] counts where a source n is `known` and it does not follow a word. */
export function parseSpans(text: string, known: (n: number) => boolean, unsupported: readonly string[] = []): Span[] {
  return cutAt(text, unsupported).flatMap(([piece, bare]) =>
    spans(piece, known).map((span) => (bare && span.type !== "cite" ? { ...span, unsupported: true } : span)),
  );
}

function spans(text: string, known: (n: number) => boolean): Span[] {
  const found: Span[] = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, , code, strong, em, marker] = match;
    const n = Number(marker);
    if (marker && !(known(n) && standsAlone(text.slice(0, match.index), found.at(-1), at === match.index))) continue;
    if (match.index > at) found.push({ type: "text", text: text.slice(at, match.index) });
    if (marker) found.push({ type: "cite", n });
    else if (code !== undefined) found.push({ type: "code", text: code });
    else if (strong !== undefined) found.push({ type: "strong", text: strong });
    else found.push({ type: "em", text: em ?? "" });
    at = match.index + whole.length;
  }
  if (at < text.length) found.push({ type: "text", text: text.slice(at) });
  return found;
}

/** `argv[1]` and `f(x)[1]` are code, ` [1]` and `.[1]` are markers, and so is one right behind another. */
function standsAlone(before: string, last: Span | undefined, adjacent: boolean): boolean {
  if (adjacent && last) return last.type !== "text";
  return !/[\w)[\]]$/.test(before);
}

function cutAt(text: string, sentences: readonly string[]): [piece: string, found: boolean][] {
  const sentence = sentences.find((s) => s.trim() && text.includes(s.trim()))?.trim();
  if (!sentence) return [[text, false]];
  const at = text.indexOf(sentence);
  const rest = sentences.filter((s) => s.trim() !== sentence);
  return [...cutAt(text.slice(0, at), rest), [sentence, true], ...cutAt(text.slice(at + sentence.length), rest)];
}
