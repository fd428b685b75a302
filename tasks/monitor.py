"""Watch what is live: does its index still find, its embedder still embed as it did, are questions and documents what
they were, what do people say of its answers? `ragkeep monitor` prints it; every night looks, also one without news.

Nothing here changes what is live, and nothing but an embedder that became another one stops a night: a figure that
cannot be had says why. Thresholds and their reasons are in docs/monitoring.md.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.drift import FAR_ALARM, PSI_ALARM, far, psi, told_apart
from ragkeep import canary
from ragkeep.app import release_params
from ragkeep.config import Params, Paths, RetrieveParams
from ragkeep.embedders import load_embedder, query_fingerprint
from ragkeep.errors import EmbedderMoved, RagkeepError
from ragkeep.files import append_row, read_json, write_json
from ragkeep.glossary import glossaries
from ragkeep.ports import Embedder, VectorStore
from ragkeep.releases import pointer, read_release, require_champion
from ragkeep.stores import open_store
from ragkeep.types import Query, Release, Vectors, content_id
from ragkeep.vector_cache import cache_path
from ragkeep.watched import HISTORY, LAST, PARTS
from tasks.index import RECALL_FLOOR
from tasks.portrait import Portrait, length_bin, portrait_of, read_portrait
from tasks.recall import share_found
from tasks.usage import Questions, between, newest, releases

PROBE_S = 10.0
"""How long the recall probe and the search for far questions may take, each."""
REFERENCES = "references.json"


def embedder_of(paths: Paths, params: Params, release: Release) -> Embedder:
    """Load what embeds questions for a release."""
    return load_embedder(release_params(params, release).embed, paths.cache)


def require_same_embedder(paths: Paths, params: Params) -> None:
    """Raise EmbedderMoved where the live release's embedder makes vectors that its index has not; else return.

    A night asks before it embeds anything: vectors of two models in one index or cache find nothing well.
    """
    at = pointer(paths)
    if at is not None:
        release = read_release(paths, at.number)
        refuse_another(_embedder(embedder_of(paths, params, release), paths), str(release.number))


def refuse_another(found: dict[str, Any], release: str) -> None:
    """Raise EmbedderMoved where a look's part "embedder" says that it is another one."""
    if found.get("state") == "other":
        raise EmbedderMoved(
            f"the embedder {found['fingerprint']} makes other vectors than on {found['since']} (cosine distance "
            f"{found['distance']:.4f}, {canary.OTHER} at most): the index of release {release} does not fit them. "
            "Put the model or library back, or run `ragkeep monitor --accept-embedder` to embed everything anew"
        )


def accept_embedder(paths: Paths, params: Params) -> str:
    """Take the live release's embedder as it is now: the next night embeds everything anew. Return its fingerprint."""
    release = require_champion(paths)
    embedder = embedder_of(paths, params, release)
    canary.kept_at(embedder, paths.monitor).unlink(missing_ok=True)
    kept = {cache_path(paths.cache, who, embedder.dim) for who in (embedder.fingerprint, query_fingerprint(embedder))}
    cached = [path for one in kept for path in one.parent.glob(f"{one.name}*")]
    for path in (*cached, *(paths.data / "vectors").glob("*"), paths.state / "night.json"):
        path.unlink(missing_ok=True)
    return query_fingerprint(embedder)


def look(paths: Paths, params: Params, *, draw: bool = True) -> dict[str, Any]:
    """Look at everything; keep and return what was found. Raises ReleaseError where nothing is published yet.

    `draw` lets the portrait of a new index be drawn from data/: for who holds the night's lease. It is kept as "drawn".
    """
    began = time.monotonic()
    release = require_champion(paths)
    embedder = embedder_of(paths, params, release)
    store = open_store(release_params(params, release).index, paths)
    data = paths.data if draw else None
    portrait = _part(lambda: portrait_of(release.index.name, release.index.embedder, data, paths.monitor))
    mine = portrait if isinstance(portrait, Portrait) else None
    found: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "release": str(release.number),
        "index": release.index.name,
        "drawn": draw,
        "embedder": _part(lambda: _embedder(embedder, paths)),
        "recall": _part(lambda: _recall(store, release, mine)),
        "questions": _part(lambda: _questions(paths, params, release, embedder, store)),
        "documents": _part(lambda: _documents(paths, release, mine, data)),
        "feedback": _part(lambda: releases(paths, str(release.number))),
    }
    found["alarms"] = [what for what in PARTS if found[what].get("alarm")]
    found["figures"] = figures(found)
    found["seconds"] = round(time.monotonic() - began, 2)
    write_json(paths.monitor / LAST, found)
    append_row(paths.monitor / HISTORY, _line(found))
    return found


