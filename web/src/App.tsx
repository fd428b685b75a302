import { useMemo } from "react";
import { get, type Trouble } from "./api/client";
import type { Me, Model, Workspace } from "./api/types";
import { ChatView } from "./chat/ChatView";
import { chatsOf } from "./chat/store";
import { DocumentsView } from "./documents/DocumentsView";
import { OperationsView } from "./operations/OperationsView";
import { SessionContext } from "./session";
import { Shell } from "./Shell";
import { SignIn } from "./SignIn";
import { useKept, useLoad, useRoute } from "./ui/hooks";
import { Problem } from "./ui/Problem";

async function loadAll(signal: AbortSignal) {
  const me = await get<Me>("v1/me", {}, signal);
  const none = { workspaces: [] as Workspace[], data: [] as Model[] };
  const [spaces, models] = await Promise.all([
    get<{ workspaces: Workspace[] }>("v1/workspaces", {}, signal).catch(() => none),
    get<{ data: Model[] }>("v1/models", {}, signal).catch(() => none),
  ]);
  return { me, workspaces: spaces.workspaces, models: models.data };
}

export function App() {
  const start = useLoad(loadAll, []);
  if (start.status === 401) return <SignIn onDone={start.reload} />;
  if (start.problem && !start.data) return <Unreachable problem={{ message: start.problem, trace: start.trace }} retry={start.reload} />;
  return start.data ? <Inside {...start.data} reload={start.reload} /> : <div className="loading-page" aria-busy="true" />;
}

type Loaded = Awaited<ReturnType<typeof loadAll>> & { reload: () => void };

function Inside({ me, workspaces, models, reload }: Loaded) {
  const [chosen, setWorkspace] = useKept<string>("workspace", "");
  const [page = "chat", ...rest] = useRoute();
  const rooms = useMemo(() => roomsOf(me, workspaces), [me, workspaces]);
  const room = rooms.find(({ id }) => id === chosen) ?? rooms[0]!;
  const { id: workspace, role } = room;
  const session = useMemo(
    () => ({ me, workspace, workspaces: rooms, role, models, setWorkspace, reload }),
    [me, workspace, rooms, role, models, setWorkspace, reload],
  );
  const chats = chatsOf(me.user, workspace);
  return (
    <SessionContext value={session}>
      <Shell page={page} chats={chats} chat={page === "chat" ? rest[0] : undefined}>
        {page === "documents" ? (
          <DocumentsView key={workspace} />
        ) : page === "operations" ? (
          <OperationsView tab={rest[0] ?? "releases"} />
        ) : (
          <ChatView key={workspace} chats={chats} id={page === "chat" ? rest[0] : undefined} about={page === "about" ? rest : undefined} />
        )}
      </Shell>
    </SessionContext>
  );
}

/** The workspaces one may enter: those the server lists, and those a role is held in that were never made there. */
function roomsOf({ roles }: Me, listed: Workspace[]): Workspace[] {
  const all = roles["*"];
  const named = Object.entries(roles).filter(([id]) => id !== "*" && id !== "ops");
  const given = all && !("default" in roles) ? [["default", all] as const, ...named] : named;
  const unlisted = given.filter(([id]) => !listed.some((each) => each.id === id));
  const rooms = [...unlisted.map(([id, role]) => ({ id, name: id, role })), ...listed];
  return rooms.length ? rooms : [{ id: "default", name: "default", role: all ?? "reader" }];
}

function Unreachable({ problem, retry }: { problem: Trouble; retry: () => void }) {
  return (
    <main className="alone">
      <h1>ragkeep is not answering</h1>
      <Problem of={problem} />
      <button type="button" className="button primary" onClick={retry}>
        Try again
      </button>
    </main>
  );
}
