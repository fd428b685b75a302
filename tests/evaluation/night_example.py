"""A night as the stages leave it, in numbers that hang together.

`python -m tests.evaluation.night_example FILE [--held-back]` renders it.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from evaluation.report import NightReport, render_report

SETS = Path(__file__).parents[2] / "evaluation" / "sets"


def questions(name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (SETS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["split"] == "test"]


def paired(rows: list[dict[str, Any]]) -> dict[str, Any]:
    base, new = fmean(r["base"] for r in rows), fmean(r["new"] for r in rows)
    half = 1.96 * (fmean((r["delta"] - new + base) ** 2 for r in rows) / len(rows)) ** 0.5
    return {"base": base, "new": new, "delta": new - base, "ci": [new - base - half, new - base + half], "n": len(rows)}


def compared(rng: random.Random) -> list[dict[str, Any]]:
    rows = []
    for q in questions("stdlib") + questions("readmes"):
        base = rng.choice([0.0, 0.0, 0.31, 0.5, 0.63, 0.63, 1.0, 1.0, 1.0])
        new = base if rng.random() < 0.7 else rng.choice([0.0, 0.39, 0.5, 0.63, 1.0, 1.0])
        rank = [None if not v else round(1 / v) for v in (base, new)]
        rows.append({"id": q["id"], "text": q["text"], "base": base, "new": new, "delta": new - base, "rank": rank})
    return sorted(rows, key=lambda r: (r["delta"], r["id"]))


def answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    poor = [r for r in rows if r["new"] == 0.0][:9]
    cite = {
        "uri": "stdlib/shutil.py",
        "lines": [783, 790],
        "quote": "Recursively move a file or directory.",
        "score": 0.42,
    }
    hit = {"uri": "stdlib/textwrap.py", "lines": [419, 440], "context": "textwrap.dedent", "score": 0.61}
    made = [
        {"id": r["id"], "question": r["text"], "answer": cite["quote"], "abstained": False, "citations": [cite],
         "hits": [hit], "contexts": ["def dedent(text): remove the margin"],
         "scores": {"ndcg_at_10": r["new"], "rouge_l": 0.12}, "labels": [{"name": "shutil.move"}]}
        for r in poor
    ]  # fmt: skip
    unknown = questions("unanswerable")[0]
    return [*made, {**made[0], "id": unknown["id"], "question": unknown["text"], "answerable": False, "scores": {}}]


def metrics(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tonight's scores and the comparison with the champion."""
    main = paired(rows)
    shift = {"ndcg_at_10": 0.0, "recall_at_10": 0.17, "rr": -0.03, "answer_support": 0.1, "abstention_accuracy": 0.2}
    pairs = {n: {**main, "base": main["base"] + d, "new": main["new"] + d} for n, d in shift.items()}
    own = {n: {"mean": p["new"], "ci": [p["new"] - 0.041, p["new"] + 0.039], "n": p["n"]} for n, p in pairs.items()}
    return own, pairs


QUARANTINE = [
    ("stdlib/lib2to3/pgen2/bad.py", "ingest", "encoding", "no encoding fits"),
    ("readmes/antlr4_python3_runtime-4.9.3.dist-info/METADATA", "ingest", "empty", "no text"),
    ("readmes/griffecli-2.4.1.dist-info/METADATA", "ingest", "empty", "no text"),
    ("stdlib/pydoc_data/topics.py", "validate", "control", "2 % control characters"),
]
EXPECTATIONS = [
    ("row count between 1 and 2000", "critical", True, 901),
    ("volume change at most 50 %", "critical", True, "-0.2 %"),
    ("no control characters", "warning", False, "1 document"),
]
STAGES: list[tuple[str, float, float, dict[str, int]]] = [
    ("scan", 0.4, 0.3, {"files": 901}), ("ingest", 21.7, 36.2, {"parsed": 23}), ("validate", 8.1, 7.9, {}),
    ("chunk", 6.4, 6.1, {"made": 412}), ("embed", 58.3, 104.5, {"embedded": 412}), ("index", 9.2, 11.0, {}),
    ("evaluate", 37.0, 61.3, {"questions": 424}),
]  # fmt: skip
RESULT: dict[str, Any] = {
    "release": "12", "published": True, "verdict": "pass", "seconds": 143.2,
    "documents": {"seen": 901, "changed": 23, "deleted": 2, "quarantined": 4},
    "chunks": {"total": 24118, "embedded": 412},
}  # fmt: skip
RELEASE: dict[str, Any] = {
    "number": 12, "sha": "b1946ac92492d2347c6235b4d2611184", "generator": "extractive", "run_id": "a7f0c1d2e3b44a5f",
    "index": {"name": "docs-6f1e0c52b7d94f2e", "digest": "6f1e0c52b7d94f2ea8e7d0c1a5b39c44", "store": "lancedb",
              "embedder": "all-MiniLM-L6-v2/53aa5117/openvino-2026.4/bf16", "chunks": 24118},
    "fusion": {"method": "convex", "weight": 0.65}, "git_sha": "1335328c4f76024e7bd14c4e64909b21efdf4908",
    "dvc_lock_sha": "9c1185a5c5e9fc54612808977ee8f548", "created_at": "2026-11-21T02:02:27Z",
}  # fmt: skip


