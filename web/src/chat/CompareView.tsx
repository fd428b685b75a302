import type { Agreement } from "../api/types";
import { type Markers, Rich } from "../text/Rich";
import { duration } from "../ui/format";
import type { Passage } from "./turn";

type Props = { agreement: Agreement; sources: Markers; onCite: (passage: Passage) => void };

/** The models' answers side by side, unchecked, and how far they agree. */
export function CompareView({ agreement, sources, onCite }: Props) {
  const percent = agreement.score === null ? null : Math.round(agreement.score * 100);
  return (
    <section className="compare" aria-label="Comparison of models">
      <div className="agreement" data-low={agreement.low}>
        {percent === null ? (
          <span>Too few answers to compare.</span>
        ) : (
          <>
            <span>
              Agreement <b>{percent} %</b>
            </span>
            <meter aria-label="Agreement" min={0} max={100} value={percent}>
              {percent} %
            </meter>
          </>
        )}
        {agreement.low && percent !== null && <span>The models disagree: check the sources before you rely on this.</span>}
      </div>
      <div className="columns">
        {agreement.answers.map(({ model, text, seconds, error }) => (
          <section key={model} aria-label={model}>
            <h3>
              {model}
              <span className="quiet">{duration(seconds)}</span>
            </h3>
            {error ? <p className="problem">{error}</p> : <Rich text={text} sources={sources} onCite={onCite} />}
          </section>
        ))}
      </div>
    </section>
  );
}
