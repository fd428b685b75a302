import type { ReactNode } from "react";
import type { Loaded } from "../ui/hooks";
import { Icon } from "../ui/Icon";
import { TraceId } from "../ui/Problem";

/** A part of the operations page: what it loads, or why it cannot be shown and what to do. */
export function Part<T>({ loaded, children }: { loaded: Loaded<T>; children: (data: T) => ReactNode }) {
  const { data, problem, trace, status, reload } = loaded;
  return (
    <>
      {problem && (
        <div className="failure" role="alert">
          <Icon name="warn" />
          <p>{status === 403 ? "You need the admin role, or a key with the right to read operations, to see this." : problem}</p>
          <TraceId id={trace} />
          <button type="button" className="button" onClick={reload}>
            <Icon name="retry" />
            Try again
          </button>
        </div>
      )}
      {data ? children(data) : !problem && <div className="loading" aria-busy="true" aria-label="Loading" />}
    </>
  );
}

type TableProps = { label: string; head: string[]; rows: ReactNode[][]; numeric?: number[] };

/** A table that scrolls within itself when the screen is narrow. */
export function Table({ label, head, rows, numeric = [] }: TableProps) {
  const align = (at: number) => (numeric.includes(at) ? "number" : undefined);
  return (
    <div className="table" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>{head.map((title, at) => <th key={title || at} scope="col" className={align(at)}>{title || <span className="sr-only">Actions</span>}</th>)}</tr>
        </thead>
        <tbody>
          {rows.map((cells, row) => (
            <tr key={row}>{cells.map((cell, at) => <td key={at} className={align(at)}>{cell}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
