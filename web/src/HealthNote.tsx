import { useState } from "react";
import { errorOf, url } from "./api/client";
import type { Budget, Check, Health } from "./api/types";
import { useSession } from "./session";
import { Dialog } from "./ui/Dialog";
import { count, usd } from "./ui/format";
import { useLoad } from "./ui/hooks";

const WORDS = { ok: "All well", degraded: "Degraded", down: "Down" };

/** Quiet while all is well; one word and the reasons behind it when not. */
export function HealthNote() {
  const { me } = useSession();
  const [open, setOpen] = useState(false);
  const { data, problem } = useLoad(loadHealth, [], 30_000);
  const status = problem ? "down" : (data?.status ?? "ok");
  const spent = spentOf(me.budget);
  return (
    <>
      <button type="button" className="health" data-status={status} onClick={() => setOpen(true)}>
        <i aria-hidden="true" />
        {WORDS[status]}
        {spent >= 0.8 && <span className="badge warn">budget {Math.floor(spent * 100)} %</span>}
      </button>
      {open && (
        <Dialog title={`Health: ${WORDS[status].toLowerCase()}`} onClose={() => setOpen(false)}>
          {problem && <p className="problem">{problem}</p>}
          <dl className="facts">
            {Object.entries(data?.checks ?? {}).map(([name, check]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{sayCheck(check)}</dd>
              </div>
            ))}
            {me.budget && <BudgetFacts budget={me.budget} />}
          </dl>
          <div className="row end">
            <button type="button" className="button primary" onClick={() => setOpen(false)}>
              Close
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}

/** The body counts also where the status is 503: it says which part is down. */
async function loadHealth(signal: AbortSignal): Promise<Health> {
  const response = await fetch(url("health"), { signal });
  const body = await response.text();
  try {
    const health = JSON.parse(body) as Health;
    if (health.status in WORDS) return health;
  } catch {
    // not the health report; the error below says what came instead
  }
  throw errorOf(response.status, body);
}

function sayCheck(check: Check): string {
  if (typeof check === "boolean") return check ? "ok" : "failing";
  if (check === null || typeof check === "string") return check ?? "unknown";
  return [check.status, check.detail ?? check.message].filter(Boolean).join(": ");
}

function spentOf(budget?: Budget | null): number {
  const share = (used = 0, limit?: number | null) => (limit ? used / limit : 0);
  return Math.max(share(budget?.tokens_used, budget?.tokens_limit), share(budget?.usd_used, budget?.usd_limit));
}

function BudgetFacts({ budget }: { budget: Budget }) {
  const of = (limit: string | null) => (limit ? ` of ${limit}` : "");
  return (
    <>
      <div>
        <dt>tokens</dt>
        <dd>{count(budget.tokens_used) + of(budget.tokens_limit === null ? null : count(budget.tokens_limit))}</dd>
      </div>
      <div>
        <dt>cost</dt>
        <dd>{usd(budget.usd_used) + of(budget.usd_limit === null ? null : usd(budget.usd_limit))}</dd>
      </div>
    </>
  );
}
