"""What people did with answers, as pairs of a better and a worse one."""

from pathlib import Path
from typing import Any

import pytest

from ragkeep.errors import SourceError
from ragkeep.files import read_rows
from ragkeep.interactions import InteractionLog, answered, corrected, voted
from ragkeep.types import Answer, Interaction
from tasks.finetune.preferences import PER_USER, collect, known, preferences, without_erased


def gave(number: int, text: str, question: str = "How is it cleaned?", workspace: str = "docs") -> Interaction:
    answer = Answer(text, (), abstained=False)
    return answered(f"a{number}", question, answer, workspace=workspace, user="asker", session="s")


def vote(number: int, value: int, user: str = "u1", workspace: str = "docs") -> Interaction:
    return voted(f"a{number}", value, workspace=workspace, user=user, session="s")


def correct(number: int, text: str, user: str = "u1") -> Interaction:
    return corrected(f"a{number}", text, workspace="docs", user=user, session="s")


def made(*records: Interaction) -> list[tuple[str, str, str]]:
    return [(row["kind"], row["chosen"], row["rejected"]) for row in preferences(records)]


def test_a_correction_is_better_than_what_it_corrects() -> None:
    assert made(gave(1, "With sand [1]."), correct(1, "With water.")) == [("correction", "With water.", "With sand.")]


def test_an_answer_voted_up_is_better_than_one_voted_down() -> None:
    records = (gave(1, "With sand."), gave(2, "With water.", "how is it  CLEANED?"), vote(1, -1), vote(2, 1))
    assert made(*records) == [("votes", "With water.", "With sand.")]


@pytest.mark.parametrize(
    "records",
    [
        (gave(1, "A"), vote(1, 1)),
        (gave(1, "A"), gave(2, "B", "What else?"), vote(1, 1), vote(2, -1)),
        (gave(1, "A"), gave(2, "B", workspace="other"), vote(1, 1), vote(2, -1, workspace="other")),
        (gave(1, "A"), gave(2, "B"), vote(1, 1), vote(2, 1), vote(2, -1, "u2")),  # they disagree
        (gave(1, "A"), gave(2, "B"), vote(1, 1), vote(2, -1), vote(2, 1)),  # a vote that was taken back
        (gave(1, "A"), correct(1, " A ")),
        (correct(1, "of an answer that was erased"),),
        (gave(1, "A"), vote(1, -1, workspace="other")),
    ],
)
def test_what_teaches_nothing(records: tuple[Interaction, ...]) -> None:
    assert made(*records) == []


def test_one_person_does_not_teach_it_all() -> None:
    records: list[Any] = []
    for number in range(2 * PER_USER):
        records += [gave(number, f"old {number}", f"q {number}?"), correct(number, f"new {number}")]
    assert len(made(*records)) == PER_USER


def test_a_log_becomes_a_file(tmp_path: Path) -> None:
    with InteractionLog(tmp_path / "log", segment_bytes=1) as log:  # each record is sealed by the next
        for record in (gave(1, "With sand."), correct(1, "With water."), vote(1, -1)):
            log.append(record)
    assert collect(tmp_path / "log", tmp_path / "p.jsonl")["kinds"] == {"correction": 1}
    assert read_rows(tmp_path / "p.jsonl")[0]["chosen"] == "With water."


def test_an_empty_log_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing to learn"):
        collect(tmp_path, tmp_path / "p.jsonl")


def test_what_is_erased_later_leaves_the_file_and_what_is_of_another_log_stays(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with InteractionLog(tmp_path / "log", segment_bytes=1) as log:
        for number, user in ((1, "ann"), (2, "bob")):
            log.append(gave(number, f"With sand {number}.", f"How {number}?"))
            log.append(correct(number, f"With water {number}.", user))
        log.append(vote(1, 1))
    collect(tmp_path / "log", path)
    assert known(path) == [1, 2, 3, 4]
    assert without_erased(path, tmp_path / "log") == without_erased(path, tmp_path / "none") == 0
    with InteractionLog(tmp_path / "log") as log:
        log.erase("user", "ann")
    assert without_erased(path, tmp_path / "log") == 1
    assert [row["chosen"] for row in read_rows(path)] == ["With water 2."]
    assert known(path) == [3, 4]
