import { type ReactNode, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { Chats } from "./chat/store";
import { HealthNote } from "./HealthNote";
import { History } from "./chat/History";
import { useSession } from "./session";
import { Boundary } from "./ui/Boundary";
import { go, useKept, useMedia } from "./ui/hooks";
import { Icon, type IconName, Mark } from "./ui/Icon";
import { applyTheme, THEMES, type Theme } from "./ui/theme";
import { WorkspaceSwitch } from "./WorkspaceSwitch";

const PAGES: [page: string, title: string, icon: IconName][] = [
  ["chat", "Chat", "chat"],
  ["documents", "Documents", "file"],
  ["operations", "Operations", "pulse"],
];

type Props = { page: string; chats: Chats; chat?: string; children: ReactNode };

export function Shell({ page, chats, chat, children }: Props) {
  const narrow = useMedia("(max-width: 800px)");
  const [open, setOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  const menu = useRef<HTMLButtonElement>(null);
  const title = PAGES.find(([name]) => name === page)?.[1] ?? "Chat";
  useEffect(() => setOpen(false), [page, chat]);
  useEffect(() => {
    document.title = `${title} · ragkeep`;
  }, [title]);
  const close = () => {
    setOpen(false);
    menu.current?.focus();
  };
  return (
    <div className="app" onKeyDown={(event) => event.key === "Escape" && open && (event.preventDefault(), close())}>
      <a className="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to {title.toLowerCase()}
      </a>
      {narrow && (
        <header className="topbar">
          <button ref={menu} type="button" className="icon-button" aria-label="Menu" aria-expanded={open} onClick={() => setOpen(true)}>
            <Icon name="menu" />
          </button>
          <strong>{title}</strong>
          <button type="button" className="icon-button" aria-label="New chat" onClick={() => go("chat")}>
            <Icon name="plus" />
          </button>
        </header>
      )}
      {narrow && open && <div className="shade" onClick={close} />}
      <Side page={page} chats={chats} chat={chat} hidden={narrow && !open} modal={narrow} onClose={close} />
      <main id="main" ref={main} tabIndex={-1} inert={narrow && open}>
        <Boundary key={page === "about" ? "chat" : page}>{children}</Boundary>
      </main>
    </div>
  );
}

type SideProps = Omit<Props, "children"> & { hidden: boolean; modal: boolean; onClose: () => void };

function Side({ page, chats, chat, hidden, modal, onClose }: SideProps) {
  const ref = useRef<HTMLElement>(null);
  const list = useSyncExternalStore(chats.subscribe, chats.list);
  useEffect(() => {
    if (modal && !hidden) ref.current?.querySelector<HTMLElement>("button, a")?.focus();
  }, [modal, hidden]);
  return (
    <section className="side" aria-label="Workspace, pages and chats" ref={ref} inert={hidden} data-open={!hidden}>
      <div className="brand">
        <Mark />
        <span>ragkeep</span>
        {modal && (
          <button type="button" className="icon-button" aria-label="Close menu" onClick={onClose}>
            <Icon name="close" />
          </button>
        )}
      </div>
      <WorkspaceSwitch />
      <nav aria-label="Pages">
        {PAGES.map(([name, title, icon]) => (
          <a key={name} href={`#/${name}`} aria-current={(page === "about" ? "chat" : page) === name ? "page" : undefined}>
            <Icon name={icon} />
            {title}
          </a>
        ))}
      </nav>
      <History chats={chats} list={list} current={chat} />
      <Foot />
    </section>
  );
}

function Foot() {
  const { me } = useSession();
  const [theme, setTheme] = useKept<Theme>("theme", "auto");
  const icons: Record<Theme, IconName> = { auto: "auto", light: "sun", dark: "moon" };
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "auto";
  const label = `Theme: ${theme === "auto" ? "as the system" : theme}. Switch to ${next === "auto" ? "the system's" : next}`;
  return (
    <div className="foot">
      <HealthNote />
      <span className="who" title={me.user}>
        {me.user}
      </span>
      <button type="button" className="icon-button" aria-label={label} title={label} onClick={() => (setTheme(next), applyTheme(next))}>
        <Icon name={icons[theme]} />
      </button>
    </div>
  );
}
