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
              night.verdict,
              duration(night.seconds),
              count(night.documents),
              count(night.chunks),
              night.release ?? "–",
            ])}
          />
        )
      }
    </Part>
  );
}
