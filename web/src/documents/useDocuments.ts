import { useCallback, useEffect, useRef, useState } from "react";
import { get, type Trouble, troubleOf } from "../api/client";
import type { Doc, Documents } from "../api/types";
import { sendFile, type Upload } from "./upload";

const POLL_MS = 1500;

/** The documents of a workspace, newest first, kept current while any is still being worked on. */
export function useDocuments(workspace: string, status: string) {
  const [documents, setDocuments] = useState<Doc[]>();
  const [next, setNext] = useState<string>();
  const [problem, setProblem] = useState<Trouble>();
  const [uploads, setUploads] = useState<Upload[]>([]);
  const wanted = useRef("");
  wanted.current = `${workspace} ${status}`;

  const load = useCallback(
    async (cursor?: string) => {
      try {
        const page = await get<Documents>("v1/documents", { workspace, status, cursor });
        if (wanted.current !== `${workspace} ${status}`) return;
        setDocuments((now) => (cursor ? merge(now ?? [], page.documents) : page.documents));
        setNext(page.next ?? undefined);
        setProblem(undefined);
      } catch (error) {
        setProblem(troubleOf(error));
      }
    },
    [workspace, status],
  );
  useEffect(() => {
    setDocuments(undefined);
    void load();
  }, [load]);

  const pending = documents?.filter((doc) => doc.status === "submitted").map(({ id }) => id).join(" ") ?? "";
  useEffect(() => {
    if (!pending) return;
    const look = () =>
      pending.split(" ").forEach((id) => {
        const found = get<Doc>(`v1/documents/${encodeURIComponent(id)}`, { workspace });
        void found.then((doc) => setDocuments((now) => now?.map((each) => (each.id === doc.id ? doc : each)))).catch(() => undefined);
      });
    const timer = setInterval(look, POLL_MS);
    return () => clearInterval(timer);
  }, [pending, workspace]);

  const add = async (files: File[]) => {
    const queue = files.map((file) => ({ file, upload: { id: crypto.randomUUID(), name: file.name, size: file.size, sent: 0 } }));
    setUploads((now) => [...queue.map(({ upload }) => upload), ...now.filter((old) => !old.problem)]);
    const edit = (id: string, change: Partial<Upload>) =>
      setUploads((now) => now.map((each) => (each.id === id ? { ...each, ...change } : each)));
    for (const { file, upload } of queue) {
      try {
        const doc = await sendFile(file, workspace, (sent) => edit(upload.id, { sent }));
        setDocuments((now) => merge([doc], now ?? []));
        setUploads((now) => now.filter((each) => each.id !== upload.id));
      } catch (error) {
        edit(upload.id, { problem: troubleOf(error) });
      }
    }
  };
  const forget = (id: string) => setDocuments((now) => now?.filter((doc) => doc.id !== id));
  const dismiss = (id: string) => setUploads((now) => now.filter((each) => each.id !== id));
  return { documents, next, problem, uploads, load, add, forget, dismiss };
}

function merge(first: Doc[], then: Doc[]): Doc[] {
  const known = new Set(first.map(({ id }) => id));
  return [...first, ...then.filter(({ id }) => !known.has(id))];
}
