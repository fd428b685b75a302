"""The nightly flow: walk dvc.yaml's graph, judge, register, publish, report.

Run it with `ragkeep nightly`; `ragkeep schedule` serves it on a cron, prefect.yaml deploys it to a server. Start reading
at `nightly` below; the decisions are in flows/night.py, the switch in flows/publish.py.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.transactions import Transaction, transaction

from evaluation.gate import Verdict
from ragkeep.config import Params, Paths, find_project, load_params
from ragkeep.errors import CannotJudge, RagkeepError
from ragkeep.releases import champion, pointer, read_release
from ragkeep.stores import open_store
from ragkeep.types import Release

from . import night, report, watch
from .graph import StageFailed, refused_for_the_moment, reproduce, stages
from .lease import Lease, hold
from .publish import prune_versions, recover, switch, withdraw
from .trials import conclude
from .unchanged import TRYOUT, fingerprint, last_result, note, pages_failed, remember

log = logging.getLogger("prefect.ragkeep")


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a stage is tried and how long it may take."""

    retries: int = 1
    timeout_s: float = 3600.0


LOSSES = 20
"""How many of the questions that lost most a refused night's result names."""
LIMITS = {
    "scan": Limits(retries=2, timeout_s=1800),
    "ingest": Limits(timeout_s=4 * 3600),
    "validate": Limits(retries=0),
    "validate_chunks": Limits(retries=0),
    "embed": Limits(retries=2, timeout_s=12 * 3600),
    "index": Limits(retries=2, timeout_s=4 * 3600),
    "evaluate": Limits(timeout_s=2 * 3600),
    "learn": Limits(retries=0, timeout_s=12 * 3600),
    "generator": Limits(retries=0, timeout_s=24 * 3600),
}


def _worth_another_try(_task: Any, _run: Any, state: Any) -> bool:
    """A stage that says what is wrong (bad input, wrong key) says it again; only what broke otherwise is retried."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, RagkeepError) or (isinstance(error, StageFailed) and error.transient)


@task(cache_policy=NO_CACHE, retry_delay_seconds=2, retry_condition_fn=_worth_another_try)
def run_stage(paths: Paths, stage: str, force: bool = False) -> bool:
    """Reproduce one stage of dvc.yaml; return whether it had anything to do."""
    return reproduce(paths.root, paths.state, stage, force=force)


def one_stage(paths: Paths, stage: str, *, force: bool = False) -> bool:
    """Run one stage of dvc.yaml as a task; return whether it had anything to do. Raises StageFailed."""
    limits = LIMITS.get(stage, Limits())
    named = run_stage.with_options(name=f"dvc:{stage}", retries=limits.retries, timeout_seconds=limits.timeout_s)
    return named(paths, stage, force)


def walk(paths: Paths, params: Params, lease: Lease, *, upto: str = "evaluate") -> dict[str, bool]:
    """Run a stage and all it needs in the graph's order. Raises LeaseLost, StageFailed.

    DVC sees neither that a file could not be read for the moment nor that the store has lost an index: those are forced.
    """
    ran = {}
    for name in stages(paths.root, upto):
        lease.check()
        ran[name] = one_stage(paths, name, force=name == "ingest" and refused_for_the_moment(paths.data))
        if name == "index" and not night.receipt_holds(paths, params):
            ran[name] = one_stage(paths, name, force=True)
    return ran


@task(name="gate", cache_policy=NO_CACHE)
def judge(paths: Paths, params: Params, release: Release) -> Verdict:
    """Hold the candidate against the floors and the champion."""
    verdict = night.gate(paths, params, release)
    rows = [{"metric": name, **values} for name, values in sorted(verdict.metrics.items())]
    create_table_artifact(table=rows, key="gate", description=f"{verdict.verdict}: {'; '.join(verdict.reasons)}")
    return verdict


@task(name="register", cache_policy=NO_CACHE)
def register(paths: Paths, params: Params, release: Release, verdict: Verdict) -> Release:
    """Make the candidate a version of the registered model."""
    return night.register(paths, params, release, verdict, tags={"prefect.flow_run_id": str(flow_run.id or "")})


@task(name="publish", cache_policy=NO_CACHE)
def publish(paths: Paths, params: Params, release: Release, lease: Lease) -> None:
    """Make the release the champion."""
    switch(paths, open_store(params.index, paths), release, lease=lease, action="publish", reason=release.reason)


@publish.on_rollback
def unpublish(txn: Transaction) -> None:
    """Put back what answered before, when the published release does not; on the first night, nothing answers."""
    before, paths, params, lease = (txn.get(k) for k in ("before", "paths", "params", "lease"))
    store = open_store(params.index, paths)
    if before is None:
        withdraw(paths, store, lease=lease, reason="did not answer")
    else:
        switch(paths, store, read_release(paths, before), lease=lease, action="withdraw", reason="did not answer")


@task(name="canary", cache_policy=NO_CACHE)
def canary(paths: Paths, params: Params) -> int:
    """Use the published release through the readers' own path; raise CanaryFailed when it does not answer."""
    return night.canary(paths, params)


