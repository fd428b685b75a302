import { useState } from "react";
import { Confirm } from "../ui/Dialog";
import { ago } from "../ui/format";
import { go } from "../ui/hooks";
import { Icon } from "../ui/Icon";
import type { Summary } from "./storage";
import type { Chats } from "./store";

export function History({ chats, list, current }: { chats: Chats; list: Summary[]; current?: string }) {
  const [doomed, setDoomed] = useState<Summary>();
  const [said, setSaid] = useState("");
  const more = chats.showMore();
  return (
    <section className="history" aria-labelledby="chats">
      <div className="history-head">
        <h2 id="chats">Chats</h2>
        <button type="button" className="button small" onClick={() => go("chat")}>
          <Icon name="plus" />
          New chat
        </button>
      </div>
      {list.length === 0 && <p className="quiet">Your questions will be listed here.</p>}
      {said && <p className="quiet" role="status">{said}</p>}
      <ul>
        {list.map((chat) => (
          <li key={chat.id}>
            <a href={`#/chat/${chat.id}`} aria-current={chat.id === current ? "true" : undefined} title={`${chat.title}, ${ago(chat.updated)}`}>
              {chat.title}
            </a>
            <button type="button" className="icon-button" aria-label={`Delete chat: ${chat.title}`} onClick={() => setDoomed(chat)}>
              <Icon name="trash" />
            </button>
          </li>
        ))}
      </ul>
      {more && (
        <button type="button" className="button small" onClick={() => void more().catch(() => undefined)}>
          Show older chats
        </button>
      )}
      {doomed && (
        <Confirm
          title="Delete this chat?"
          action="Delete"
          danger
          onClose={() => setDoomed(undefined)}
          onConfirm={async () => {
            const models = await chats.drop(doomed.id);
            setSaid(models.length ? `Models trained on it, to be replaced by the next training: ${models.join(", ")}.` : "");
            if (doomed.id === current) go("chat");
          }}
        >
          <p>
            “{doomed.title}” goes from this browser, and from the server’s memory, log and later training sets. This cannot be undone.
          </p>
        </Confirm>
      )}
    </section>
  );
}
