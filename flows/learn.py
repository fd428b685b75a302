"""The learning flow: a night, then lessons, learners, the proof, and the night's own gate and swap for what gained.

Run it with `ragkeep learn`. Start reading at `learn` below. What is learned and measured is tasks/learn.py; what goes
live is a release like any other, so it is judged, published, watched and rolled back like one. What lessons cannot prove
may be put on trial instead: then people's clicks decide, and the next run carries out what they decided.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from evaluation.gain import headline
from evaluation.gate import Verdict
from ragkeep.config import Params, Paths, find_project, load_params
from ragkeep.embedders import MODELS
from ragkeep.errors import CannotJudge, LearnError, ReleaseError
from ragkeep.files import append_row, read_json, replacing_folder, write_json
from ragkeep.learned import Part, note_trained, parts_of, placed, rows_of, verify_part
from ragkeep.learned import tonight as tonights_parts
from ragkeep.releases import champion, history, read_release, require_champion
from ragkeep.types import Release, content_id
from tasks.inputs import TRYOUT, interactions
from tasks.lessons import CARD, read_set

from . import learn_report, night, registry, trials, unchanged, watch
from .found import gain_of, joined, made_in, told, tried_for
from .graph import StageFailed
from .lease import Lease
from .nightly import held, judge, one_stage, publish_watched, register, tonight, walk
from .prune import remove_models, unbound_models
from .publish import now
from .unchanged import note


@flow(name="learn", validate_parameters=False)
def learn(lease: Lease | None = None, require_approval: bool = False) -> dict[str, Any]:
    """Learn from the interactions; return the JSON contract of `ragkeep learn`. Raises Busy, StageFailed, LearnError."""
    began = time.monotonic()
    paths = find_project()
    params = load_params(paths.params)
    with held(paths, lease) as hold:
        try:
            result = _climbed(paths, params, hold, began, approval=require_approval)
        except Exception as error:  # a run that stops leaves its line, too
            _note(paths, {"verdict": "stopped", "release": None, "reasons": [str(error)], "gain": None})
            raise
        _note(paths, result)
        return result


def _climbed(paths: Paths, params: Params, lease: Lease, began: float, *, approval: bool) -> dict[str, Any]:
    before = tonight(paths, params, lease, began=began, force=False)
    note(paths, before)
    if before["verdict"] == "fail":
        raise LearnError(f"the night came first, and its gate refused it: {'; '.join(before['reasons'])}")
    found = _lessons(paths, params, lease)
    why_not = [] if found["parts"] else _no_trial(paths, params, found)
    if found["parts"] or (found["hope"] and not why_not):
        result = _tried_out(paths, params, lease, found, approval)
    else:
        result = _kept(paths, found, why_not)
    if "trial" in before:
        result["reasons"].insert(0, before["trial"])
    result |= {
        key: found[key] for key in ("lessons", "synthetic", "simulated", "tried", "retrieval", "answers", "golden")
    }
    result["seconds"] = round(time.monotonic() - began, 2)
    result["report"] = str(learn_report.write(paths, found, result))
    return result


def _note(paths: Paths, result: dict[str, Any]) -> None:
    """Write one line a run; `ragkeep models history` shows them."""
    append_row(paths.models / "history.jsonl", {"at": now(), **{k: v for k, v in result.items() if k != "tried"}})
    watch.learned(paths, result)


def _lessons(paths: Paths, params: Params, lease: Lease) -> dict[str, Any]:
    """Walk the graph as far as the ladder's last rung; return data/learned.json, with that rung's word."""
    walk(paths, params, lease, upto="learn")
    found, failed = read_json(paths.data / "learned.json"), ""
    try:
        one_stage(paths, "generator")  # what it needs has just been walked; a scan would find a log that went on
    except StageFailed as error:
        if not found["parts"]:
            raise
        failed = str(error)  # what the ladder has proven is not lost with it
    found = joined(paths, found, failed=failed)
    rows = [{"learner": one["learner"], "kept": one["kept"], "why": "; ".join(one["reasons"])} for one in found["tried"]]
    create_table_artifact(table=rows, key="learn", description="what was tried")
    return found


def _no_trial(paths: Paths, params: Params, found: dict[str, Any]) -> list[str]:
    """Say why nothing that may help, though lessons cannot prove it, is put on trial."""
    if not found["hope"]:
        return []
    try:
        running, lost = trials.standing(paths), trials.lost_before(paths, parts_of(found["hope"]))
    except ReleaseError as error:
        return [f"what may help is not tried now: {error}"]
    if running or lost:
        return [f"what may help is not tried now: {running or lost}"]
    if not params.trial.share:
        return ["what may help can be tried with people: `share: 0.2` under trial in params.yaml"]
    return []


def _kept(paths: Paths, found: dict[str, Any], why_not: list[str]) -> dict[str, Any]:
    """A run that promotes nothing has done its work all the same: the champion stays, and the figures say why."""
    live = champion(paths)
    tried = [one for one in found["tried"] if not one.get("skipped")]
    verdict = "no gain" if tried else "nothing to learn"
    return {"release": str(live.number) if live else None, "published": False, "verdict": verdict,
            "reasons": [*found["reasons"], *why_not], "gain": found["gain"]}  # fmt: skip


def _tried_out(paths: Paths, params: Params, lease: Lease, found: dict[str, Any], approval: bool) -> dict[str, Any]:
    """Register what was learned, try it as a night of its own, and publish the release that the gate lets in.

    One of which only is hoped that it is better is put on trial in place of that.
    """
    live, learned_from = require_champion(paths), read_json(paths.data / "inputs" / "interactions.json")
    _require_log(paths, params, learned_from)
    parts = [_keep(paths, part, found) for part in parts_of(found["parts"] or found["hope"])]
    with _tryout(paths, parts):
        try:
            release, verdict = _tried(paths, params, lease, found, parts, learned_from)
            waits = approval or _taken_back(paths, parts)
            if verdict.verdict == "pass" and not waits and found["parts"]:
                publish_watched(paths, params, release, lease)
                (paths.state / unchanged.TRYOUT).unlink()
                return _said(release, "promoted", True, [release.reason], found)
        except CannotJudge as error:
            release, verdict, waits = live, Verdict("fail", (f"cannot judge: {error}",)), False
    walk(paths, params, lease)
    (paths.state / unchanged.TRYOUT).unlink()  # data/ is the champion's again
    if verdict.verdict == "pass" and waits:
        tries = f"releases trial start {release.number} --mode interleave --answers {params.trial.answers}"
        word = f"`ragkeep {f'models promote {release.number}' if found['parts'] else tries}`"
        word = f"release {release.number} waits for a person: {word} {'takes' if found['parts'] else 'tries'} it"
        return _said(live, "waits", False, [word], found)
    if verdict.verdict == "pass":
        trials.try_learned(paths, params, release, live, lease=lease, why=release.reason)
        share = f"{params.trial.share:.0%} of the answers"
        word = f"release {release.number} is on trial in {share}, for lessons cannot prove it: people's clicks will"
        return _said(live, "on trial", False, [word], found)
    return _said(live, "refused", False, list(verdict.reasons), found)


def _taken_back(paths: Paths, parts: list[Part]) -> bool:
    """Whether the last move was a person's step back from a release that had learned by the same learners."""
    moves = history(paths)
    if not moves or moves[-1]["action"] != "rollback":
        return False
    before = parts_of(read_release(paths, moves[-1]["from"]).serving.get("learned", []))
    return bool({part.learner for part in before} & {part.learner for part in parts if not part.version})


