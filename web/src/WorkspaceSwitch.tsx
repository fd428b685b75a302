import { useState } from "react";
import { post } from "./api/client";
import type { Workspace } from "./api/types";
import { useSession } from "./session";
import { Confirm } from "./ui/Dialog";
import { go } from "./ui/hooks";
import { Icon } from "./ui/Icon";

export function WorkspaceSwitch() {
  const { workspace, workspaces, setWorkspace } = useSession();
  const [making, setMaking] = useState(false);
  const change = (id: string) => {
    setWorkspace(id);
    if (/^#\/(chat|about)\//.test(location.hash)) go("chat"); // that chat belongs to the workspace left behind
  };
  return (
    <div className="workspace">
      <select aria-label="Workspace" value={workspace} onChange={(event) => change(event.target.value)}>
        {workspaces.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
      <button type="button" className="icon-button" aria-label="New workspace" title="New workspace" onClick={() => setMaking(true)}>
        <Icon name="plus" />
      </button>
      {making && <NewWorkspace onClose={() => setMaking(false)} onMade={change} />}
    </div>
  );
}

function NewWorkspace({ onClose, onMade }: { onClose: () => void; onMade: (id: string) => void }) {
  const { reload } = useSession();
  const [name, setName] = useState("");
  const make = async () => {
    const made = await post<Workspace | { workspaces: Workspace[] }>("v1/workspaces", { name });
    reload();
    const id = "id" in made ? made.id : made.workspaces.find((each) => each.name === name)?.id;
    if (id) onMade(id);
  };
  return (
    <Confirm title="New workspace" action="Create" onClose={onClose} onConfirm={make}>
      <p className="quiet">Documents and chats of a workspace are seen only by those who have a role in it.</p>
      <label className="field">
        Name
        <input required autoFocus maxLength={80} value={name} onChange={(event) => setName(event.target.value)} />
      </label>
    </Confirm>
  );
}
