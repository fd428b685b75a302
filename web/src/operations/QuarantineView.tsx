import { get } from "../api/client";
import type { Quarantined } from "../api/types";
import { ago, plural } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Part } from "./Part";

export function QuarantineView() {
  const loaded = useLoad((signal) => get<{ rows: Quarantined[]; total: number }>("v1/ops/quarantine", {}, signal), []);
  return (
    <Part loaded={loaded}>
      {({ rows, total }) =>
        rows.length === 0 ? (
          <div className="empty">
            <h2>Nothing in quarantine</h2>
            <p>Documents that cannot be read, or that fail a check, wait here with the reason instead of stopping the night.</p>
          </div>
        ) : (
          <>
            <p className="quiet">
              {plural(total, "document")} held back{total > rows.length && `, the first ${rows.length} shown`}. Mend the source, or release one with{" "}
              <code>ragkeep quarantine</code>.
            </p>
            <ul className="documents">
              {rows.map(({ uri, reason, detail, at }, row) => (
                <li key={row}>
                  <div className="doc-text">
                    <strong className="break">{uri}</strong>
                    {detail && <span className="quiet break">{detail}</span>}
                  </div>
                  <span className="badge" data-status="error">
                    {reason}
                  </span>
                  {at && <span className="quiet">{ago(at)}</span>}
                </li>
              ))}
            </ul>
          </>
        )
      }
    </Part>
  );
}
