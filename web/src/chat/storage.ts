/** Conversations kept in this browser, one entry each; where the quota ends, the oldest go first. */
import type { Turn } from "./turn";

export type Summary = { id: string; title: string; updated: number; session?: string };
export type Conversation = Summary & { turns: Turn[] };

const KEEP = 100;

export type Shelf = {
  list(): Summary[];
  load(id: string): Conversation | undefined;
  save(conversation: Conversation): void;
  drop(id: string): void;
};

/** The conversations of one user in one workspace. */
export function openShelf(scope: string, storage: Storage = localStorage): Shelf {
  const index = `ragkeep:${scope}`;
  const entry = (id: string) => `${index}:${id}`;
  const read = <T>(key: string): T | undefined => {
    try {
      return (JSON.parse(storage.getItem(key) ?? "null") as T | null) ?? undefined;
    } catch {
      return undefined; // written by another version, or by hand
    }
  };
  const list = () => read<Summary[]>(index) ?? [];
  const drop = (id: string) => {
    storage.removeItem(entry(id));
    storage.setItem(index, JSON.stringify(list().filter((kept) => kept.id !== id)));
  };
  const write = (conversation: Conversation) => {
    const { id, title, updated, session } = conversation;
    const others = list().filter((kept) => kept.id !== id);
    storage.setItem(entry(id), JSON.stringify(conversation));
    storage.setItem(index, JSON.stringify([{ id, title, updated, session }, ...others].slice(0, KEEP)));
    for (const old of others.slice(KEEP - 1)) storage.removeItem(entry(old.id));
  };
  const save = (conversation: Conversation) => {
    for (;;) {
      try {
        return write(conversation);
      } catch {
        const oldest = list().findLast(({ id }) => id !== conversation.id);
        if (!oldest) return; // nothing left to make room: this one lives in memory only
        drop(oldest.id);
      }
    }
  };
  return { list, load: (id) => read<Conversation>(entry(id)), save, drop };
}
