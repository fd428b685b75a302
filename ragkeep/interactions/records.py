"""What the interaction log holds: constructors that refuse what is unknown, and records to and from bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import orjson

from ..config import is_id
from ..pii import mask
from ..types import Answer, Citation, Hit, Impression, Interaction, InteractionKind, ToolCall

_NUMBER = (int, float)
_TEXT_OR_NONE = (str, type(None))
_ROW_OR_NONE = (dict, type(None))
FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "answer": {
        "question": str, "rewritten": _TEXT_OR_NONE, "text": str, "model": str, "abstained": bool, "aborted": bool,
        "cited": list, "citations": list, "shown": list, "prompt_tokens": int, "completion_tokens": int,
        "cost_usd": _NUMBER, "timings_ms": dict, "trace": str, "reformulates": _TEXT_OR_NONE, "index": str,
        "embedder": str, "prompt": str, "calls": list, "route": str, "trial": _ROW_OR_NONE,
    },
    "vote": {"value": int, "reason": str},
    "click": {"rank": int, "chunk": str, "uri": str},
    "correction": {"text": str},
    "shadow": {
        "trial": str, "index": str, "shown": list, "abstained": (bool, type(None)), "model": str, "timings_ms": dict,
    },
    "erase": {"what": str, "value": str},
}  # fmt: skip
"""The payload of each kind: every key is there, and no other."""

TEXTS = {"answer": ("question", "rewritten", "text"), "vote": ("reason",), "correction": ("text",)}
"""What people or models wrote freely: masked before anything is written."""

IMPRESSION: dict[str, type | tuple[type, ...]] = {
    "chunk": str,
    "uri": str,
    "lines": list,
    "span": list,
    "rank": int,
    "score": _NUMBER,
    "scores": dict,
}
TRIAL: dict[str, dict[str, type | tuple[type, ...]]] = {
    "split": {"id": str, "mode": str, "side": str},
    "interleave": {"id": str, "mode": str, "challenger": str, "index": str, "teams": list},
}
"""What an answer's `trial` says: on which side whoever asked was (its `release` is who answered), or which side chose the
source at each rank ("" neither), and the challenger's release and index."""
_OPAQUE = re.compile(r"[A-Za-z0-9_.:|-]{1,128}")


def answered(
    answer: str,
    question: str,
    given: Answer,
    *,
    workspace: str,
    user: str,
    session: str,
    rewritten: str | None = None,
    aborted: bool = False,
    cost_usd: float = 0.0,
    timings_ms: Mapping[str, float] | None = None,
    trace: str = "",
    reformulates: str | None = None,
    index: str = "",
    embedder: str = "",
    prompt: str = "",
    trial: Mapping[str, Any] | None = None,
) -> Interaction:
    """Record an answer with all it showed, in order; `answer` is its id, `reformulates` that of an earlier one.

    `rewritten` is the question as it was searched, `prompt` the hash of the prompt's template, `trial` what part it had
    in one (TRIAL). The payload's `citations` are what the text's markers [1], [2] ... mean: rank of the source, first and
    last line. Raises ValueError.
    """
    payload = {
        "question": question, "rewritten": rewritten, "text": given.text, "model": given.model,
        "abstained": given.abstained, "aborted": aborted, "cited": cited_ranks(given.citations, given.hits),
        "citations": [[one.source, *one.lines] for one in given.citations],
        "shown": [_shown(rank, hit) for rank, hit in enumerate(given.hits, 1)],
        "prompt_tokens": given.usage.prompt_tokens, "completion_tokens": given.usage.completion_tokens,
        "cost_usd": cost_usd, "timings_ms": dict(timings_ms or {}), "trace": trace, "reformulates": reformulates,
        "index": index, "embedder": embedder, "prompt": prompt,
        "calls": [_called(call, ok, said) for call, ok, said in given.calls], "route": given.route,
        "trial": dict(trial) if trial else None,
    }  # fmt: skip
    return _made("answer", workspace, user, session, answer, payload, release=given.release or "")


