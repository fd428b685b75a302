import { get, type Trouble } from "../api/client";
import type { Documents } from "../api/types";
import { useSession } from "../session";
import { useLoad } from "../ui/hooks";
import type { Ask } from "./turn";

export function Empty({ missing, only }: { missing?: Trouble; only?: Ask["only"] }) {
  const { workspace, workspaces, role } = useSession();
  const here = workspaces.find(({ id }) => id === workspace);
  return (
    <div className="empty-chat">
      <h1>{missing ? "This chat is not here" : only ? `Ask about ${only.name}` : "Ask the documents"}</h1>
      <p>
        {missing
          ? `${missing.message} Ask below to begin a new one.`
          : "Every answer names the file and the lines it rests on. Where the documents do not say, it says so."}
      </p>
      {here?.documents === 0 && (
        <p>
          Nothing was uploaded to {here.name} yet.{" "}
          {role === "reader" ? "Someone with the writer role can add documents." : <a href="#/documents">Upload a document</a>}
        </p>
      )}
      {!only && <Starts />}
      <dl className="keys">
        <div>
          <dt><kbd>Enter</kbd></dt>
          <dd>ask</dd>
        </div>
        <div>
          <dt><kbd>Shift</kbd> <kbd>Enter</kbd></dt>
          <dd>new line</dd>
        </div>
        <div>
          <dt><kbd>Esc</kbd></dt>
          <dd>stop</dd>
        </div>
      </dl>
    </div>
  );
}

/** The newest documents that can be asked about: a way in for whoever has no question yet. */
function Starts() {
  const { workspace } = useSession();
  const { data } = useLoad((signal) => get<Documents>("v1/documents", { workspace, status: "processed" }, signal), [workspace]);
  if (!data?.documents.length) return null;
  return (
    <section className="starts" aria-labelledby="starts">
      <h2 id="starts">Ask about one document</h2>
      <ul>
        {data.documents.slice(0, 4).map(({ id, uri, name }) => (
          <li key={id}>
            <a href={`#/about/${encodeURIComponent(uri)}/${encodeURIComponent(name)}`}>{name}</a>
          </li>
        ))}
      </ul>
    </section>
  );
}