def _part(work: Callable[[], Any]) -> Any:
    """Have one part looked at; one that fails says why and costs no other."""
    try:
        return work()
    except (RagkeepError, OSError, ValueError, KeyError, TypeError) as error:
        return _unknown(f"could not be looked at: {error}")


def _unknown(why: str, **more: Any) -> dict[str, Any]:
    return {"alarm": None, "why": why, **more}


def _embedder(embedder: Embedder, paths: Paths) -> dict[str, Any]:
    found = canary.check(embedder, paths.monitor)
    return {
        "alarm": found.state != "same", "state": found.state, "distance": found.distance, "since": found.since,
        "fingerprint": found.fingerprint,
    }  # fmt: skip


def _recall(store: VectorStore, release: Release, portrait: Portrait | None) -> dict[str, Any]:
    """Ask the live index for what an exact search found in it when it was built."""
    if portrait is None:
        return _unknown("no night has looked at this index yet: the next one does, where data/ is still of it")
    began, found, asked = time.monotonic(), 0.0, 0
    for row, probe in enumerate(portrait.asked):
        found += share_found(store, release.index.name, [probe], portrait.best[row : row + 1])
        asked += 1
        if time.monotonic() - began > PROBE_S:
            break
    if not asked:
        return _unknown("the index is empty")
    value = round(float(found) / asked, 4)
    return {"alarm": value < RECALL_FLOOR, "value": value, "floor": RECALL_FLOOR, "asked": asked}


def _questions(paths: Paths, params: Params, release: Release, embedder: Embedder, store: VectorStore) -> dict[str, Any]:
    """Hold the newest questions against those of the time when what answers was new."""
    retrieve = release_params(params, release).retrieve
    reference = _reference(paths, release, embedder, retrieve)
    now = newest(paths.interactions, reference.last)
    counts = {"before": len(reference.asked), "now": len(now.asked), "records": [reference.first, reference.last]}
    if not (reference.enough and now.enough):
        return _unknown(
            f"too few to tell: {counts['now']} new questions, {counts['before']} to hold them against", **counts
        )
    sides = [_vectors(embedder, one, retrieve) for one in (reference, now)]
    apart = told_apart(*sides)
    cosines = [_cosines(store, release, one, vectors) for one, vectors in zip((reference, now), sides, strict=True)]
    share = far(*cosines)
    lengths = psi(*(Counter(length_bin(text) for _, text in one.asked) for one in (reference, now)))
    sources = psi(reference.sources, now.sources)
    reasons = [
        *(["told apart from before"] if apart and apart.alarm else []),
        *(["far from every document"] if share and share[1] > FAR_ALARM else []),
        *(["another length"] if lengths is not None and lengths >= PSI_ALARM else []),
        *(["answered from other sources"] if sources is not None and sources >= PSI_ALARM else []),
    ]
    return {
        "alarm": bool(reasons), "reasons": reasons, **counts,
        "auc": _round(apart.auc if apart else None), "p": _round(apart.p if apart else None),
        "far": [_round(v) for v in share] if share else None,
        "psi": {"length": _round(lengths), "source": _round(sources)},
    }  # fmt: skip


