import { type FormEvent, useEffect, useState } from "react";
import { get, messageOf, send } from "./api/client";
import { Mark } from "./ui/Icon";

/** Trade an API key for a session cookie the page itself cannot read. */
export function SignIn({ onDone }: { onDone: () => void }) {
  const [key, setKey] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  useEffect(() => history.replaceState(null, "", location.pathname + location.hash), []); // a refused key in the address
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    send("", {}, { key: key.trim() })
      .then(() => get("v1/me"))
      .then(onDone, (error: unknown) => setProblem(messageOf(error)))
      .finally(() => setBusy(false));
  };
  return (
    <main className="alone">
      <Mark />
      <h1>Sign in to ragkeep</h1>
      <p className="quiet">
        Paste an API key. <code>ragkeep serve</code> prints one when it starts, and an administrator can make more.
      </p>
      <form onSubmit={submit} className="stack">
        <label className="field">
          API key
          <input
            type="password"
            name="key"
            autoComplete="current-password"
            required
            autoFocus
            value={key}
            onChange={(event) => setKey(event.target.value)}
          />
        </label>
        <input className="sr-only" name="username" autoComplete="username" defaultValue="ragkeep" tabIndex={-1} aria-hidden="true" />
        {problem && <p className="problem" role="alert">{problem}</p>}
        <button className="button primary" disabled={busy}>
          Sign in
        </button>
      </form>
    </main>
  );
}
