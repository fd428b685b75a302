/** Server-sent events from a stream of text, as the HTML standard parses them. */
export type SseEvent = { id: string; event: string; data: string };

/** Return a function to feed pieces of a stream; whole events come out, comments and half events do not. */
export function sseParser(): (piece: string) => SseEvent[] {
  let rest = "";
  let lines: string[] = [];
  return (piece) => {
    const found: SseEvent[] = [];
    rest += piece;
    const parts = rest.split(/\r\n|\n|\r(?!$)/);
    rest = parts.pop() ?? "";
    for (const line of parts) {
      if (line) {
        lines.push(line);
        continue;
      }
      const event = fields(lines);
      lines = [];
      if (event.data) found.push(event);
    }
    return found;
  };
}

function fields(lines: string[]): SseEvent {
  const event: SseEvent = { id: "", event: "message", data: "" };
  const data: string[] = [];
  for (const line of lines) {
    const [, name = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (name === "id") event.id = value;
    else if (name === "event") event.event = value;
    else if (name === "data") data.push(value);
  }
  return { ...event, data: data.join("\n") };
}
