"""Hold the chunks against expectations, as tasks.validate does documents. `python -m tasks.validate_chunks`"""

from __future__ import annotations

from typing import Any

from ragkeep.config import Params, Paths
from ragkeep.files import write_json, write_rows
from tasks.text_facts import frame
from tasks.validate import insist, lifted, live_count, refusals, results, split

COLUMNS = ("id", "document_id", "uri", "source", "workspace", "kind", "language", "tokens")


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Write data/validation/chunks.json and data/quarantine/chunks.jsonl. Raises ValidationFailed after both."""
    from tasks.expectations import check, chunks_suite

    table = frame(paths.data / "chunks", COLUMNS, _span_facts)
    outcomes = check(table, chunks_suite(params.validate, params.chunk, live_count(paths, "chunks")))
    refused, let_in = split(
        refusals(outcomes, table, stage="validate_chunks"), lifted(paths, table, id_column="document_id")
    )
    rows = [row | {"chunk_id": row["id"]} for row in refused]
    counts = {"chunks": table.num_rows, "quarantined": len({row["id"] for row in refused})}
    write_rows(paths.data / "quarantine" / "chunks.jsonl", rows)
    write_json(paths.data / "validation" / "chunks.json", results(outcomes, counts, rows, let_in))
    insist("chunks", outcomes)
    return counts | {"released": len(let_in)}


def _span_facts(row: dict[str, Any]) -> dict[str, Any]:
    """Count what is wrong with a chunk's place: its span must have its text's length, its lines must be in order."""
    wrong = int(row["end"] - row["start"] != row["length"]) + int(not 1 <= row["first_line"] <= row["last_line"])
    return {"span_errors": wrong}


if __name__ == "__main__":
    from tasks.stage import stage_main

    stage_main("validate_chunks", run)
