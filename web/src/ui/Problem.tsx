import type { Trouble } from "../api/client";
import { CopyButton } from "./CopyButton";

/** An error as a line, and where the server gave it one, its trace id to copy. */
export function Problem({ of: { message, trace }, children }: { of: Trouble; children?: string }) {
  return (
    <div className="problem" role="alert">
      <p>
        {message} {children}
      </p>
      <TraceId id={trace} />
    </div>
  );
}

export function TraceId({ id }: { id?: string | null }) {
  if (!id) return null;
  return (
    <p className="trace">
      Trace <code>{id}</code>
      <CopyButton text={id} label="Copy trace id" />
    </p>
  );
}
