"""What the stand-in answers: sources, answers, documents, releases and figures of an imaginary deployment."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).parents[2] / "ragkeep" / "serving" / "web"
TODAY = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
MODELS = ["ragkeep", "llama-3.3-70b", "claude-on-bedrock"]
ME = {
    "user": "ana",
    "roles": {"default": "admin", "handbook": "reader"},
    "scopes": ["chat", "admin"],
    "spent": [
        {
            "account": "payer:ana",
            "period": "2026-11",
            "tokens": 860_000,
            "usd": 0.4,
            "requests": 41,
            "tokens_limit": 1_000_000,
            "usd_limit": 20.0,
        }
    ],
}
WORKSPACES = [
    {"id": "default", "name": "Platform", "role": "admin", "documents": 3},
    {"id": "handbook", "name": "Handbook", "role": "reader", "documents": 0},
]
KEYS = [{"id": "k1", "name": "nightly report", "scopes": ["chat"], "roles": {"default": "reader"}, "expires_at": ""}]
LINES = [
    "def loads(s, *, cls=None, object_hook=None, **kw):",
    '    """Deserialize ``s`` to a Python object.',
    "",
    "    Raises JSONDecodeError where the text is no JSON.",
    '    """',
    "    if isinstance(s, str):",
    "        if s.startswith('\\ufeff'):",
    "            raise JSONDecodeError('Unexpected UTF-8 BOM (decode using utf-8-sig)', s, 0)",
    "    else:",
    "        s = s.decode(detect_encoding(s), 'surrogatepass')",
    "    if cls is None and object_hook is None and not kw:",
    "        return _default_decoder.decode(s)",
]
ANSWER = """\
Call `json.loads` with the text; it returns plain Python objects. [1]

What it takes and gives:

- a `str`, `bytes` or `bytearray` holding one JSON document [1]
- **objects** become dictionaries, **arrays** become lists [2]
- a byte order mark in a `str` is refused [3]

```python
import json

settings = json.loads('{"port": 8080}')
print(settings["port"])
```

Text that is no JSON raises `JSONDecodeError`, which says the line and the column. [2] Most people log it."""
ATTACK = """\
<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>
![pixel](https://attacker.example/p.png) and [a link](javascript:document.title='owned') stay letters. [1]"""


def now() -> str:
    return datetime.now(UTC).isoformat()


def sources() -> list[dict[str, Any]]:
    places = [
        ("lib/python3.12/json/__init__.py", [299, 304], "json.loads"),
        ("lib/python3.12/json/decoder.py", [332, 345], "json.decoder.JSONDecoder.decode"),
        ("lib/python3.12/json/__init__.py", [335, 338], "json.loads"),
        ("docs/handbook/services/configuration-of-the-ingest-service-in-production.md", [12, 40], "Install > Settings"),
    ]
    preview = "\n".join(LINES[:4])
    return [
        {
            "n": n,
            "uri": uri,
            "lines": lines,
            "context": context,
            "language": "python",
            "kind": "code",
            "score": 0.9 - n / 10,
            "preview": preview,
        }
        for n, (uri, lines, context) in enumerate(places, 1)
    ]


def text_for(question: str) -> str:
    if "html" in question:
        return ATTACK
    if "long" in question:
        return "\n\n".join(f"Paragraph {n} {'says a word more ' * 14}[1]" for n in range(40)) + "\n\n" + "x" * 900
    return ANSWER


def body_of(answer_id: str, asked: dict[str, Any]) -> dict[str, Any]:
    question, found = asked["message"], sources()
    missing = "missing" in question
    cited = [] if missing else found[:3]
    return {
        "answer_id": answer_id,
        "session": asked.get("session") or f"s-{answer_id}",
        "text": "Not in the documents." if missing else text_for(question),
        "abstained": missing,
        "reason": "The closest passages are about reading JSON, not about this." if missing else None,
        "citations": [
            {"n": n, "uri": s["uri"], "lines": s["lines"], "quote": LINES[0], "score": s["score"], "source": n}
            for n, s in enumerate(cited, 1)
        ],
        "sources": found,
        "unsupported": [] if missing else ["Most people log it."],
        "model": asked.get("model") or MODELS[0],
        "release": 12,
        "usage": {"prompt_tokens": 1840, "completion_tokens": 142},
        "cost_usd": 0.00213,
        "cached": "cached" in question,
        "logged": "unlogged" not in question,
        "timings_ms": {"retrieve": 31, "rerank": 12, "generate": 410, "total": 456},
        "agreement": agreement() if asked.get("compare") or "compare" in question else None,
        "trace_id": "4bf92f3577b34da6",
    }


def agreement() -> dict[str, Any]:
    texts = [ANSWER[:240], "Use `json.loads`.\n\nIt raises on bad text.", ""]
    answers = [
        {"model": model, "text": text, "seconds": 1.2 + n, "error": None if text else "no answer within 8 s"}
        for n, (model, text) in enumerate(zip(MODELS, texts, strict=True))
    ]
    return {"score": 0.46, "low": True, "answers": answers}


