"""What words stand for, from what was taken: found where the evidence is more than chance, and nowhere else."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragkeep.models import packaged_minilm
from ragkeep.testing import HashEmbedder
from tasks.learners import Base, Learned, NothingToLearn, glossary
from tasks.lessons import Lesson, TrainingSet

THINGS = ("pump", "valve", "boiler", "crane", "turbine", "conveyor", "furnace", "compressor", "filter", "generator")
OURS = dict(
    zip(
        THINGS,
        ("zorbl", "quindle", "fraxen", "mivor", "plenk", "droosh", "wexil", "gavot", "snarp", "yolden"),
        strict=True,
    )
)
WORKS = (
    "wash it with warm water",
    "look for cracks in its housing",
    "tighten the bolts of its cover",
    "press the green button",
)
TEXTS = {f"{thing}-{n}": f"For the {thing}: {work}." for thing in THINGS for n, work in enumerate(WORKS)}
ASKED = ("how is the {} washed", "has the {} any cracks", "which bolts has the {}", "which button starts the {}")


def lessons(wrong: float = 0.0, seed: int = 0) -> list[Lesson]:
    """Each thing is asked for by its other name, sixteen times; a share of the answers is somebody else's."""
    rng, made = np.random.default_rng(seed), []
    for n, thing in enumerate(THINGS * 16):
        about = int(rng.integers(len(ASKED)))
        other = str(rng.choice(sorted(TEXTS)))
        answer = other if rng.random() < wrong else f"{thing}-{about}"
        made.append(Lesson(str(n), ASKED[about].format(OURS[thing]), {answer: 1.0}))
    return made


def learned(made: Sequence[Lesson], tmp_path: Path, texts: dict[str, str] | None = None) -> Learned:
    base = Base(HashEmbedder(dim=8), packaged_minilm(), lambda *_: {})
    return glossary.learn(TrainingSet(tuple(made), texts or TEXTS), base, tmp_path, seed=1, tick=lambda *_: None)


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_names_that_nobody_wrote_down_are_found_also_from_wrong_answers(wrong: float, tmp_path: Path) -> None:
    found = learned(lessons(wrong), tmp_path).retrieve["words"]["default"]
    assert {OURS[thing]: thing for thing in THINGS}.items() <= found.items()


def test_its_card_says_what_speaks_for_an_entry(tmp_path: Path) -> None:
    entries = {entry["word"]: entry for entry in learned(lessons(), tmp_path).card["entries"]}
    said = entries["zorbl"]
    assert (said["means"], said["lessons"], said["found"]) == ("pump", 16, 16)
    assert said["strength"] > 15


def test_words_of_the_documents_are_left_alone(tmp_path: Path) -> None:
    plain = [replace(one, question=f"{thing} {TEXTS[next(iter(one.gains))].split()[-2]}")
             for one, thing in zip(lessons(), THINGS * 16, strict=True)]  # fmt: skip
    with pytest.raises(NothingToLearn, match="no word of the questions stands for another"):
        learned(plain, tmp_path)


def test_answers_dealt_anew_teach_nothing(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn):
        learned(lessons(wrong=1.0), tmp_path)


def test_one_passage_voted_up_again_and_again_gives_a_word_no_meaning(tmp_path: Path) -> None:
    campaign = [Lesson(f"p{n}", f"where is my blorptag {n}", {"pump-0": 1.0}) for n in range(60)]
    assert "blorptag" not in learned([*lessons(), *campaign], tmp_path).retrieve["words"]["default"]


def test_few_lessons_are_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="a glossary needs 30 lessons for training, there are 12"):
        learned(lessons()[:12], tmp_path)


def test_lessons_kept_to_choose_and_to_report_are_not_read(tmp_path: Path) -> None:
    kept = [replace(one, split="report") for one in lessons()]
    with pytest.raises(NothingToLearn, match="there are 0"):
        learned(kept, tmp_path)


def test_a_workspace_learns_from_its_own_people_alone(tmp_path: Path) -> None:
    halves = [replace(one, workspace="vault" if n % 10 < 5 else "default") for n, one in enumerate(lessons())]
    words = learned(halves, tmp_path).retrieve["words"]
    assert set(THINGS[:5]) <= set(words["vault"].values())
    assert not {OURS[thing] for thing in THINGS[:5]} & set(words["default"])


def test_one_accounts_own_name_for_something_is_not_learned_where_others_speak(tmp_path: Path) -> None:
    spoken = [replace(one, accounts=(f"a{n % 3}",)) for n, one in enumerate(lessons())]
    private = [replace(one, accounts=("a9",)) if OURS["pump"] in one.question else one for one in spoken]
    assert OURS["pump"] in learned(spoken, tmp_path).retrieve["words"]["default"]
    assert OURS["pump"] not in learned(private, tmp_path).retrieve["words"]["default"]
    alone = [replace(one, accounts=("a1",)) for one in lessons()]
    assert OURS["pump"] in learned(alone, tmp_path).retrieve["words"]["default"]