def voted(answer: str, value: int, *, workspace: str, user: str, session: str, reason: str = "") -> Interaction:
    """Record a vote on an answer: +1 or -1. Raises ValueError."""
    return _made("vote", workspace, user, session, answer, {"value": value, "reason": reason})


def clicked(answer: str, rank: int, *, chunk: str, uri: str, workspace: str, user: str, session: str) -> Interaction:
    """Record that the source shown at `rank` (from 1) was opened. Raises ValueError."""
    return _made("click", workspace, user, session, answer, {"rank": rank, "chunk": chunk, "uri": uri})


def corrected(answer: str, text: str, *, workspace: str, user: str, session: str) -> Interaction:
    """Record what the answer should have been. Raises ValueError."""
    return _made("correction", workspace, user, session, answer, {"text": text})


def shadowed(
    answer: str,
    hits: Sequence[Hit],
    *,
    trial: str,
    release: str,
    workspace: str,
    user: str,
    session: str,
    index: str = "",
    abstained: bool | None = None,
    model: str = "",
    timings_ms: Mapping[str, float] | None = None,
) -> Interaction:
    """Record what a challenger would have shown where `answer` was given; nobody saw it, and nothing is learned from it.

    `abstained` is None where it only searched. Raises ValueError.
    """
    payload = {
        "trial": trial, "index": index, "shown": [_shown(rank, hit) for rank, hit in enumerate(hits, 1)],
        "abstained": abstained, "model": model, "timings_ms": dict(timings_ms or {}),
    }  # fmt: skip
    return _made("shadow", workspace, user, session, answer, payload, release=release)


def impressions(record: Interaction) -> tuple[Impression, ...]:
    """Read what an answer showed, or a shadow would have, best first; nothing for other kinds."""
    return tuple(
        Impression(row["chunk"], row["uri"], tuple(row["lines"]), tuple(row["span"]), row["rank"], row["score"])
        for row in record.payload.get("shown", ())
    )


def cited_ranks(citations: Sequence[Citation], hits: Sequence[Hit]) -> list[int]:
    """Find which of the sources shown were cited: the best rank that holds each quote, from 1, each once."""
    ranks = []
    for quote in citations:
        ranks += [rank for rank, hit in enumerate(hits, 1) if _holds(hit, quote)][:1]
    return sorted(set(ranks))


def _holds(hit: Hit, quote: Citation) -> bool:
    first, last = hit.chunk.lines
    return hit.chunk.uri == quote.uri and first <= quote.lines[0] and quote.lines[1] <= last


def _called(call: ToolCall, ok: bool, said: str) -> dict[str, Any]:
    """A tool that was asked for, personal data masked."""
    arguments = orjson.dumps(call.arguments, default=str).decode()
    return {"tool": call.name, "ok": ok, "arguments": mask(arguments)[0], "said": mask(said[:500])[0]}


def _shown(rank: int, hit: Hit) -> dict[str, Any]:
    chunk = hit.chunk
    return {
        "chunk": chunk.id, "uri": chunk.uri, "lines": list(chunk.lines), "span": list(chunk.span),
        "rank": rank, "score": float(hit.score), "scores": _scores(hit),
    }  # fmt: skip


def _scores(hit: Hit) -> dict[str, float]:
    """How a hit's score came about: both legs, what became of them, and the reranker's; what is not known is left out."""
    reranked = hit.fused is not None
    fused = hit.fused if reranked else hit.score if hit.vector is not None else None
    rows = {"vector": hit.vector, "keyword": hit.keyword, "fused": fused, "rerank": hit.score if reranked else None}
    return {name: float(value) for name, value in rows.items() if value is not None}


def _made(
    kind: InteractionKind,
    workspace: str,
    user: str,
    session: str,
    answer: str,
    payload: dict[str, Any],
    *,
    release: str = "",
) -> Interaction:
    record = Interaction(0, now(), kind, workspace, user, session, answer, release, payload)
    check(record)
    return record