def events(answer_id: str, asked: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The whole stream of an answer, as (event, data)."""
    body = body_of(answer_id, asked)
    start = {key: body[key] for key in ("answer_id", "session", "release", "model")}
    head = [
        ("start", {**start, "workspace": "default", "question": asked["message"]}),
        ("sources", {"sources": body["sources"]}),
    ]
    text = body["text"]
    size = max(4, len(text) // 400)
    tokens = [("token", {"text": text[at : at + size]}) for at in range(0, len(text), size)]
    if "fail" in asked["message"]:
        failure = {
            "code": "provider",
            "message": "The model stopped answering. Try again.",
            "trace_id": "4bf92f3577b34da6",
        }
        return [*head, *tokens[:9], ("error", failure)]
    return [*head, *tokens, ("done", body)]


def document(name: str, size: int, workspace: str, **more: Any) -> dict[str, Any]:
    at = now()
    return {
        "id": f"d-{name}",
        "workspace": workspace,
        "name": name,
        "uri": f"upload://{workspace}/{name}",
        "type": "text/plain",
        "size": size,
        "status": "submitted",
        "reason": None,
        "chunks": None,
        "created_at": at,
        "updated_at": at,
        **more,
    }


DOCUMENTS = [
    document("runbook-ingest.md", 18_400, "default", status="processed", chunks=23),
    document(
        "architecture decisions 2026, with a long name that has to wrap somewhere.docx",
        1_840_000,
        "default",
        status="processed",
        chunks=188,
    ),
    document(
        "scan.pdf",
        240_000,
        "default",
        status="error",
        reason="No text on any page: run it through text recognition first.",
    ),
]


def release(n: int) -> dict[str, Any]:
    ndcg = 0.61 + 0.018 * n - 0.0009 * n * n + 0.01 * math.sin(n * 2)
    scores = {"nDCG@10": ndcg, "recall@10": ndcg + 0.14, "answer relevance": ndcg + 0.05}
    return {
        "number": str(n),
        "created_at": (TODAY - timedelta(days=2 * (12 - n))).isoformat(),
        "verdict": "not worse" if n % 4 else "better",
        "reason": "nDCG@10 within 0.01 of the champion",
        "scores": {name: {"value": v, "lo": v - 0.024, "hi": v + 0.022} for name, v in scores.items()},
        "index": f"docs-{n:04}",
        "embedder": "all-MiniLM-L6-v2 int8",
        "generator": "extractive",
        "git_sha": f"{n:02x}fd7b22c9e1a0",
    }


def operations() -> dict[str, dict[str, Any]]:
    """What each path under /v1/ops answers."""
    at = [(TODAY - timedelta(hours=23 - h)).timestamp() for h in range(24)]
    busy = [max(0.0, math.sin((h - 5) / 24 * math.pi * 1.6)) for h in range(24)]
    series = {
        "latency_p50_ms": [180 + 90 * b for b in busy],
        "latency_p95_ms": [420 + 500 * b for b in busy],
        "cost_usd": [0.02 + 0.3 * b for b in busy],
        "requests": [round(220 * b) for b in busy],
        "abstained": [round(12 * b) for b in busy],
        "thumbs_down": [round(4 * b) for b in busy],
        "errors": [0] * 23 + [2],
    }
    nights = [
        {
            "at": (TODAY - timedelta(days=d)).isoformat(),
            "verdict": ["published", "unchanged", "refused: nDCG@10 fell"][d % 3],
            "seconds": 340 - d * 17,
            "documents": {"total": 4210 + 3 * d, "changed": 7 * d},
            "chunks": {"total": 61_200 + 40 * d, "embedded": 90 * d},
            "release": 12 - d if d % 3 == 0 else None,
        }
        for d in range(9)
    ]
    event = {
        "at": TODAY.isoformat(),
        "action": "promote",
        "from": 11,
        "to": 12,
        "who": "nightly",
        "reason": "not worse on any score",
    }
    row = {"reason": "no text", "detail": "12 pages, none with a text layer", "at": TODAY.isoformat()}
    share = [0.05, 0.04, 0.061]
    votes = {"answers": 2100, "abstained": [0.08, 0.07, 0.09], "down": share, "clicked": [0.31, 0.29, 0.33]}
    figures = {"recall_at_10": 0.998, "questions_auc": 0.53, "documents_auc": 0.51, "questions_far": 0.06, "down": 0.05}
    looked = {
        "at": TODAY.isoformat(),
        "release": "12",
        "embedder": {"alarm": False, "state": "same", "distance": 0.0, "since": TODAY.isoformat(), "fingerprint": "m"},
        "recall": {"alarm": False, "value": 0.998, "floor": 0.95, "asked": 50},
        "questions": {"alarm": True, "reasons": ["told apart from before"], "auc": 0.81, "p": 1e-9, "now": 400},
        "documents": {"alarm": None, "why": "there is no earlier index to hold it against"},
        "feedback": {
            "alarm": False, "before": "11", "difference": {"down": [0.01, -0.01, 0.03]},
            "rows": [{"release": str(n), **votes} for n in (12, 11)],
        },
    }  # fmt: skip
    watching = {
        "last": looked,
        "history": [
            {"at": (TODAY - timedelta(days=20 - d)).isoformat(), **{k: v - d / 1000 for k, v in figures.items()}}
            for d in range(20)
        ],
        "alerts": [
            {"alert": "questions", "severity": "warning", "summary": "questions are other ones than before",
             "action": "See docs/monitoring.md.", "since": TODAY.isoformat()},
        ],
    }  # fmt: skip
    trial = {
        "trouble": "", "running": True, "mode": "interleave", "answers": 1480, "people": 37, "simulated": 0,
        "trial": {
            "id": "t1", "number": "13", "champion": "12", "mode": "interleave", "share": 0.3, "by": "user",
            "started_at": TODAY.isoformat(), "until": "", "after": 900, "token": 4, "who": "learn",
            "reason": "it puts what was shown in a better order", "answers": 400,
        },
        "winner": "challenger", "p": 0.004,
        "says": "release 13 (the challenger) is better than release 12",
        "counts": {"wins": 167, "losses": 103, "ties": 610, "not clicked": 600},
        "measures": [
            {"measure": "preference", "champion": None, "challenger": None, "difference": 0.036, "lo": 0.011, "hi": 0.061,
             "n": 880},
        ],
    }  # fmt: skip
    return {
        "trial": trial,
        "monitor": watching,
        "releases": {"champion": "12", "previous": "11", "releases": [release(n) for n in range(1, 13)]},
        "history": {"events": [event]},
        "nights": {"nights": nights},
        "quarantine": {"rows": [{"uri": f"s3://docs/scans/{n}.pdf", **row} for n in range(3)], "total": 3},
        "metrics": {"series": {name: list(map(list, zip(at, values, strict=True))) for name, values in series.items()}},
    }


def explained(answer_id: str) -> dict[str, Any]:
    """What /v1/answers/{id} says of any answer."""
    scores = [
        {
            "vector": 0.71 - n / 9,
            "keyword": 0.0 if n == 3 else 14.2 - 3 * n,
            "fused": 0.93 - n / 8,
            "rerank": 4.1 - 2.6 * n,
        }
        for n in range(4)
    ]
    shown = [
        {"chunk": f"c{s['n']}", "uri": s["uri"], "lines": s["lines"], "rank": s["n"], "score": s["score"], "scores": legs}
        for s, legs in zip(sources(), scores, strict=True)
    ]
    return {
        "answer_id": answer_id,
        "at": TODAY.isoformat(),
        "question": "And from a file?",
        "rewritten": "How do I parse JSON? And from a file?",
        "glossary": ["jayson=JSON"],
        "second_look": {"by": "features", "depth": 20, "model": "reranker/3"},
        "model": MODELS[0],
        "route": "code",
        "release": "12",
        "index": "docs-0012",
        "embedder": "all-MiniLM-L6-v2 int8 openvino-2026.3 53aa51172d142c89",
        "prompt": "9d1c0f52ab6641e0b7a95d41d2f6c0aa",
        "trace": "4bf92f3577b34da6a3ce929d0e0e4736",
        "cited": [1, 2, 3],
        "shown": shown,
        "prompt_tokens": 1840,
        "completion_tokens": 142,
        "cost_usd": 0.00213,
        "timings_ms": {"embed": 6.2, "retrieve": 31, "rerank": 96, "first_token": 171, "generate": 322.8, "total": 456},
        "feedback": [],
        "release_details": {
            "number": 12,
            "sha": "52ab6641e0b7",
            "created_at": TODAY.isoformat(),
            "reason": "nDCG@10 within 0.01 of the champion",
            "git_sha": "0cfd7b22c9e1a0b7a95d41d2f6c0aa01f24ce0c1",
            "index": {"store": "lancedb", "chunks": 61_240, "built_at": TODAY.isoformat()},
            "fusion": {"method": "convex", "weight": 0.6, "code_weight": 0.85},
        },
    }


def told(n: int, question: str, **more: Any) -> dict[str, Any]:
    """A turn as the log has it."""
    return {
        "answer_id": f"old{n}",
        "at": (TODAY - timedelta(days=2, minutes=-n)).isoformat(),
        "question": question,
        "text": "Call `json.load` with the open file. [1]",
        "abstained": False,
        "aborted": False,
        "citations": [{"n": 1, "source": 2, "lines": [335, 338]}],
        "sources": [{key: one[key] for key in ("n", "uri", "lines", "score")} for one in sources()],
        "model": MODELS[0],
        "release": "11",
        "route": "code",
        "usage": {"prompt_tokens": 900, "completion_tokens": 40},
        "cost_usd": 0.0,
        "timings_ms": {"total": 120},
        "trace_id": "4bf92f3577b34da6",
        "vote": None,
        **more,
    }


def conversations() -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """Conversations that only the server knows, and their turns."""
    turns = [
        told(1, "How do I read JSON from a file?", vote=1),
        told(2, "And without closing it?"),
        told(3, "Is it safe?"),
    ]
    made = {"workspace": "default", "created_at": turns[0]["at"], "updated_at": turns[-1]["at"]}
    row = {**made, "id": "c0ffee", "title": turns[0]["question"], "turns": 3}
    return [row], {"c0ffee": turns}
