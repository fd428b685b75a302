"""What is expected of documents, chunks and lessons: Great Expectations suites as code; its only home.

Row count and change of volume come first, for an empty batch passes nearly every expectation about rows. "critical"
stops the night, "warning" puts the rows it names into quarantine under the expectation's reason. The suites see a
compact frame of facts about each row (see tasks/text_facts.py), never the texts.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ragkeep.config import ChunkSection, LearnParams, ValidateParams

if TYPE_CHECKING:
    import pyarrow as pa

Suite = Sequence[Any]
"""Great Expectations' expectations, in the order in which they are reported."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One expectation held against the frame; `rows` are the row numbers that failed it, in order."""

    expectation: str
    column: str
    severity: str
    reason: str
    success: bool
    observed: str
    expected: str
    rows: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """Say the outcome without the rows' numbers; equal inputs give equal values."""
        return {
            "expectation": self.expectation, "column": self.column, "severity": self.severity, "reason": self.reason,
            "success": self.success, "observed": self.observed, "expected": self.expected, "unexpected": len(self.rows),
        }  # fmt: skip

    def __str__(self) -> str:
        what = f"{self.expectation}({self.column})" if self.column else self.expectation
        return f"{what} [{self.reason}]: observed {self.observed}, expected {self.expected}"


def documents_suite(params: ValidateParams, live: int | None) -> Suite:
    """Expect this of documents; `live` is how many the live release was made from, None where nothing is live."""
    e = _library().expectations
    return [
        *_volume(params.min_documents, params.max_drop, live),
        *_identity(("id", "uri", "source", "workspace", "kind", "language")),
        e.ExpectColumnValuesToBeUnique(column="uri", severity="critical", meta={"reason": "duplicate_uri"}),
        e.ExpectColumnValuesToBeInSet(
            column="kind", value_set=["prose", "code"], severity="critical", meta={"reason": "kind"}
        ),
        *_readable(params),
    ]


def chunks_suite(params: ValidateParams, sizes: ChunkSection, live: int | None) -> Suite:
    """Expect this of chunks; `live` is how many the live release holds."""
    e = _library().expectations
    return [
        *_volume(1, params.max_drop, live),
        *_identity(("id", "document_id", "uri", "source", "workspace", "kind", "language")),
        _at_most("span_errors", 0, "span", severity="critical"),
        *_readable(params),
        e.ExpectColumnValuesToBeBetween(
            column="tokens", min_value=1, max_value=max(sizes.prose.max_tokens, sizes.code.max_tokens),
            severity="warning", meta={"reason": "tokens"},
        ),
    ]  # fmt: skip


def lessons_suite(params: LearnParams) -> Suite:
    """Expect this of lessons: what a set promises is critical, a question that nobody could read is set aside."""
    e = _library().expectations
    return [
        e.ExpectColumnValuesToBeUnique(column="id", severity="critical", meta={"reason": "duplicate_id"}),
        e.ExpectColumnValuesToBeInSet(
            column="split", value_set=["train", "select", "report"], severity="critical", meta={"reason": "split"}
        ),
        e.ExpectColumnValuesToBeBetween(column="lowest", min_value=0.001, severity="critical", meta={"reason": "gain"}),
        _at_most("highest", 1, "gain", severity="critical"),
        _at_most("contradictions", 0, "contradiction", severity="critical"),
        _at_most("without_text", 0, "text_missing", severity="critical"),
        _at_most("untraceable", 0, "untraceable", severity="critical"),
        _at_most("trained_and_unseen", 0, "leak", severity="critical"),
        _at_most("like_evaluation", params.evaluation_question, "evaluation_question", severity="critical"),
        _at_most("length", params.max_question_chars, "length"),
        e.ExpectColumnValuesToBeBetween(column="visible", min_value=1, severity="warning", meta={"reason": "blank"}),
        _at_most("control_share", 0.01, "control"),
        _at_most("mojibake_share", 0.02, "mojibake"),
    ]


def _volume(least: int, max_drop: float, live: int | None) -> Suite:
    rows = _library().expectations.ExpectTableRowCountToBeBetween
    floor = max(1, least)
    suite = [rows(min_value=floor, severity="critical", meta={"reason": "row_count"})]
    if live:
        kept = max(1, math.ceil(live * (1 - max_drop)))
        suite.append(rows(min_value=kept, severity="critical", meta={"reason": "volume", "live": live}))
    return suite