def _tried(
    paths: Paths, params: Params, lease: Lease, found: dict[str, Any], parts: list[Part], learned_from: dict[str, Any]
) -> tuple[Release, Verdict]:
    """Have a night with the new parts; return the release it made and what the gate says."""
    walk(paths, params, lease)
    try:
        _require_log(paths, params, learned_from)
    except LearnError:
        remove_models(paths, unbound_models(paths, {part.folder for part in parts}))
        raise
    if tonights_parts(paths.data) != parts:
        raise LearnError("what was learned does not fit params.yaml or the embedder any more: run `ragkeep learn` again")
    candidate = night.candidate(paths, params)
    verdict = judge(paths, params, candidate)
    return register(paths, params, candidate, replace(verdict, reasons=(told(found), *verdict.reasons))), verdict


def _said(release: Release, verdict: str, published: bool, reasons: list[str], found: dict[str, Any]) -> dict[str, Any]:
    return {"release": str(release.number), "published": published, "verdict": verdict, "reasons": reasons,
            "gain": found["gain"]}  # fmt: skip


def _require_log(paths: Paths, params: Params, learned_from: dict[str, Any]) -> None:
    """Raise LearnError where somebody was erased since: what was learned of them must not stay."""
    if _erased(learned_from, interactions(paths, params)):
        raise LearnError("somebody was erased from the log while it was learned from: run `ragkeep learn` again")