def trend() -> list[dict[str, Any]]:
    means = [0.43 + 0.01 * n for n in range(1, 12)]
    return [{"release": n, "value": mean, "ci": [mean - 0.04, mean + 0.04]} for n, mean in enumerate(means, 1)]


def watched() -> dict[str, Any]:
    """A look with an alarm, one part that cannot be told, and two releases."""
    shares = {"abstained": [0.08, 0.07, 0.09], "down": [0.02, 0.01, 0.03], "clicked": None}
    drift = {"auc": 0.81, "p": 0.0, "psi": {"length": 0.02, "source": None}, "reasons": ["told apart from before"]}
    return {
        "at": "2026-11-21T02:10:00Z", "release": "12", "alarms": ["questions"],
        "embedder": {"alarm": False, "distance": 0.0, "since": "2026-10-01", "fingerprint": "minilm-53aa5117"},
        "recall": {"alarm": False, "value": 0.998, "floor": 0.95, "asked": 50},
        "questions": {"alarm": True, **drift, "far": [0.2, 0.16, 0.24], "now": 400, "before": 400},
        "documents": {"alarm": None, "why": "there is no earlier index to hold it against"},
        "feedback": {
            "alarm": False, "before": "11", "difference": {"down": [0.01, -0.01, 0.03], "clicked": None},
            "rows": [{"release": str(n), "answers": 2100, "simulated": 12 - n, **shares} for n in (12, 11)],
        },
    }  # fmt: skip


def stages() -> dict[str, dict[str, Any]]:
    ran = {name: {"seconds": wall, "cpu_seconds": cpu, **stats} for name, wall, cpu, stats in STAGES}
    return {**ran, "validate_chunks": {"skipped": True, "seconds": 0.0}}


def example(seed: int = 7) -> NightReport:
    rows = compared(random.Random(seed))
    own, pairs = metrics(rows)
    slices = {f"source={key}": paired([r for r in rows if r["id"].startswith(key)]) for key in ("stdlib", "readmes")}
    notes = ["3 questions are new and were not compared"]
    verdict = {"verdict": "pass", "reasons": [], "notes": notes, "metrics": pairs, "slices": slices, "questions": rows}
    expected = [dict(zip(("expectation", "severity", "success", "observed"), e, strict=True)) for e in EXPECTATIONS]
    mlflow = {name: f"readmes/{name}-3.17.2.dist-info/METADATA" for name in ("mlflow", "mlflow_skinny")}
    return NightReport(
        at="2026-11-21T02:00:04Z",
        result=RESULT,
        verdict=verdict,
        scores={"metrics": own, "slices": {}},
        answers=answers(rows),
        trend=[*trend(), {"release": 12, "value": own["ndcg_at_10"]["mean"], "ci": own["ndcg_at_10"]["ci"]}],
        skipped={"counts": {"binary": 12, "ignored": 310, "too large": 1}},
        quarantine=[dict(zip(("uri", "stage", "reason", "detail"), row, strict=True)) for row in QUARANTINE],
        released=[{"uri": "stdlib/pydoc_data/topics.py", "reason": "control"}],
        near_duplicates={
            "count": 1,
            "pairs": [{"a": mlflow["mlflow"], "b": mlflow["mlflow_skinny"], "similarity": 0.97}],
        },
        validation={"documents": {"expectations": expected}},
        stages=stages(),
        monitor=watched(),
        release=RELEASE,
        live={"number": 11},
        params_sha="0beec7b5ea3f0fdbc95d0dd47f3c5bc2",
        versions={"Python": "3.11.7", "ragkeep": "0.1.0"},
    )


def held_back() -> NightReport:
    """The same night, had the retriever been broken."""
    rows = [{**r, "new": r["base"] * 0.2, "delta": -0.8 * r["base"]} for r in compared(random.Random(7))]
    own, pairs = metrics(rows)
    reason = "ndcg_at_10 fell from 0.5930 to 0.1186 (-0.4744, interval -0.5290 to -0.4210, 226 questions)"
    data = {k: v for k, v in asdict(example()).items() if k not in ("verdict", "scores", "result")}
    result = {**RESULT, "published": False, "verdict": "fail", "release": "11"}
    verdict = {"verdict": "fail", "reasons": [reason], "notes": [], "metrics": pairs, "slices": {}, "questions": rows}
    return NightReport(**data, result=result, verdict=verdict, scores={"metrics": own, "slices": {}})


if __name__ == "__main__":
    night = held_back() if "--held-back" in sys.argv else example()
    Path(sys.argv[1]).write_text(render_report(night), encoding="utf-8")