def publish_watched(paths: Paths, params: Params, release: Release, lease: Lease) -> None:
    """Publish a release, and take it back when it does not answer."""
    at = pointer(paths)
    with transaction() as txn:
        # the hook reads these, and a value set after the task call would come too late
        for key, value in (("before", at.number if at else None), ("paths", paths), ("params", params), ("lease", lease)):
            txn.set(key, value)
        publish(paths, params, release, lease)
        canary(paths, params)
    prune_versions(paths, open_store(params.index, paths), params)


def held(paths: Paths, lease: Lease | None) -> AbstractContextManager[Lease]:
    """Hold the lease that is given, or one of its own."""
    return nullcontext(lease) if lease else hold(paths.state / "lease.sqlite")


@flow(name="nightly", validate_parameters=False)
def nightly(lease: Lease | None = None, force: bool = False) -> dict[str, Any]:
    """Run the night; return the JSON contract of `ragkeep nightly`. Raises Busy, StageFailed, CannotJudge."""
    began = time.monotonic()
    paths = find_project()
    params = load_params(paths.params)
    with held(paths, lease) as hold_:
        try:
            result = tonight(paths, params, hold_, began=began, force=force)
        except Exception as error:  # a night that stops leaves a page and a line, too
            report.stopped(paths, error, began=began)
            watch.failed(paths, params, error)
            raise
        note(paths, result)
        return result


def tonight(paths: Paths, params: Params, lease: Lease, *, began: float, force: bool) -> dict[str, Any]:
    """Have tonight's night, or say that nothing changed; `began` is its start on `time.monotonic`."""
    recover(paths, lambda: open_store(params.index, paths), lease=lease)
    decided = conclude(paths, params, lease=lease)  # first: what is published tonight would end the trial undecided
    if decided:
        log.info(decided)
    marks = fingerprint(paths, params)
    last = None if force else last_result(paths, params, marks)
    if last is not None:
        result = watch.unchanged(paths, params, last, began)
    else:
        watch.before_night(paths, params)
        result = _night(paths, params, lease, marks=marks, began=began, decided=decided)
    return result | {"trial": decided} if decided else result


def _night(
    paths: Paths, params: Params, lease: Lease, *, marks: dict[str, str], began: float, decided: str
) -> dict[str, Any]:
    live = champion(paths)
    ran = walk(paths, params, lease)
    (paths.state / TRYOUT).unlink(missing_ok=True)
    candidate = night.candidate(paths, params)
    same = night.same_as_champion(paths, candidate)
    try:
        verdict = judge(paths, params, candidate)
    except CannotJudge as error:
        if not same:  # so that a person can promote it all the same
            register(paths, params, candidate, Verdict("fail", (f"cannot judge: {error}",)))
        raise
    held = night.rolled_back(paths, candidate)
    unlearned = night.unlearned(params, live, candidate)
    passed = verdict.verdict == "pass"
    release = live if same and live else register(paths, params, candidate, verdict)
    published = passed and not same and held is None and not unlearned
    if published:
        publish_watched(paths, params, release, lease)
    stats = night.stage_stats(paths, ran)
    result: dict[str, Any] = {
        "release": str(release.number) if published else (str(live.number) if live else None),
        "published": published,
        "verdict": "unchanged" if passed and not published else verdict.verdict,
        "documents": night.document_counts(paths, live),
        "chunks": {"total": candidate.index.chunks, "embedded": stats.get("embed", {}).get("embedded", 0)},
        "scores": candidate.scores,
        "reasons": [
            *([decided] if decided else []),
            *verdict.reasons,
            *([night.held_back(release, held)] if held and passed else []),
            *unlearned,
        ],
        "seconds": round(time.monotonic() - began, 2),
        **pages_failed(paths, params),
    }
    if not passed:
        result["losses"] = [q for q in verdict.questions if q["delta"] < 0][:LOSSES]
    found = watch.look(paths, params, fresh=False)
    result["monitor"] = watch.summary(found)
    page = report.write(paths, params, release, verdict, result=result, stats=stats, live=live, monitor=found)
    result["report"] = str(page)
    create_markdown_artifact(report.markdown(page), key="night", description="what the night found")
    watch.told(paths, params, result, found)
    if passed:
        remember(paths, marks, {**result, "reasons": [one for one in result["reasons"] if one != decided]})
    return result
