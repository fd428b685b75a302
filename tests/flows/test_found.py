"""What the ladder and the generator's rung found, as one."""

from typing import Any

import pytest

from flows.found import gain_of, joined, made_in, told, tried_for
from ragkeep.config import Paths
from ragkeep.files import write_json
from ragkeep.learned import INPUT, Part, rows_of

TOWER, WEIGHT, SPEAKER = Part("query-tower", "b", folder="t"), Part("fusion", "b"), Part("generator", "", folder="g")


def gain(name: str, delta: float) -> dict[str, Any]:
    return {"overall": {name: {"delta": delta, "ci": [delta - 0.01, delta + 0.01], "n": 120}}, "judge": "lessons"}


def row(learner: str, *, kept: bool = True, hope: bool = False) -> dict[str, Any]:
    return {"learner": learner, "kept": kept, "hope": hope, "reasons": ["it gained"], "gain": None, "skipped": False}


def ladder(*parts: Part) -> dict[str, Any]:
    """What data/learned.json says."""
    found = {"parts": rows_of(parts), "tried": [row(part.learner) for part in parts], "simulated": False, "reasons": []}
    return {**found, "gain": gain("ndcg_at_10", 0.05) if parts else None}


def speaks(paths: Paths) -> None:
    """Leave what the generator's rung leaves where it gained."""
    tried = row("generator") | {"gain": gain("rouge_l", 0.1)}
    write_json(paths.data / "generator.json", {"tried": tried, "part": rows_of([SPEAKER])[0]})


@pytest.fixture
def paths(tmp_path: Any) -> Paths:
    return Paths(tmp_path)


def test_a_generator_alone_is_promoted_beside_all_else_that_is_live(paths: Paths) -> None:
    write_json(paths.data / INPUT, rows_of([TOWER, Part("generator", "", folder="old")]))
    speaks(paths)
    found = joined(paths, ladder())
    assert [(one["learner"], one["folder"]) for one in found["parts"]] == [("query-tower", "t"), ("generator", "g")]
    assert told(found) == "learned from interactions: answers' rouge_l +10.0 points [9.0, 11.0]"
    assert gain_of(found, SPEAKER) == gain("rouge_l", 0.1) | {"kept": True}


def test_both_gains_are_told_and_each_part_stands_on_its_own(paths: Paths) -> None:
    speaks(paths)
    found = joined(paths, ladder(TOWER, WEIGHT) | {"simulated": True})
    nd = "nDCG@10 +5.0 points [4.0, 6.0] over 120 lessons"
    assert told(found) == f"learned from SIMULATED interactions: {nd}, answers' rouge_l +10.0 points [9.0, 11.0]"
    assert gain_of(found, WEIGHT) == gain("ndcg_at_10", 0.05)
    assert made_in(paths, SPEAKER) == paths.root / "models" / "generator" / "g"
    assert made_in(paths, TOWER) == paths.root / "models" / "learned" / "t"


def test_a_generator_that_failed_is_told_and_takes_nothing_from_the_ladder(paths: Paths) -> None:
    found = joined(paths, ladder(WEIGHT), failed="out of memory")
    assert [one["learner"] for one in found["parts"]] == ["fusion"]
    assert (found["answers"], found["reasons"]) == (None, ["generator: out of memory"])


def test_a_weight_that_came_with_a_tower_is_the_towers(paths: Paths) -> None:
    found = ladder(TOWER) | {"parts": rows_of([TOWER, WEIGHT])}
    assert tried_for(found, WEIGHT)["learner"] == "query-tower"


def test_what_people_shall_judge_stands_on_no_gain() -> None:
    found = ladder() | {"tried": [row("fusion", kept=False), row("glossary", kept=False, hope=True)]}
    glossary = Part("glossary", "b")
    assert tried_for(found, glossary)["learner"] == "glossary"
    assert gain_of(found, glossary) is None
    assert told(found).endswith("it puts what was shown in a better order")