def now() -> str:
    """Say the time as records hold it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def check(record: Interaction) -> None:
    """Raise ValueError, naming kind and key, unless a record is one that a reader expects."""
    fields = FIELDS.get(record.kind)
    if fields is None:
        raise ValueError(f"unknown kind of interaction {record.kind!r}: known are {', '.join(get_args(InteractionKind))}")
    for name, value in (("user", record.user), ("session", record.session), ("answer", record.answer)):
        if not _OPAQUE.fullmatch(value) and record.kind != "erase":
            raise ValueError(f"{record.kind}: {name} must be an opaque id of 1-128 letters, digits or _.:|-")
    if not is_id(record.workspace) and record.kind != "erase":
        raise ValueError(f"{record.kind}: workspace {record.workspace!r} must be 1-64 of a-z, 0-9 and '-'")
    _check_fields(record.kind, record.payload, fields)
    _check_values(record.kind, record.payload)


def _check_fields(where: str, given: dict[str, Any], fields: Mapping[str, type | tuple[type, ...]]) -> None:
    if given.keys() != fields.keys():
        odd = ", ".join(sorted(given.keys() ^ fields.keys()))
        raise ValueError(f"{where}: missing or unknown: {odd}; the keys are {', '.join(fields)}")
    for key, kinds in fields.items():
        value = given[key]
        known = kinds if isinstance(kinds, tuple) else (kinds,)
        if not isinstance(value, known) or (isinstance(value, bool) and bool not in known):
            raise ValueError(f"{where}: {key} must not be a {type(value).__name__}")


def _check_values(kind: str, payload: dict[str, Any]) -> None:
    if kind == "vote" and payload["value"] not in (1, -1):
        raise ValueError(f"vote: value must be 1 or -1, not {payload['value']}")
    if kind == "click" and payload["rank"] < 1:
        raise ValueError(f"click: rank counts from 1, not {payload['rank']}")
    for row in payload["shown"] if kind in ("answer", "shadow") else ():
        _check_fields(f"{kind}: shown", row, IMPRESSION)
    if kind == "answer":
        _check_trial(payload["trial"], payload["shown"])
        known = {row["rank"] for row in payload["shown"]}
        if not known.issuperset(payload["cited"]):
            raise ValueError("answer: cited names a rank that was not shown")


def _check_trial(trial: dict[str, Any] | None, shown: Sequence[Any]) -> None:
    if trial is None:
        return
    fields = TRIAL.get(trial.get("mode", ""))
    if fields is None:
        raise ValueError(f"answer: trial: mode must be one of {', '.join(TRIAL)}")
    _check_fields("answer: trial", trial, fields)
    if len(trial.get("teams", shown)) != len(shown):
        raise ValueError("answer: trial: there is a team for each source shown")


def masked(record: Interaction) -> Interaction:
    """Put placeholders in place of personal data and secrets in every free text."""
    texts = {key: record.payload[key] for key in TEXTS.get(record.kind, ())}
    return replace(record, payload={**record.payload, **{k: v and mask(v)[0] for k, v in texts.items()}})


def encode_record(record: Interaction) -> bytes:
    """Write a record as JSON, without its sequence number, which the frame carries."""
    row = {name: getattr(record, name) for name in _NAMES}
    try:
        return orjson.dumps(row)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"{record.kind}: the payload is not JSON ({error})") from None


_NAMES = ("at", "kind", "workspace", "user", "session", "answer", "release", "payload")


def decode_record(seq: int, payload: bytes) -> Interaction | None:
    """Read a record back; None for the shell of one that was erased."""
    row = orjson.loads(payload)
    return None if row["kind"] == "erased" else Interaction(seq, *[row[name] for name in _NAMES])


def taken_by(payload: bytes) -> int | None:
    """Read from a record's bytes which tombstone took it, None for one that is still there."""
    row = orjson.loads(payload) if payload.startswith(b'{"kind":"erased"') else {}
    by: int | None = row.get("by")
    return by


def shell(tombstone: int) -> bytes:
    """What is left of an erased record: that it was one, and the sequence number of the tombstone that took it."""
    return orjson.dumps({"kind": "erased", "by": tombstone})
