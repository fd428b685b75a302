import { type FormEvent, type ReactNode, useState } from "react";
import { type Trouble, troubleOf } from "../api/client";
import type { Feedback } from "../api/types";
import { CopyButton } from "../ui/CopyButton";
import { Icon } from "../ui/Icon";
import { Problem } from "../ui/Problem";
import type { Chats } from "./store";
import type { Given, Turn } from "./turn";
import { Why } from "./Why";

const REASONS = ["It is wrong", "It is out of date", "Something is missing", "The sources do not fit"];
type Props = { id: string; turn: Turn; chats: Chats };
type Give = (feedback: Feedback, given: Given) => Promise<boolean>;

/** What can be done with a finished answer: copy, vote, say why, correct it, see why it is so. */
export function AnswerFoot({ id, turn, chats }: Props) {
  const [asking, setAsking] = useState<"reason" | "correction">();
  const [problem, setProblem] = useState<Trouble>();
  const [why, setWhy] = useState(false);
  const { given = {}, answerId = "" } = turn;
  const give: Give = async (feedback, what) => {
    setProblem(undefined);
    try {
      await chats.give(id, turn, feedback, what);
      return true;
    } catch (error) {
      setProblem(troubleOf(error));
      return false;
    }
  };
  const vote = (value: 1 | -1) => {
    setAsking("reason");
    void give({ answer_id: answerId, kind: "vote", value }, { vote: value, reason: undefined });
  };
  return (
    <footer className="answer-foot">
      <div className="actions" role="group" aria-label="About this answer">
        <CopyButton text={turn.text} label="Copy answer" />
        <Toggle label="Good answer" icon="up" on={given.vote === 1} onClick={() => vote(1)} />
        <Toggle label="Bad answer" icon="down" on={given.vote === -1} onClick={() => vote(-1)} />
        <Toggle label="Correct this answer" icon="pencil" on={asking === "correction"} onClick={() => setAsking("correction")} />
        <button type="button" className="button small why" onClick={() => setWhy(true)}>
          <Icon name="info" />
          Why this answer?
        </button>
      </div>
      {asking === "reason" && given.vote && !given.reason && (
        <ReasonForm vote={given.vote} answerId={answerId} give={give} onDone={() => setAsking(undefined)} />
      )}
      {asking === "correction" && (
        <CorrectionForm turn={turn} answerId={answerId} give={give} onDone={() => setAsking(undefined)} />
      )}
      {problem && <Problem of={problem} />}
      {why && <Why turn={turn} onClose={() => setWhy(false)} />}
      <p className="thanks" role="status">
        {!problem && asking !== "correction" && thanks(given)}
      </p>
    </footer>
  );
}

function thanks({ vote, reason, correction, unlogged }: Given): string {
  if (!vote && !correction) return "";
  if (unlogged) return "Thank you. It could not be recorded: the interaction log cannot be written.";
  return correction || reason ? "Thank you. The next night learns from it." : "";
}

function Toggle({ label, icon, on, onClick }: { label: string; icon: "up" | "down" | "pencil"; on: boolean; onClick: () => void }) {
  return (
    <button type="button" className="icon-button" aria-label={label} title={label} aria-pressed={on} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}

type FormProps = { answerId: string; give: Give; onDone: () => void };

function ReasonForm({ vote, answerId, give, onDone }: FormProps & { vote: 1 | -1 }) {
  const [other, setOther] = useState("");
  const say = (reason: string) => {
    void give({ answer_id: answerId, kind: "vote", value: vote, reason }, { vote, reason }).then((done) => done && onDone());
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (other.trim()) say(other.trim());
  };
  return (
    <form className="ask-back" onSubmit={submit} aria-label="Say why">
      <Head title={vote === 1 ? "Thank you. What was good?" : "Thank you. What was wrong?"} onClose={onDone} />
      {vote === -1 && (
        <div className="row wrap">
          {REASONS.map((reason) => (
            <button key={reason} type="button" className="button small" onClick={() => say(reason)}>
              {reason}
            </button>
          ))}
        </div>
      )}
      <div className="row">
        <input aria-label="In your words" placeholder="In your words" maxLength={2000} value={other} onChange={(event) => setOther(event.target.value)} />
        <button className="button" disabled={!other.trim()}>
          Send
        </button>
      </div>
    </form>
  );
}

function CorrectionForm({ turn, answerId, give, onDone }: FormProps & { turn: Turn }) {
  const [text, setText] = useState(turn.given?.correction ?? turn.text);
  const [busy, setBusy] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    const said = give({ answer_id: answerId, kind: "correction", text }, { correction: text });
    void said.then((done) => (done ? onDone() : setBusy(false)));
  };
  return (
    <form className="ask-back" onSubmit={submit} aria-label="Correct this answer">
      <Head title="What should the answer be?" onClose={onDone} />
      <textarea aria-label="The correct answer" rows={6} required autoFocus value={text} onChange={(event) => setText(event.target.value)} />
      <div className="row end">
        <button className="button primary" disabled={busy || !text.trim() || text === turn.text}>
          Send correction
        </button>
      </div>
    </form>
  );
}

function Head({ title, onClose }: { title: ReactNode; onClose: () => void }) {
  return (
    <div className="row between">
      <strong>{title}</strong>
      <button type="button" className="icon-button" aria-label="Close" onClick={onClose}>
        <Icon name="close" />
      </button>
    </div>
  );
}
