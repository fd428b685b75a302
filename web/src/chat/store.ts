/** Conversations and the answers under way in them. It lives outside the components: an answer goes on streaming while
 *  another chat or page is looked at. */
import { ApiError, get, messageOf, post, remove, type Trouble, troubleOf } from "../api/client";
import type { Deleted, Feedback, SessionInfo, SessionTurn } from "../api/types";
import { joined, listed, turnOf as turnTold } from "./sessions";
import { type Conversation, openShelf, type Summary } from "./storage";
import { follow } from "./stream";
import { type Ask, type Given, isOpen, newTurn, reduce, type Turn } from "./turn";

export type Chats = ReturnType<typeof openChats>;

const FORGOTTEN_MS = 600_000;
const PAGES = 10; // of 100 turns, at most, of a conversation that is opened again
const RESTART = { text: "", last: -1, status: "waiting" } as const;
const opened = new Map<string, Chats>();

/** The chats of a user in a workspace; the same object each time. */
export function chatsOf(user: string, workspace: string): Chats {
  const scope = `${user}:${workspace}`;
  const chats = opened.get(scope) ?? openChats(scope, workspace);
  opened.set(scope, chats);
  return chats;
}

function openChats(scope: string, workspace: string) {
  const shelf = openShelf(scope);
  const loaded = new Map<string, Conversation>();
  const running = new Map<string, AbortController>();
  const listeners = new Set<() => void>();
  const fetching = new Set<string>();
  const absent = new Map<string, Trouble>();
  let told: SessionInfo[] = [];
  let more = ""; // the cursor of the server's next page of sessions
  let list: Summary[] = shelf.list();
  let due = 0;

  const notify = () => {
    due = 0;
    listeners.forEach((listen) => listen());
  };
  const soon = () => {
    due ||= document.hidden ? window.setTimeout(notify, 200) : requestAnimationFrame(notify);
  };

  function put(conversation: Conversation, keep: boolean): void {
    loaded.set(conversation.id, conversation);
    if (!keep) return soon();
    shelf.save(conversation);
    listAgain();
  }

  function listAgain(): void {
    list = listed(shelf.list(), told);
    notify();
  }

  /** Ask the server for the sessions it knows of this user; without an answer the list is what this browser has. */
  async function refresh(next = ""): Promise<void> {
    const page = await get<{ sessions: SessionInfo[]; next: string }>("v1/sessions", { workspace, cursor: next });
    told = next ? [...told, ...page.sessions] : page.sessions;
    more = page.next;
    listAgain();
    for (const { id, session } of [...loaded.values()]) if (session) catchUp(id, session);
  }

  /** Fetch what was said in a session elsewhere, where the server knows of more turns than this browser. */
  function catchUp(id: string, session: string): void {
    const here = loaded.get(id)?.turns.filter(({ body, status }) => body || status === "stopped").length ?? 0;
    if ((told.find((each) => each.id === session)?.turns ?? 0) > here) void pull(id, session);
  }

  /** Bring a session's turns here. A failure is kept for a conversation that this browser has nothing of. */
  async function pull(id: string, session: string): Promise<void> {
    if (fetching.has(id)) return;
    fetching.add(id);
    absent.delete(id);
    try {
      const turns: Turn[] = [];
      for (let cursor = "", page = 0; page < PAGES; page++) {
        const path = `v1/sessions/${encodeURIComponent(session)}`;
        const found = await get<{ turns: SessionTurn[]; earlier: string }>(path, { workspace, cursor, limit: "100" });
        turns.unshift(...found.turns.map((turn) => turnTold(turn, session)));
        if (!(cursor = found.earlier)) break;
      }
      const title = told.find((each) => each.id === session)?.title || (turns[0]?.ask.message ?? "").slice(0, 80);
      const known = loaded.get(id) ?? { id, title, session, updated: turns.at(-1)?.at ?? 0, turns: [] };
      put({ ...known, turns: joined(known.turns, turns) }, true);
    } catch (error) {
      absent.set(id, troubleOf(error));
      notify();
    } finally {
      fetching.delete(id);
    }
  }

  function change(id: string, turnId: string, edit: (turn: Turn) => Turn, keep = true): void {
    const conversation = loaded.get(id);
    if (!conversation) return;
    const turns = conversation.turns.map((turn) => (turn.id === turnId ? edit(turn) : turn));
    const session = turns.at(-1)?.session ?? conversation.session;
    put({ ...conversation, turns, session }, keep);
  }

  const turnOf = (id: string, turnId: string) => loaded.get(id)?.turns.find((turn) => turn.id === turnId);

  async function run(id: string, turn: Turn, fresh: boolean): Promise<void> {
    const control = new AbortController();
    running.set(turn.id, control);
    const { message, model, compare, only } = turn.ask;
    const session = loaded.get(id)?.session;
    const filters = only && { uri: only.uri };
    const request = { message, session, workspace, model, compare, filters, idempotency_key: turn.id };
    const sink = {
      event: (n: number, event: Parameters<typeof reduce>[2]) =>
        change(id, turn.id, (now) => reduce(now, n, event), event.type !== "token"),
      cut: () => change(id, turn.id, (now) => (isOpen(now) ? { ...now, status: "reconnecting" } : now)),
      position: () => turnOf(id, turn.id) ?? turn,
    };
    try {
      await follow(fresh ? request : null, sink, control.signal);
    } catch (error) {
      const { code = "page", retryAfter, traceId } = error instanceof ApiError ? error : {};
      const problem = { code, message: messageOf(error), retryAfter, trace_id: traceId };
      change(id, turn.id, (now) => (isOpen(now) ? { ...now, status: "failed", problem } : now));
    } finally {
      running.delete(turn.id);
    }
  }

  /** Begin a conversation or go on with one; returns its id. */
  function ask(id: string | undefined, what: Ask): string {
    const turn = newTurn(what);
    const known = id ? open(id) : undefined;
    const title = what.message.replace(/\s+/g, " ").slice(0, 80);
    const base: Conversation = known ?? { id: crypto.randomUUID(), title, updated: 0, turns: [] };
    put({ ...base, updated: Date.now(), turns: [...base.turns, turn] }, true);
    void run(base.id, turn, true);
    return base.id;
  }

  /** Ask a turn's question again in its place; after a broken connection with the same key, so it is answered once. */
  function retry(id: string, turn: Turn): void {
    const key = turn.problem?.code === "network" && !turn.answerId ? turn.id : crypto.randomUUID();
    const again: Turn = { ...newTurn(turn.ask), id: key };
    change(id, turn.id, () => again);
    void run(id, again, true);
  }

  function stop(id: string, turn: Turn): void {
    const { answerId } = turnOf(id, turn.id) ?? turn;
    running.get(turn.id)?.abort();
    change(id, turn.id, (now) => (isOpen(now) ? { ...now, status: "stopped" } : now));
    if (answerId) void remove(`v1/chat/${encodeURIComponent(answerId)}`).catch(() => undefined);
  }

  function open(id: string): Conversation | undefined {
    const known = loaded.get(id) ?? shelf.load(id);
    if (known && !loaded.has(id)) {
      loaded.set(id, known);
      known.turns.filter(isOpen).forEach((turn) => revive(id, turn));
      if (known.session) catchUp(id, known.session);
    }
    if (!known && !absent.has(id)) void pull(id, id); // a session of another browser has its own name
    return known;
  }

  /** Why a conversation is not here: undefined while the server is asked for it. */
  const missing = (id: string): Trouble | undefined => absent.get(id);

  /** Take up an answer that was under way when the page was closed: its whole stream again, from the start. */
  function revive(id: string, turn: Turn): void {
    const lost = { code: "lost", message: "The page was closed before this was answered. Ask again." };
    const old = !turn.answerId && Date.now() - turn.at > FORGOTTEN_MS;
    const again: Turn = old ? { ...turn, status: "failed", problem: lost } : { ...turn, ...RESTART };
    queueMicrotask(() => {
      change(id, turn.id, () => again);
      if (!old) void run(id, again, !turn.answerId);
    });
  }

  async function give(id: string, turn: Turn, feedback: Feedback, given: Given): Promise<void> {
    const answer = await post<{ logged?: boolean }>("v1/feedback", feedback);
    const unlogged = answer.logged === false;
    change(id, turn.id, (now) => ({ ...now, given: { ...now.given, ...given, unlogged } }));
  }

  /** Delete a conversation, on the server first; returns the models that were trained on it. */
  async function drop(id: string): Promise<string[]> {
    const known = loaded.get(id) ?? shelf.load(id);
    known?.turns.filter(isOpen).forEach((turn) => stop(id, turn));
    const session = known ? known.session : id;
    const gone = session ? await erased(session) : [];
    loaded.delete(id);
    absent.set(id, { message: "This chat was deleted." });
    shelf.drop(id);
    told = told.filter((each) => each.id !== session);
    listAgain();
    return gone;
  }

  async function erased(session: string): Promise<string[]> {
    try {
      const answer = await remove<Deleted>(`v1/sessions/${encodeURIComponent(session)}`, { workspace });
      return answer?.models_trained_on ?? [];
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return []; // it was never recorded, or is gone already
      throw error;
    }
  }

  const subscribe = (listen: () => void) => {
    listeners.add(listen);
    return () => void listeners.delete(listen);
  };
  void refresh().catch(() => undefined);
  const showMore = () => (more ? () => refresh(more) : undefined);
  return { workspace, subscribe, list: () => list, open, missing, showMore, ask, retry, stop, give, drop };
}