def _identity(columns: Sequence[str]) -> Suite:
    e = _library().expectations
    return [
        e.ExpectTableColumnsToMatchSet(
            column_set=[*columns], exact_match=False, severity="critical", meta={"reason": "schema"}
        ),
        *(
            e.ExpectColumnValuesToNotBeNull(column=column, severity="critical", meta={"reason": "missing_value"})
            for column in columns
        ),
        e.ExpectColumnValuesToBeUnique(column="id", severity="critical", meta={"reason": "duplicate_id"}),
    ]


def _readable(params: ValidateParams) -> Suite:
    return [
        _library().expectations.ExpectColumnValuesToBeBetween(
            column="visible", min_value=1, severity="warning", meta={"reason": "blank"}
        ),
        _at_most("control_share", params.max_control_share, "control"),
        _at_most("mojibake_share", params.max_mojibake_share, "mojibake"),
    ]


def _at_most(column: str, limit: float, reason: str, *, severity: str = "warning") -> Any:
    return _library().expectations.ExpectColumnValuesToBeBetween(
        column=column, max_value=limit, severity=severity, meta={"reason": reason}
    )


def _library() -> Any:
    """Import Great Expectations with its telemetry off, and keep its deprecation warnings to itself."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations
        import great_expectations.expectations
    # it asks for INFO itself, and tells of every folder it makes
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return great_expectations


def check(frame: pa.Table, suite: Suite) -> list[Outcome]:
    """Hold a suite against a frame with a `row` column; outcomes in the suite's order.

    An expectation that raises counts as failed: what cannot be checked is not believed.
    """
    gx = _library()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = gx.get_context(mode="ephemeral")
        _silence(context)
        batch = (
            context.data_sources.add_pandas("frames")
            .add_dataframe_asset("night")
            .add_batch_definition_whole_dataframe("all")
        )
        definition = gx.ValidationDefinition(
            name="night", data=batch, suite=context.suites.add(gx.ExpectationSuite(name="night", expectations=[*suite]))
        )
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame.to_pandas()},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
        )
    place = {_key(e.expectation_type, e.configuration.kwargs): i for i, e in enumerate(suite)}
    found = sorted(result.results, key=lambda r: place[_key(r.expectation_config.type, r.expectation_config.kwargs)])
    return [_outcome(r) for r in found]


def _silence(context: Any) -> None:
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context.variables.progress_bars = ProgressBarsConfig(globally=False)


def _key(kind: str, kwargs: dict[str, Any]) -> tuple[str, str]:
    said = {k: v for k, v in kwargs.items() if k in ("column", "min_value", "max_value") and v is not None}
    return kind, repr(sorted(said.items()))


def _outcome(r: Any) -> Outcome:
    config = r.expectation_config
    rows = tuple(sorted(int(row["row"]) for row in r.result.get("unexpected_index_list") or ()))
    return Outcome(
        expectation=config.type,
        column=config.kwargs.get("column", ""),
        severity=config.severity.value,
        reason=config.meta["reason"],
        success=bool(r.success),
        observed=_observed(r, len(rows)),
        expected=_expected(config),
        rows=rows,
    )


def _observed(r: Any, failed: int) -> str:
    if "element_count" not in r.result and "observed_value" not in r.result:
        return "nothing that could be checked"
    value = r.result.get("observed_value")
    if isinstance(value, list):
        return "columns " + ", ".join(map(str, value))
    return (
        f"{value:,} rows"
        if isinstance(value, int)
        else f"{failed:,} failing of {r.result.get('element_count', 0):,} rows"
    )


def _expected(config: Any) -> str:
    kwargs, live = config.kwargs, config.meta.get("live")
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is not None and not kwargs.get("column"):
        return f"at least {low:,} rows" + (f" (the live release has {live:,}; validate.max_drop)" if live else "")
    if low is not None or high is not None:
        return (
            " and ".join([f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None))
            + " in every row"
        )
    if "column_set" in kwargs:
        return "columns " + ", ".join(kwargs["column_set"])
    if "value_set" in kwargs:
        return "one of " + ", ".join(kwargs["value_set"])
    return "a value in every row" if config.type.endswith("not_be_null") else "every value once"
