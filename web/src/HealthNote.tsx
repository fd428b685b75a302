import { useState } from "react";
import { errorOf, send, url } from "./api/client";
import type { Check, Health, Me, Spent } from "./api/types";
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
  const budgets = budgetsOf(me);
  const spent = Math.max(0, ...budgets.map(spentOf));
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
                <dt>{name.replaceAll("_", " ")}</dt>
                <dd>{sayCheck(check)}</dd>
              </div>
            ))}
            {budgets.map((budget) => <BudgetFacts key={budget.account + budget.period} budget={budget} />)}
          </dl>
          <div className="row end">
            <button type="button" className="button" onClick={() => void signOut()}>
              Sign out
            </button>
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

async function signOut(): Promise<void> {
  await send("v1/sign-out", { method: "POST" }).catch(() => undefined);
  location.reload();
}

function sayCheck(check: Check): string {
  if (typeof check === "boolean") return check ? "ok" : "failing";
  if (check === null || typeof check === "string") return check ?? "unknown";
  const said = check.status ?? (check.ok === false ? "failing" : "ok");
  return [said, check.detail || check.message || check.reason || (check.release && `release ${check.release}`)].filter(Boolean).join(": ");
}

function budgetsOf({ budget, spent = [] }: Me): Spent[] {
  if (!budget) return spent;
  const { tokens_used: tokens, usd_used: usd, ...limits } = budget;
  return [{ account: "yours", period: "", tokens, usd, ...limits }, ...spent];
}

function spentOf({ tokens, usd, tokens_limit, usd_limit }: Spent): number {
  const share = (used: number, limit: number | null) => (limit ? used / limit : 0);
  return Math.max(share(tokens, tokens_limit), share(usd, usd_limit));
}

function BudgetFacts({ budget: { account, period, tokens, usd: cost, tokens_limit, usd_limit } }: { budget: Spent }) {
  const of = (limit: number | null, say: (n: number) => string) => (limit === null ? "" : ` of ${say(limit)}`);
  return (
    <div>
      <dt>{[account.replace(/^payer:.*/, "you"), period].filter(Boolean).join(", ")}</dt>
      <dd>
        {count(tokens) + of(tokens_limit, count)} tokens, {usd(cost) + of(usd_limit, usd)}
      </dd>
    </div>
  );
}
