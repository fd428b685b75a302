import { type Dispatch, type KeyboardEvent, type SetStateAction, useEffect, useLayoutEffect, useRef } from "react";
import type { Model } from "../api/types";
import { useSession } from "../session";
import { useKept, useMedia } from "../ui/hooks";
import { Icon } from "../ui/Icon";
import type { Ask } from "./turn";

export type Options = Omit<Ask, "message">;
type Props = {
  options: Options;
  onOptions: Dispatch<SetStateAction<Options>>;
  onAsk: (message: string) => void;
  onStop: () => void;
  running: boolean;
};

export function Composer({ options, onOptions, onAsk, onStop, running }: Props) {
  const [draft, setDraft] = useKept<string>("draft", "");
  const box = useRef<HTMLTextAreaElement>(null);
  const touch = useMedia("(pointer: coarse)");
  useLayoutEffect(() => fit(box.current), [draft]);
  useEffect(() => {
    if (!touch) box.current?.focus(); // on a phone the keyboard would cover the page
  }, [touch]);
  const send = () => {
    if (!draft.trim() || running) return;
    onAsk(draft.trim());
    setDraft("");
  };
  const key = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  return (
    <form className="composer" onSubmit={(event) => (event.preventDefault(), send())}>
      {options.only && (
        <p className="chip">
          Only in <b>{options.only.name}</b>
          <button
            type="button"
            className="icon-button"
            aria-label="Ask all documents again"
            onClick={() => onOptions((now) => ({ ...now, only: undefined }))}
          >
            <Icon name="close" />
          </button>
        </p>
      )}
      <textarea
        ref={box}
        rows={1}
        aria-label="Your question"
        placeholder="Ask a question"
        value={draft}
        onChange={(event) => setDraft(event.target.value)}
        onKeyDown={key}
      />
      <div className="composer-foot">
        <ModelChoice options={options} onOptions={onOptions} />
        {running ? (
          <button type="button" className="button primary round" aria-label="Stop (Esc)" title="Stop (Esc)" onClick={onStop}>
            <Icon name="stop" />
          </button>
        ) : (
          <button className="button primary round" aria-label="Ask" title="Ask (Enter)" disabled={!draft.trim()}>
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  );
}

/** Grow with the text where the style sheet's field-sizing is not known yet. */
function fit(box: HTMLTextAreaElement | null): void {
  if (!box || CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

type ChoiceProps = Pick<Props, "options" | "onOptions">;

function ModelChoice({ options, onOptions }: ChoiceProps) {
  const { models } = useSession();
  const others = models.filter(({ id }) => id !== (options.model ?? models[0]?.id));
  if (models.length < 2) return <span />;
  const choose = (id: string) => {
    const model = id === models[0]?.id ? undefined : id;
    onOptions((now) => ({ ...now, model, compare: now.compare?.filter((other) => other !== id) }));
  };
  return (
    <div className="choices">
      <select aria-label="Model" value={options.model ?? models[0]?.id} onChange={(event) => choose(event.target.value)}>
        {models.map(({ id }) => (
          <option key={id}>{id}</option>
        ))}
      </select>
      <Compare others={others} chosen={options.compare ?? []} onChoose={(compare) => onOptions((now) => ({ ...now, compare }))} />
    </div>
  );
}

type CompareProps = { others: Model[]; chosen: string[]; onChoose: (compare?: string[]) => void };

function Compare({ others, chosen, onChoose }: CompareProps) {
  const ref = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      if (ref.current && !ref.current.contains(event.target as Node)) ref.current.open = false;
    };
    document.addEventListener("pointerdown", close);
    return () => document.removeEventListener("pointerdown", close);
  }, []);
  const toggle = (id: string, on: boolean) => {
    const next = on ? [...chosen, id] : chosen.filter((other) => other !== id);
    onChoose(next.length ? next : undefined);
  };
  const escape = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !ref.current?.open) return;
    event.preventDefault();
    ref.current.open = false;
    ref.current.querySelector("summary")?.focus();
  };
  return (
    <details className="compare-with" ref={ref} onKeyDown={escape}>
      <summary>{chosen.length ? `Compare with ${chosen.length}` : "Compare"}</summary>
      <fieldset>
        <legend>Ask these too, side by side</legend>
        {others.map(({ id }) => (
          <label key={id}>
            <input type="checkbox" checked={chosen.includes(id)} onChange={(event) => toggle(id, event.target.checked)} />
            {id}
          </label>
        ))}
      </fieldset>
    </details>
  );
}