def _erased(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether anything of the log that was read is not there as it was: an erasure writes segments anew."""
    then, today = before["segments"], after["segments"]
    return before["erasing"] != after["erasing"] or any(today.get(name) != sha for name, sha in then.items())


@task(name="register models", cache_policy=NO_CACHE)
def _keep(paths: Paths, part: Part, found: dict[str, Any]) -> Part:
    """Move a part's files to where models are kept, verified, and give it its number; safe to repeat after a kill."""
    if part.version:  # the champion's, kept long since
        return part
    sha = content_id(part.learner, part.base, part.sha256, repr(sorted(part.retrieve.items())), part.trainset)
    folder = paths.models / (Path(part.folder).name or f"{part.learner}-{sha[:12]}")
    if not (folder / "part.json").exists():
        with replacing_folder(folder) as new:
            if part.folder:
                shutil.copytree(made_in(paths, part), new, dirs_exist_ok=True)
    own = (part.embed, part.retrieve, part.answer)
    embed, retrieve, answer = (placed(values, f"{MODELS}/{folder.name}") for values in own)
    part = replace(part, embed=embed, retrieve=retrieve, answer=answer, folder=folder.name)
    if part.sha256:
        verify_part(part, paths.cache)
    tried, proven = tried_for(found, part), gain_of(found, part)
    card = {"tried": tried, "gain": proven, "trainset": read_json(paths.data / "trainset" / CARD)}
    write_json(folder / "report.json", card)
    metrics = {"gain": float(headline(tried["gain"])["delta"])} if proven and tried["gain"] else {}
    tags = {
        "learner": part.learner, "base": part.base, "data_sha": part.trainset, "git_sha": night.git_sha(paths.root),
        "sha256": part.sha256, "simulated": str(found["simulated"]).lower(), "synthetic": str(found["synthetic"]),
        "judge": (proven or {}).get("judge", ""),
    }  # fmt: skip
    number = registry.record_model(paths, part.learner, sha, folder, metrics=metrics, tags=tags)
    part = replace(part, version=number)
    seqs = {seq for one in read_set(paths.data / "trainset").lessons for seq in one.seqs}
    note_trained(paths.state, f"{part.learner}/{number}", sorted(seqs))  # a deletion names what was learned from it
    write_json(folder / "part.json", asdict(part) | {"at": now(), "simulated": found["simulated"]})
    return part


@contextmanager
def _tryout(paths: Paths, parts: list[Part]) -> Iterator[None]:
    """Let the stages work with these parts instead of the champion's."""
    write_json(paths.state / unchanged.TRYOUT, rows_of(parts))
    os.environ[TRYOUT] = str(paths.state / unchanged.TRYOUT)
    try:
        yield
    finally:
        del os.environ[TRYOUT]
