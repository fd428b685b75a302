/** One way to the server: JSON in, JSON out, and every failure an ApiError with a line a person can act on. */

export class ApiError extends Error {
  constructor(
    message: string,
    readonly code: string,
    readonly status: number,
    readonly retryAfter?: number,
    readonly traceId?: string,
  ) {
    super(message);
  }
}

const HEADERS = { "X-Ragkeep": "1" }; // with a cookie session the server takes no change without it

/** Resolve a path of the API against the page, which may live below a path of its own. */
export function url(path: string, params: Record<string, string | undefined> = {}): string {
  const full = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(params)) if (value) full.searchParams.set(name, value);
  return full.href;
}

export async function send(path: string, init: RequestInit = {}, params?: Record<string, string | undefined>) {
  const headers = { ...HEADERS, ...(init.headers as Record<string, string> | undefined) };
  let response: Response;
  try {
    response = await fetch(url(path, params), { ...init, headers, credentials: "same-origin" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached. Check that it is running, then try again.", "network", 0);
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export async function failure(response: { status: number; headers: Headers; text(): Promise<string> }) {
  return errorOf(response.status, await response.text().catch(() => ""), response.headers.get("Retry-After"));
}

export function errorOf(status: number, body: string, retryAfter?: string | null): ApiError {
  let said: { code?: string; message?: string; trace_id?: string } = {};
  try {
    said = (JSON.parse(body) as { error?: typeof said }).error ?? {};
  } catch {
    // a proxy's own error page: the status alone has to do
  }
  const message = said.message ?? `The server answered ${status}. Try again, or look at its log.`;
  return new ApiError(message, said.code ?? `http_${status}`, status, seconds(retryAfter), said.trace_id);
}

function seconds(retryAfter?: string | null): number | undefined {
  if (!retryAfter) return undefined;
  const given = Number(retryAfter);
  const wait = Number.isFinite(given) ? given : (Date.parse(retryAfter) - Date.now()) / 1000;
  return Number.isFinite(wait) ? Math.max(0, Math.ceil(wait)) : undefined;
}

export async function get<T>(path: string, params?: Record<string, string | undefined>, signal?: AbortSignal) {
  return (await (await send(path, { signal: signal ?? null }, params)).json()) as T;
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  const init = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await (await send(path, init)).json()) as T;
}

export async function remove<T>(path: string, params?: Record<string, string | undefined>): Promise<T | undefined> {
  const text = await (await send(path, { method: "DELETE" }, params)).text();
  return text ? (JSON.parse(text) as T) : undefined;
}

/** What went wrong, and the id by which the server's log and traces know it. */
export type Trouble = { message: string; trace?: string };

export function troubleOf(error: unknown): Trouble {
  return { message: messageOf(error), trace: error instanceof ApiError ? error.traceId : undefined };
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
