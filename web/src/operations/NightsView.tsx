import { get } from "../api/client";
import type { Night } from "../api/types";
import { count, duration, momentOf } from "../ui/format";
import { useLoad } from "../ui/hooks";
import { Part, Table } from "./Part";

export function NightsView() {
  const loaded = useLoad((signal) => get<{ nights: Night[] }>("v1/ops/nights", {}, signal), [], 60_000);
  return (
    <Part loaded={loaded}>
      {({ nights }) =>
        nights.length === 0 ? (
          <div className="empty">
            <h2>No night was run yet</h2>
            <p>
              Run one by hand with <code>ragkeep nightly</code>, or give it a schedule.
            </p>
          </div>
        ) : (
          <Table
            label="Last nights"
            head={["When", "Verdict", "Took", "Documents", "Passages", "Release"]}
            numeric={[2, 3, 4, 5]}
            rows={nights.map((night) => [
              momentOf(night.at),
              <Verdict key="v" night={night} />,
              night.seconds == null ? "–" : duration(night.seconds),
              amount(night.documents),
              amount(night.chunks),
              night.release ?? "–",
            ])}
          />
        )
      }
    </Part>
  );
}

function Verdict({ night: { verdict, reasons = [], error } }: { night: Night }) {
  return (
    <>
      {verdict ?? "–"}
      {[...reasons, error].filter(Boolean).map((reason) => (
        <small key={reason} className="quiet below">
          {reason}
        </small>
      ))}
    </>
  );
}

/** A number, or a total with what of it is new beside it. */
function amount(value: number | Record<string, number> | null | undefined): string {
  if (value == null) return "–";
  if (typeof value === "number") return count(value);
  return Object.entries(value)
    .map(([name, n]) => `${count(n)} ${name}`)
    .join(", ");
}
