import { type FormEvent, useState } from "react";
import { get, post, remove, type Trouble, troubleOf } from "../api/client";
import type { Key, NewKey } from "../api/types";
import { useSession } from "../session";
import { CopyButton } from "../ui/CopyButton";
import { Confirm, Dialog } from "../ui/Dialog";
import { momentOf } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Icon } from "../ui/Icon";
import { Problem } from "../ui/Problem";
import { Part, Table } from "./Part";

const SCOPES = {
  chat: "ask, search and vote",
  documents: "add and delete documents",
  ops: "read operations, roll back and promote",
  admin: "make keys and workspaces",
};

export function KeysView() {
  const loaded = useLoad((signal) => get<{ keys: Key[] }>("v1/keys", {}, signal), []);
  const [making, setMaking] = useState(false);
  const [doomed, setDoomed] = useState<Key>();
  return (
    <Part loaded={loaded}>
      {({ keys }) => (
        <>
          <div className="row between wrap">
            <p className="quiet">A key lets a program ask in your name. It is shown once, when it is made.</p>
            <button type="button" className="button primary" onClick={() => setMaking(true)}>
              <Icon name="key" />
              New key
            </button>
          </div>
          {keys.length ? <KeyTable keys={keys} onRevoke={setDoomed} /> : <p className="empty">No keys yet. Make one for each program that asks.</p>}
          {making && <NewKeyDialog onClose={() => setMaking(false)} onMade={loaded.reload} />}
          {doomed && (
            <Confirm
              title={`Revoke ${doomed.name}?`}
              action="Revoke"
              danger
              onClose={() => setDoomed(undefined)}
              onConfirm={() => remove(`v1/keys/${encodeURIComponent(doomed.id)}`).then(loaded.reload)}
            >
              <p>Programs that use this key are refused from now on. This cannot be undone.</p>
            </Confirm>
          )}
        </>
      )}
    </Part>
  );
}

const ROLES = { reader: "reader: ask and vote", writer: "writer: documents too", admin: "admin: keys and the workspace too" };

function spacesOf({ roles, workspaces }: Key): string {
  const held = roles ?? workspaces ?? {};
  const pairs = Array.isArray(held) ? held.map((id) => [id, ""]) : Object.entries(held);
  return pairs.map(([id, role]) => `${id === "*" ? "all" : id}${role ? ` (${role})` : ""}`).join(", ") || "all";
}

function KeyTable({ keys, onRevoke }: { keys: Key[]; onRevoke: (key: Key) => void }) {
  const when = (at?: string | null) => (at ? momentOf(at) : "never");
  const rows = keys.map((key) => [
    <strong key="n" className="break">{key.name}</strong>,
    key.scopes.join(", "),
    spacesOf(key),
    when(key.expires_at),
    key.revoked_at ? (
      <span className="badge" data-status="error">revoked</span>
    ) : (
      <button key="x" type="button" className="button small danger" aria-label={`Revoke ${key.name}`} onClick={() => onRevoke(key)}>
        Revoke
      </button>
    ),
  ]);
  return <Table label="API keys" head={["Name", "May", "Workspaces", "Expires", ""]} rows={rows} />;
}

function NewKeyDialog({ onClose, onMade }: { onClose: () => void; onMade: () => void }) {
  const [made, setMade] = useState("");
  return (
    <Dialog title={made ? "Copy the key now" : "New API key"} onClose={onClose}>
      {made ? (
        <div className="stack">
          <p>It is not kept in readable form and cannot be shown again.</p>
          <code className="secret">{made}</code>
          <div className="row end">
            <CopyButton wide text={made} label="Copy key" />
            <button type="button" className="button primary" onClick={onClose}>
              Done
            </button>
          </div>
        </div>
      ) : (
        <KeyForm onClose={onClose} onMade={(key) => (setMade(key), onMade())} />
      )}
    </Dialog>
  );
}

function KeyForm({ onClose, onMade }: { onClose: () => void; onMade: (key: string) => void }) {
  const { me, workspace, workspaces } = useSession();
  const [scopes, setScopes] = useState<string[]>(["chat"]);
  const [problem, setProblem] = useState<Trouble>();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const until = form.get("expires") as string;
    const space = form.get("workspace") as string;
    const asked = { name: form.get("name"), scopes, workspaces: { [space]: form.get("role") }, expires_at: until ? `${until}T23:59:59Z` : undefined };
    post<NewKey>("v1/keys", asked).then(
      (key) => onMade(key.key ?? key.secret ?? key.token ?? ""),
      (error: unknown) => setProblem(troubleOf(error)),
    );
  };
  const toggle = (scope: string, on: boolean) => setScopes((now) => (on ? [...now, scope] : now.filter((each) => each !== scope)));
  return (
    <form className="stack" onSubmit={submit}>
      <label className="field">
        Name
        <input name="name" required autoFocus maxLength={80} placeholder="Which program is it for?" />
      </label>
      <fieldset className="field">
        <legend>It may</legend>
        {Object.entries(SCOPES).map(([scope, words]) => (
          <label key={scope} className="check">
            <input type="checkbox" checked={scopes.includes(scope)} onChange={(event) => toggle(scope, event.target.checked)} />
            <span>
              <b>{scope}</b> <span className="quiet">{words}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <label className="field">
        Workspace
        <select name="workspace" defaultValue={workspace}>
          {me.roles["*"] && <option value="*">all workspaces</option>}
          {workspaces.map(({ id, name }) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label className="field">
        Role there
        <select name="role">
          {Object.entries(ROLES).map(([role, words]) => (
            <option key={role} value={role}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <label className="field">
        Last day it works (empty: until revoked)
        <input type="date" name="expires" />
      </label>
      {problem && <Problem of={problem} />}
      <div className="row end">
        <button type="button" className="button" onClick={onClose}>
          Cancel
        </button>
        <button className="button primary" disabled={scopes.length === 0}>
          Create key
        </button>
      </div>
    </form>
  );
}