def _reference(paths: Paths, release: Release, embedder: Embedder, retrieve: RetrieveParams) -> Questions:
    """The questions of the time when this embedder, with what it learned, was first watched with enough of them.

    What words stand for is part of it: that changes what is embedded. Only their range in the log is kept: who is erased
    from the log is erased from here.
    """
    worded = [repr(sorted(retrieve.glossary.items()))] if retrieve.glossary else []
    key = content_id(query_fingerprint(embedder), repr(release.serving.get("learned", [])), *worded)[:16]
    kept: dict[str, list[int]] = read_json(paths.monitor / REFERENCES) or {}
    if key in kept:
        found = between(paths.interactions, *kept[key])
        if found.enough:
            return found
    found = newest(paths.interactions, 0)
    if found.enough:
        write_json(paths.monitor / REFERENCES, {**kept, key: [found.first, found.last]})
    return found


def _vectors(embedder: Embedder, asked: Questions, retrieve: RetrieveParams) -> Vectors:
    """Embed questions as serving does, float32 (n, dim): in the documents' words."""
    glossary = glossaries(retrieve)
    return embedder.embed([glossary(workspace).apply(text) for workspace, text in asked.asked], role="query")


def _cosines(store: VectorStore, release: Release, asked: Questions, vectors: Vectors) -> Any:
    """Return the best cosine of each question in its own workspace, float64 (n,): fewer where time runs out."""
    until, best = time.monotonic() + PROBE_S, []
    for (workspace, _), vector in zip(asked.asked, vectors, strict=True):
        hits = store.search(release.index.name, Query("", vector, k=1, mode="vector", workspace=workspace))
        best.append(float(hits[0].score) if hits else -1.0)
        if time.monotonic() > until:
            break
    return np.array(best)


def _documents(paths: Paths, release: Release, mine: Portrait | None, data: Path | None) -> dict[str, Any]:
    """Hold tonight's chunks against the champion's, or where those went live the champion's against those before."""
    other = (read_json(paths.data / "index.json") or {}).get("name")
    tonight = None
    if other and other != release.index.name:  # refused, or waits for a person
        embedder = (read_json(paths.data / "embedder.json") or {}).get("fingerprint", "")
        tonight = portrait_of(other, embedder, data, paths.monitor)
    before, now, against = (mine, tonight, release.number) if tonight else (_previous(paths), mine, _number(paths))
    if before is None or now is None:
        return _unknown("there is no earlier index to hold it against")
    apart = told_apart(before.sample, now.sample) if before.embedder == now.embedder else None
    shifts = {what: psi(before.counts[what], now.counts[what]) for what in now.counts}
    if apart is None and all(value is None for value in shifts.values()):
        return _unknown(f"too few to tell: {len(now.sample)} chunks, {len(before.sample)} to hold them against")
    reasons = ["told apart from before"] if apart and apart.alarm else []
    reasons += [f"another mix of {what}" for what, value in shifts.items() if value is not None and value >= PSI_ALARM]
    return {
        "alarm": bool(reasons), "reasons": reasons, "against": str(against), "auc": _round(apart.auc if apart else None),
        "p": _round(apart.p if apart else None), "psi": {what: _round(value) for what, value in shifts.items()},
    }  # fmt: skip


def _number(paths: Paths) -> int | None:
    at = pointer(paths)
    return at.previous if at else None


def _previous(paths: Paths) -> Portrait | None:
    number = _number(paths)
    return read_portrait(paths.monitor / f"{read_release(paths, number).index.name}.npz") if number else None


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _line(found: dict[str, Any]) -> dict[str, Any]:
    """The figures of a look that make a series."""
    return {**{name: found[name] for name in ("at", "release", "index", "alarms")}, **found["figures"]}


def figures(found: dict[str, Any]) -> dict[str, float]:
    """Name the numbers of a look, those that are known."""
    rows: list[dict[str, Any]] = found["feedback"].get("rows") or []
    mine: dict[str, Any] = next((row for row in rows if row["release"] == found["release"]), {})
    named: dict[str, Any] = {
        "recall_at_10": found["recall"].get("value"),
        "embedder_distance": found["embedder"].get("distance"),
        "questions_auc": found["questions"].get("auc"),
        "questions_far": (found["questions"].get("far") or [None])[0],
        "documents_auc": found["documents"].get("auc"),
        **{what: (mine.get(what) or [None])[0] for what in ("abstained", "down", "clicked")},
    }
    return {name: float(value) for name, value in named.items() if value is not None}
