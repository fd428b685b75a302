"""The same questions in other words: as many as wanted, the same for a seed, and never those for evaluation."""

import pytest

from ragkeep.errors import SourceError
from ragkeep.files import read_rows, write_rows
from tasks.finetune import augment
from tasks.finetune.augment import Row
from tests.finetune.conftest import Make, rows_of

ROWS = [Row(str(n), f"What is pump {n}?", "the text", f"answer {n}") for n in range(10)]
ALL = tuple(augment.KINDS)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0, 3.0])
def test_the_ratio_is_kept(ratio: float) -> None:
    made = augment.augment(ROWS, ratio=ratio, kinds=ALL, seed=7)
    assert len(made) == round(ratio * len(ROWS))
    assert len({(row.instruction, row.output) for row in [*ROWS, *made]}) == len(ROWS) + len(made)


@pytest.mark.parametrize("kind", ALL)
def test_only_the_question_changes(kind: str) -> None:
    labels = {(row.input, row.output) for row in ROWS}
    made = augment.augment(ROWS, ratio=1, kinds=(kind,), seed=7)
    assert {row.made for row in made} == {kind}
    assert {(row.input, row.output) for row in made} == labels
    assert all(row.instruction != old.instruction for row in made for old in ROWS)


def test_a_seed_gives_the_same_rows_and_another_gives_others() -> None:
    one, same, other = (augment.augment(ROWS, ratio=1, kinds=ALL, seed=seed) for seed in (7, 7, 8))
    assert one == same != other


def test_what_is_for_evaluation_stays_as_it_was(make: Make) -> None:
    place = rows_of(make(augment={"ratio": 2}))
    pairs = read_rows(place.pairs)
    evaluated = augment.read(place.eval)
    assert [(row.instruction, row.output) for row in evaluated] == [
        (pair["question"], pair["answer"]) for pair in pairs if pair["split"] == "eval"
    ]
    assert {row.made for row in evaluated} == {""}
    tested = {row.output for row in evaluated}
    assert tested.isdisjoint(row.output for row in augment.read(place.train))


def test_the_chunk_stands_beside_its_question_where_that_is_wanted(make: Make) -> None:
    for row in augment.read(rows_of(make(questions={"context": True})).train):
        assert row.output in row.input


def test_rows_made_elsewhere_are_read_and_a_bad_one_is_named(make: Make) -> None:
    place = make()
    write_rows(place.train, [{"instruction": "Say hello.", "output": "Hello."}, {"instruction": "Say."}])
    with pytest.raises(SourceError, match=r"train\.jsonl:2 needs the texts"):
        augment.read(place.train)
