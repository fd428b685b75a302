"""Hold the documents against expectations and set aside what no reader could use. `python -m tasks.validate`

A failed critical expectation stops the night with the live index untouched; a failed warning quarantines its rows.
What a person released is let in again, as long as the file's bytes and the reason stay the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ragkeep.config import Params, Paths
from ragkeep.errors import ValidationFailed
from ragkeep.files import read_json, read_rows, write_json, write_rows
from ragkeep.releases import champion
from ragkeep.types import content_id
from tasks.near_duplicates import near_duplicates
from tasks.text_facts import frame

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.expectations import Outcome

COLUMNS = ("id", "uri", "source", "workspace", "kind", "language")
Lifted = frozenset[tuple[str, str]]
"""(document id, reason) pairs that a person let in; the id hashes workspace, uri and the file's bytes."""
Row = dict[str, Any]


def run(paths: Paths, params: Params) -> Row:
    """Write data/validation/documents.json and data/quarantine/validate.jsonl. Raises ValidationFailed.

    Both are written before it raises, so that the report can show what was wrong.
    """
    from tasks.expectations import check, documents_suite

    table = frame(paths.data / "documents", COLUMNS)
    outcomes = check(table, documents_suite(params.validate, live_count(paths, "documents")))
    refused, let_in = split(refusals(outcomes, table), lifted(paths, table))
    unread = read_rows(paths.data / "quarantine" / "ingest.jsonl")
    near = near_duplicates(paths.data / "documents", params.ingest.near_duplicate)
    share = quarantined_share(table.num_rows, unread, refused, params.validate.max_quarantined)
    write_rows(paths.data / "quarantine" / "validate.jsonl", refused)
    counts = {"documents": table.num_rows, "unread": len(unread), "quarantined": len({r["uri"] for r in refused})}
    opened = read_again(paths, table, let_in)
    report = results(outcomes, counts, [*unread, *refused], opened) | {"near_duplicates": near}
    report["expectations"].append(share)
    write_json(paths.data / "validation" / "documents.json", report)
    insist("documents", outcomes)
    if not share["success"]:
        worst = "; ".join(
            f"{n:,} {reason}" for reason, n in Counter(r["reason"] for r in [*unread, *refused]).most_common(3)
        )
        raise ValidationFailed(
            f"documents: {share['observed']} in quarantine, expected {share['expected']} (validate.max_quarantined); "
            f"most: {worst}. See `ragkeep quarantine list`; the live index was left alone"
        )
    return counts | {"released": len(opened), "near_duplicates": near["count"]}


def live_count(paths: Paths, what: str) -> int | None:
    """Say how many documents or chunks the live release was made of, None where nothing is live."""
    live = champion(paths)
    report = read_json(paths.releases / live.evaluation / "validation" / f"{what}.json") if live else None
    return int(report["counts"][what]) if report else None


def lifted(paths: Paths, table: pa.Table, *, id_column: str = "id") -> Lifted:
    """Match the people's releases with the ids of present documents: the bytes must be those that were released."""
    releases = read_rows(paths.data / "released.jsonl")
    if not releases:
        return frozenset()
    workspaces = sorted(set(table["workspace"].to_pylist()))
    present = set(table[id_column].to_pylist())
    return frozenset(
        (made, str(row.get("was") or row.get("reason")))
        for row in releases
        for workspace in workspaces
        if (made := content_id(workspace, row["uri"], row.get("sha", ""))) in present
    )


def refusals(outcomes: Iterable[Outcome], table: pa.Table, *, stage: str = "validate") -> list[Row]:
    """List the rows that failed a warning, one for each reason, sorted by uri and id."""
    rows = []
    for outcome in outcomes:
        if outcome.severity != "warning" or not outcome.rows:
            continue
        named = table.take(list(outcome.rows)).to_pylist()
        rows += [_refusal(row, outcome, stage) for row in named]
    return sorted(rows, key=lambda row: (str(row["uri"]), str(row["id"]), row["reason"]))


def _refusal(row: Row, outcome: Outcome, stage: str) -> Row:
    value = row[outcome.column]
    said = f"{value:.4f}" if isinstance(value, float) else str(value)
    return {
        "uri": row["uri"], "id": row["id"], "document_id": row.get("document_id", row["id"]), "source": row["source"],
        "workspace": row["workspace"], "stage": stage, "reason": outcome.reason, "severity": outcome.severity,
        "detail": f"{outcome.column} is {said}, expected {outcome.expected.removesuffix(' in every row')}",
    }  # fmt: skip


def split(rows: Sequence[Row], let_in: Lifted) -> tuple[list[Row], list[Row]]:
    """Part what stays in quarantine from what a person let in."""
    kept = [row for row in rows if (row["document_id"], row["reason"]) not in let_in]
    return kept, [row for row in rows if (row["document_id"], row["reason"]) in let_in]


def read_again(paths: Paths, table: pa.Table, let_in: Sequence[Row]) -> list[Row]:
    """List what is in because a person said so: lifted here, or refused by a loader once and read since."""
    present = lifted(paths, table)
    uris = dict(zip(table["id"].to_pylist(), table["uri"].to_pylist(), strict=True))
    here = {(row["document_id"], row["reason"]) for row in let_in}
    ours = {"blank", "control", "mojibake", "tokens"}
    return [{"uri": uris[i], "reason": why} for i, why in sorted(present) if (i, why) in here or why not in ours]


def quarantined_share(documents: int, unread: Sequence[Row], refused: Sequence[Row], most: float) -> Row:
    """Expect no more than a share `most` of all documents in quarantine, at reading and at validation together."""
    out = len({row["uri"] for row in unread} | {row["uri"] for row in refused})
    seen = documents + len({row["uri"] for row in unread})
    return {
        "expectation": "quarantined_share", "column": "", "severity": "critical", "reason": "quarantined",
        "success": out <= most * seen, "observed": f"{out:,} of {seen:,} documents", "expected": f"at most {most:.0%}",
        "unexpected": out,
    }  # fmt: skip


def results(outcomes: Iterable[Outcome], counts: Row, rows: Sequence[Row], opened: Sequence[Row]) -> Row:
    """Lay out what a validation found, without times or run ids: equal inputs give equal bytes.

    `false_rejects` estimates how often quarantine is wrong: what people let in over all that was ever set aside and is
    still in the sources.
    """
    reasons = Counter((row["stage"], row["reason"]) for row in rows)
    wrong, all_of_them = len(opened), len(rows) + len(opened)
    return {
        "expectations": [o.as_json() for o in outcomes],
        "counts": counts,
        "reasons": [{"stage": s, "reason": r, "rows": n} for (s, r), n in sorted(reasons.items())],
        "false_rejects": {
            "released": wrong,
            "set_aside": all_of_them,
            "estimate": round(wrong / all_of_them, 4) if all_of_them else 0.0,
        },
    }


def insist(what: str, outcomes: Iterable[Outcome]) -> None:
    """Raise ValidationFailed with the first critical expectation that failed, and how many more did."""
    failed = [o for o in outcomes if o.severity == "critical" and not o.success]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise ValidationFailed(
            f"{what}: {failed[0]}{more}. The live index was left alone; "
            f"see data/validation/{what}.json, mend the sources and run `ragkeep nightly` again"
        )


if __name__ == "__main__":
    from tasks.stage import stage_main

    stage_main("validate", run)
