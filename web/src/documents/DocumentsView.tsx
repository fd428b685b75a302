import { type DragEvent, useRef, useState } from "react";
import { remove } from "../api/client";
import type { Deleted, Doc } from "../api/types";
import { useSession } from "../session";
import { Confirm } from "../ui/Dialog";
import { ago, bytes, momentOf, plural } from "../ui/format";
import { Icon } from "../ui/Icon";
import { Problem } from "../ui/Problem";
import type { Upload } from "./upload";
import { useDocuments } from "./useDocuments";

const STATUS = { submitted: "Being read", processed: "Ready", error: "Not readable" };

export function DocumentsView() {
  const { workspace, workspaces, role } = useSession();
  const [status, setStatus] = useState("");
  const { documents, next, problem, uploads, load, add, forget, dismiss } = useDocuments(workspace, status);
  const [doomed, setDoomed] = useState<Doc>();
  const [said, setSaid] = useState("");
  const writer = role !== "reader";
  const name = workspaces.find(({ id }) => id === workspace)?.name ?? workspace;
  const gone = async (doc: Doc) => {
    const answer = await remove<Deleted>(`v1/documents/${encodeURIComponent(doc.id)}`);
    const models = answer?.models_trained_on ?? [];
    const after = models.length ? ` Models trained on it, to be replaced by the next training: ${models.join(", ")}.` : "";
    setSaid(`${doc.name} was deleted from the index, the cache, memory and the log.${after}`);
    forget(doc.id);
  };
  return (
    <DropZone enabled={writer} onFiles={(files) => void add(files)}>
      <div className="page-head">
        <div>
          <h1>Documents</h1>
          <p className="quiet">What the answers in {name} may rest on, besides the sources the night takes in.</p>
        </div>
        {writer ? <UploadButton onFiles={(files) => void add(files)} /> : <p className="quiet">To add documents you need the writer role.</p>}
      </div>
      <p className="said" role="status">{said}</p>
      {problem && <Problem of={problem} />}
      {uploads.length > 0 && <Uploads uploads={uploads} onDismiss={dismiss} />}
      <div className="row wrap filters" role="group" aria-label="Show documents">
        {["", ...Object.keys(STATUS)].map((each) => (
          <button key={each} type="button" className="tab" aria-pressed={status === each} onClick={() => setStatus(each)}>
            {each ? STATUS[each as Doc["status"]] : "All"}
          </button>
        ))}
      </div>
      {documents?.length === 0 && uploads.length === 0 && <NoDocuments status={status} writer={writer} />}
      <ul className="documents" aria-label="Documents" aria-busy={!documents}>
        {documents?.map((doc) => <DocRow key={doc.id} doc={doc} writer={writer} onDelete={() => setDoomed(doc)} />)}
      </ul>
      {next && (
        <button type="button" className="button" onClick={() => void load(next)}>
          Show more
        </button>
      )}
      {role === "admin" && <DeleteWorkspace name={name} />}
      {doomed && (
        <Confirm title="Delete this document?" action="Delete" danger onClose={() => setDoomed(undefined)} onConfirm={() => gone(doomed)}>
          <p>
            <b className="break">{doomed.name}</b> leaves the index, cached answers, memory, the interaction log and later training sets. This cannot
            be undone.
          </p>
        </Confirm>
      )}
    </DropZone>
  );
}

function DeleteWorkspace({ name }: { name: string }) {
  const { workspace, reload } = useSession();
  const [asking, setAsking] = useState(false);
  return (
    <div className="row end">
      <button type="button" className="button small danger" onClick={() => setAsking(true)}>
        Delete this workspace
      </button>
      {asking && (
        <Confirm
          title={`Delete the workspace ${name}?`}
          action="Delete workspace"
          danger
          onClose={() => setAsking(false)}
          onConfirm={() => remove(`v1/workspaces/${encodeURIComponent(workspace)}`).then(reload)}
        >
          <p>All its documents, answers and conversations go with it, and everybody's roles in it. This cannot be undone.</p>
        </Confirm>
      )}
    </div>
  );
}

function UploadButton({ onFiles }: { onFiles: (files: File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label="Files to upload"
        onChange={(event) => {
          onFiles([...(event.target.files ?? [])]);
          event.target.value = ""; // the same file may be chosen again
        }}
      />
      <button type="button" className="button primary" onClick={() => input.current?.click()}>
        <Icon name="upload" />
        Upload
      </button>
    </>
  );
}

type DropProps = { enabled: boolean; onFiles: (files: File[]) => void; children: React.ReactNode };

function DropZone({ enabled, onFiles, children }: DropProps) {
  const [over, setOver] = useState(false);
  const drag = (event: DragEvent) => {
    if (!enabled || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    setOver(true);
  };
  const leave = (event: DragEvent) => {
    if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
  };
  const drop = (event: DragEvent) => {
    if (!enabled) return;
    event.preventDefault();
    setOver(false);
    onFiles([...event.dataTransfer.files]);
  };
  return (
    <div className="page drop" data-over={over} onDragEnter={drag} onDragOver={drag} onDragLeave={leave} onDrop={drop}>
      {children}
      {over && <p className="drop-hint">Drop to upload</p>}
    </div>
  );
}

function Uploads({ uploads, onDismiss }: { uploads: Upload[]; onDismiss: (id: string) => void }) {
  return (
    <ul className="uploads" aria-label="Uploads under way">
      {uploads.map(({ id, name, size, sent, problem }) => (
        <li key={id}>
          <span className="break">{name}</span>
          <span className="quiet">{bytes(size)}</span>
          {problem ? (
            <Problem of={problem} />
          ) : (
            <progress aria-label={`Uploading ${name}`} max={1} value={sent} />
          )}
          {problem && (
            <button type="button" className="icon-button" aria-label={`Dismiss ${name}`} onClick={() => onDismiss(id)}>
              <Icon name="close" />
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}

function NoDocuments({ status, writer }: { status: string; writer: boolean }) {
  if (status) return <p className="empty">No documents in this state.</p>;
  return (
    <div className="empty">
      <h2>No documents yet</h2>
      <p>
        {writer
          ? "Drop files here or use Upload: PDF, Word, HTML, Markdown, text and source code. They answer within seconds."
          : "Someone with the writer role can upload documents. You can ask about the sources the night takes in."}
      </p>
      <a className="button" href="#/chat">
        Ask a question
      </a>
    </div>
  );
}

function DocRow({ doc, writer, onDelete }: { doc: Doc; writer: boolean; onDelete: () => void }) {
  const { id, name, uri, size, status, reason, chunks, created_at: at } = doc;
  const facts = [bytes(size), chunks != null && status === "processed" && plural(chunks, "passage"), ago(at)].filter(Boolean);
  return (
    <li>
      <div className="doc-text">
        <strong className="break">{name}</strong>
        <span className="quiet" title={momentOf(at)}>
          {facts.join(" · ")}
        </span>
        {status === "error" && <span className="problem">{reason || "No reason was given; see the server's log."}</span>}
      </div>
      <span className="badge" data-status={status}>
        {STATUS[status]}
      </span>
      <div className="row">
        {status === "processed" && (
          <a className="button small" href={`#/about/${encodeURIComponent(uri)}/${encodeURIComponent(name)}`} aria-label={`Ask about ${name}`}>
            Ask about it
          </a>
        )}
        {writer && (
          <button type="button" className="icon-button" aria-label={`Delete ${name}`} title="Delete" data-id={id} onClick={onDelete}>
            <Icon name="trash" />
          </button>
        )}
      </div>
    </li>
  );
}
