"""What one night knows and decides: the candidate release, the verdict, the result other tools read, the report.

Plain functions; flows/nightly.py orders them as Prefect tasks.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from evaluation.gate import Verdict, comparable, judge
from evaluation.scores import flat_scores, read_report
from ragkeep.config import Params, Paths
from ragkeep.errors import CanaryFailed, IndexMissing
from ragkeep.files import fsync_dir, read_json, read_rows
from ragkeep.learned import apply, parts_of, rows_of, tonight
from ragkeep.releases import all_releases, champion, history, save_release
from ragkeep.tables import file_shas, iter_chunks, read_table
from ragkeep.trials import on_trial
from ragkeep.types import Chunk, Fusion, IndexVersion, Release, content_id

from . import registry
from .publish import now
from .unchanged import index_present

CANARY_CHARS = 400
"""How much of a chunk the canary asks for: about what an embedder reads of it at once."""
EVIDENCE = (
    "evaluation/scores.json",
    "evaluation/by_query.jsonl",
    "evaluation/answers.jsonl",
    "evaluation/fusion.json",
    "sources/manifest.parquet",
    "validation/documents.json",
    "validation/chunks.json",
)


def receipt_holds(paths: Paths, params: Params) -> bool:
    """Whether the store really has the version data/index.json speaks of; True when there is no receipt yet."""
    receipt = read_json(paths.data / "index.json")
    return receipt is None or index_present(paths, params, receipt["name"])


def candidate(paths: Paths, params: Params) -> Release:
    """Bind what the stages made into a release (number 0: not registered). Raises IndexMissing without a receipt."""
    receipt = read_json(paths.data / "index.json")
    scores = read_json(paths.data / "evaluation" / "scores.json")
    fusion = read_json(paths.data / "evaluation" / "fusion.json")
    if not receipt or not scores or not fusion:
        raise IndexMissing("the stages left no index or no scores to judge: run `ragkeep nightly` again")
    index = IndexVersion(**receipt)
    params, learned = apply(params, tonight(paths.data), paths.cache)
    embed = asdict(params.embed)
    del embed["runner"]  # where passages are embedded makes no other release
    serving: dict[str, Any] = {"embed": embed, "retrieve": asdict(params.retrieve), "answer": asdict(params.answer)}
    if learned:
        serving["learned"] = rows_of(learned)
    mix = Fusion(fusion["method"], fusion["weight"], fusion.get("code_weight"))
    own = () if mix.code_weight is None else (repr(mix.code_weight),)
    parts = (index.store, index.name, index.digest, index.embedder, mix.method, repr(mix.weight), *own)
    sha = content_id(*parts, json.dumps(serving, sort_keys=True))
    return Release(
        number=0,
        sha=sha,
        index=index,
        fusion=mix,
        generator=params.answer.generators[0].label,
        serving=serving,
        git_sha=git_sha(paths.root),
        dvc_lock_sha=_file_sha(paths.root / "dvc.lock"),
        scores={name: value for name, value in flat_scores(scores).items() if "/" not in name},
        evaluation=f"evidence/{sha}",
        created_at=now(),
    )


def git_sha(root: Path) -> str:
    """Return HEAD, with "-dirty" when tracked files differ; empty outside git."""
    try:
        head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20)
        status = subprocess.run(
            ["git", "-C", str(root), "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head.stdout.strip() + ("-dirty" if status.stdout.strip() else "") if head.returncode == 0 else ""


def _file_sha(path: Path) -> str:
    return blake3(path.read_bytes()).hexdigest(16) if path.is_file() else ""


def same_as_champion(paths: Paths, release: Release) -> bool:
    """Whether the stages came out where the champion already is."""
    live = champion(paths)
    return live is not None and live.sha == release.sha


def rolled_back(paths: Paths, release: Release) -> dict[str, Any] | None:
    """Return the event by which a person took this very release back, None where nobody did or it was promoted since."""
    numbers = {r.number for r in all_releases(paths) if r.sha == release.sha}
    moves = [e for e in history(paths) if e["to"] in numbers or (e["from"] in numbers and e["action"] == "rollback")]
    return moves[-1] if moves and moves[-1]["to"] not in numbers else None


def unlearned(params: Params, live: Release | None, candidate: Release) -> list[str]:
    """Say which parts the champion has and the candidate lost: golden questions do not know what users taught.

    A weight, a second look, or a generator that a person wrote into params.yaml is no loss.
    """
    had, has = (parts_of(r.serving.get("learned", [])) if r else [] for r in (live, candidate))
    kept = {part.learner for part in has}
    fixed = {"weight"} if not isinstance(params.retrieve.weight, str) else set[str]()
    fixed |= {"rerank"} if params.retrieve.rerank.backend else set()
    return [
        f"what {part.learner} learned does not fit tonight's embedder and is left out, so this is not published: "
        "`ragkeep learn` learns it anew, `ragkeep releases list` shows what to promote without it"
        for part in had
        if part.learner not in kept and fixed.isdisjoint(part.retrieve)
        if not part.answer or part.answer["over"] == params.answer.generators[0].label
    ]


def held_back(release: Release, event: dict[str, Any]) -> str:
    """Say why a release that passed was not published."""
    return (
        f"release {release.number} was rolled back on {event['at']} ({event['reason']}): "
        f"`ragkeep releases promote {release.number}` takes it again"
    )


def canary(paths: Paths, params: Params) -> int:
    """Ask the champion for what stands in its own index; return how many hits came. Raises CanaryFailed.

    A few chunks, spread over the index, are looked for by their own words in their own workspace: at least one must
    come back, and one question must be answered without an error.
    """
    from ragkeep.app import open_release

    with open_release(paths, params) as assistant:
        for chunk in sample_chunks(paths):
            hits = assistant.search(chunk.embed_text[:CANARY_CHARS], workspace=chunk.workspace)
            if chunk.id in {hit.chunk.id for hit in hits}:
                assistant.ask("how do I start?", workspace=chunk.workspace)
                return len(hits)
        raise CanaryFailed(
            f"release {assistant.release.number} does not find what its index {assistant.release.index.name} holds: "
            "run `ragkeep doctor`"
        )


def sample_chunks(paths: Paths, count: int = 8) -> list[Chunk]:
    """Take tonight's chunks, spread evenly over the shards that hold any; none that was quarantined."""
    left_out = {row["chunk_id"] for row in quarantine_rows(paths, "chunks")}
    shards = sorted((paths.data / "chunks").glob("[0-9]*.parquet"))
    found = []
    for path in shards[:: max(1, len(shards) // count)]:
        table = read_table(path)
        rows = table.slice(table.num_rows // 2, 16) if table.num_rows else table
        found += [c for c in iter_chunks(rows) if c.id not in left_out][:1]
    return found


def gate(paths: Paths, params: Params, release: Release) -> Verdict:
    """Judge the candidate's scores against the floors and the champion's scores. Raises CannotJudge."""
    live = champion(paths)
    new = read_report(paths.data / "evaluation")
    old = read_report(paths.releases / live.evaluation / "evaluation") if live else None
    if live and old and not comparable(old, new) and index_present(paths, params, live.index.name):
        from tasks.evaluate import measure_release

        old = measure_release(paths, params, live)  # the questions are other ones: ask the champion these
    return judge(old, new, params.gate, index=release.index.name)


def keep_evidence(paths: Paths, release: Release) -> None:
    """Copy what the verdict rests on beside the releases, so that the next night can be compared with it."""
    folder = paths.releases / release.evaluation
    for name in EVIDENCE:
        source, target = paths.data / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            fsync_dir(target.parent)


def register(paths: Paths, params: Params, release: Release, verdict: Verdict, *, tags: dict[str, str]) -> Release:
    """Give the candidate its number: a version of the registered model, and a file beside the other releases."""
    known = next((r for r in all_releases(paths) if r.sha == release.sha), None)
    if known is not None and (known.reason.startswith("pass") or verdict.verdict != "pass"):
        return known  # a release never changes, and what let it in stays what let it in
    reason = verdict.verdict + (": " + "; ".join(verdict.reasons) if verdict.reasons else "")
    keep_evidence(paths, release)
    folder = paths.releases / release.evaluation / "evaluation"
    made = registry.record(
        paths,
        replace(release, reason=reason),
        params=asdict(params) | {"sources": [s.name for s in params.sources]},
        metrics=flat_scores(read_json(folder / "scores.json")),
        tags={
            "gate": verdict.verdict,
            "git_sha": release.git_sha,
            "dvc_lock": release.dvc_lock_sha,
            "data_sha": release.index.digest,
            **tags,
        },
        artifacts=[
            folder / "scores.json",
            folder / "by_query.jsonl",
            paths.root / "dvc.lock",
            paths.root / "params.yaml",
        ],
    )
    made = replace(made, reason=reason)
    if known is not None:  # refused once, let in now
        registry.tag(paths, made.number, {"gate": verdict.verdict, "reason": reason})
    save_release(paths, made)
    if verdict.verdict != "pass" and on_trial(paths) is None:  # the alias is that of the release on trial
        registry.set_aliases(paths, {registry.CHALLENGER: made.number})
    return made


def document_counts(paths: Paths, before: Release | None = None) -> dict[str, int]:
    """Count tonight's documents, and what changed against the manifest of a release."""
    tonight = file_shas(paths.data)
    live = file_shas(paths.releases / before.evaluation) if before else {}
    quarantined = {row["uri"] for name in ("ingest", "validate") for row in quarantine_rows(paths, name)}
    return {
        "seen": len(tonight),
        "changed": sum(live.get(uri) != sha for uri, sha in tonight.items()),
        "deleted": sum(uri not in tonight for uri in live),
        "quarantined": len(quarantined),
    }


def quarantine_rows(paths: Paths, stage: str) -> list[dict[str, Any]]:
    """Read the quarantine of one stage: ingest, validate or chunks."""
    return read_rows(paths.data / "quarantine" / f"{stage}.jsonl")


def stage_stats(paths: Paths, ran: dict[str, bool]) -> dict[str, dict[str, Any]]:
    """Collect what each stage that ran tonight said of itself; a skipped one cost nothing."""
    return {
        name: (read_json(paths.state / "stages" / f"{name}.json") or {}) if did else {"skipped": True, "seconds": 0.0}
        for name, did in ran.items()
    }
