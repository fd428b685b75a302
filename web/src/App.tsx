import { useMemo } from "react";
import { get } from "./api/client";
import type { Me, Model, Workspace } from "./api/types";
import { ChatView } from "./chat/ChatView";
import { chatsOf } from "./chat/store";
import { DocumentsView } from "./documents/DocumentsView";
import { OperationsView } from "./operations/OperationsView";
import { SessionContext } from "./session";
import { Shell } from "./Shell";
import { SignIn } from "./SignIn";
import { useKept, useLoad, useRoute } from "./ui/hooks";

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
  if (start.problem && !start.data) return <Unreachable problem={start.problem} retry={start.reload} />;
  return start.data ? <Inside {...start.data} reload={start.reload} /> : <div className="loading-page" aria-busy="true" />;
}

type Loaded = Awaited<ReturnType<typeof loadAll>> & { reload: () => void };

function Inside({ me, workspaces, models, reload }: Loaded) {
  const [chosen, setWorkspace] = useKept<string>("workspace", "");
  const [page = "chat", ...rest] = useRoute();
  const named = [...workspaces.map(({ id }) => id), ...Object.keys(me.roles)].filter((id) => id !== "*" && id !== "ops");
  const workspace = named.includes(chosen) ? chosen : (named[0] ?? "default");
  const role = me.roles[workspace] ?? me.roles["*"] ?? workspaces.find(({ id }) => id === workspace)?.role ?? "reader";
  const session = useMemo(
    () => ({ me, workspace, workspaces, role, models, setWorkspace, reload }),
    [me, workspace, workspaces, role, models, setWorkspace, reload],
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

function Unreachable({ problem, retry }: { problem: string; retry: () => void }) {
  return (
    <main className="alone">
      <h1>ragkeep is not answering</h1>
      <p role="alert">{problem}</p>
      <button type="button" className="button primary" onClick={retry}>
        Try again
      </button>
    </main>
  );
}
