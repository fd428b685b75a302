import { useEffect, useRef } from "react";
import { Boundary } from "../ui/Boundary";
import { KeysView } from "./KeysView";
import { NightsView } from "./NightsView";
import { QuarantineView } from "./QuarantineView";
import { ReleasesView } from "./ReleasesView";
import { TrafficView } from "./TrafficView";
import { TrialView } from "./TrialView";
import { WatchView } from "./WatchView";

const TABS = {
  releases: ["Releases", ReleasesView],
  trial: ["Trial", TrialView],
  nights: ["Nights", NightsView],
  monitor: ["Monitoring", WatchView],
  traffic: ["Traffic and cost", TrafficView],
  quarantine: ["Quarantine", QuarantineView],
  keys: ["API keys", KeysView],
} as const;

export function OperationsView({ tab }: { tab: string }) {
  const chosen = tab in TABS ? (tab as keyof typeof TABS) : "releases";
  const View = TABS[chosen][1];
  const tabs = useRef<HTMLElement>(null);
  useEffect(() => {
    tabs.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [chosen]);
  return (
    <div className="page">
      <div className="page-head">
        <h1>Operations</h1>
      </div>
      <nav className="tabs" ref={tabs} aria-label="Operations">
        {Object.entries(TABS).map(([name, [title]]) => (
          <a key={name} className="tab" href={`#/operations/${name}`} aria-current={name === chosen ? "page" : undefined}>
            {title}
          </a>
        ))}
      </nav>
      <Boundary key={chosen}>
        <View />
      </Boundary>
    </div>
  );
}
