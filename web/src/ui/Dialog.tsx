import { type FormEvent, type ReactNode, useEffect, useId, useRef, useState } from "react";
import { type Trouble, troubleOf } from "../api/client";
import { Icon } from "./Icon";
import { Problem } from "./Problem";

type Props = { title: string; onClose: () => void; children: ReactNode; wide?: boolean };

/** A modal dialog of the browser's own: it keeps the focus, Esc closes it, and the focus goes back where it was. A wide
 *  one is for reading, and its title stays in sight. */
export function Dialog({ title, onClose, children, wide }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={ref} className={wide ? "wide" : undefined} aria-labelledby={id} onCancel={(event) => (event.preventDefault(), onClose())}>
      {wide ? (
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" className="icon-button" aria-label="Close" onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
      ) : (
        <h2 id={id}>{title}</h2>
      )}
      {children}
    </dialog>
  );
}

type ConfirmProps = Props & { action: string; danger?: boolean; onConfirm: () => Promise<unknown> };

/** Ask before something that cannot be undone, show that it is under way, and what the server said if it refused. */
export function Confirm({ action, danger, onConfirm, onClose, title, children }: ConfirmProps) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Trouble>();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(undefined);
    onConfirm().then(onClose, (error: unknown) => {
      setProblem(troubleOf(error));
      setBusy(false);
    });
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={submit} className="stack">
        {children}
        {problem && <Problem of={problem} />}
        <div className="row end">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button className={danger ? "button danger" : "button primary"} disabled={busy} aria-busy={busy}>
            {action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
