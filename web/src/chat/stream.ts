/** Follow an answer over server-sent events, and pick it up again where a cut connection left it. */
import { ApiError, errorOf, send } from "../api/client";
import { sseParser } from "../api/sse";
import type { ChatRequest } from "../api/types";
import type { TurnEvent } from "./turn";

export type Sink = {
  event(n: number, event: TurnEvent): void;
  cut(): void; // the connection broke; another try follows
  position(): { answerId?: string; last: number };
};

const SILENCE_MS = 40_000; // the server says something every 15 s
const PAUSES_MS = [400, 1000, 2000, 4000, 8000];
const EVENTS = new Set(["start", "sources", "token", "done", "error"]);

/** Ask, or with no request resume, and return once the answer ended. A stream cut before its first event is asked for
 *  again with the same key, which the server answers once. Throws ApiError when it cannot be had; `signal` stops quietly. */
export async function follow(request: ChatRequest | null, sink: Sink, signal: AbortSignal): Promise<void> {
  let reached = !request;
  for (let failures = 0; ; ) {
    const { last: before, answerId } = sink.position();
    try {
      const response = answerId || !request ? await resume(sink, signal) : await open(request, signal);
      reached = true;
      if (await read(response, sink, signal)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!reached || (error instanceof ApiError && error.code !== "network")) throw error;
    }
    if (signal.aborted) return;
    failures = sink.position().last > before ? 0 : failures + 1;
    const pause = PAUSES_MS[failures];
    if (pause === undefined) throw new ApiError("The connection broke, and the answer could not be resumed.", "network", 0);
    sink.cut();
    await sleep(pause, signal);
  }
}

function open(request: ChatRequest, signal: AbortSignal): Promise<Response> {
  const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
  const body = JSON.stringify({ ...request, stream: true });
  return send("v1/chat", { method: "POST", headers, body, signal });
}

function resume(sink: Sink, signal: AbortSignal): Promise<Response> {
  const { answerId = "", last } = sink.position();
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (last >= 0) headers["Last-Event-ID"] = `${answerId}:${last}`;
  return send(`v1/chat/${encodeURIComponent(answerId)}/events`, { headers, signal });
}

/** Read events until the last one; return whether it came. */
async function read(response: Response, sink: Sink, signal: AbortSignal): Promise<boolean> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  if (!reader) throw errorOf(response.status, "");
  const parse = sseParser();
  try {
    for (;;) {
      const { value, done } = await within(SILENCE_MS, reader.read());
      if (done || signal.aborted) return false;
      for (const { id, event, data } of parse(value)) {
        if (!EVENTS.has(event)) continue;
        const typed = { type: event, data: JSON.parse(data) as unknown } as TurnEvent;
        sink.event(Number(id.slice(id.lastIndexOf(":") + 1)), typed);
        if (event === "done" || event === "error") return true;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new ApiError("The server fell silent.", "network", 0)), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
