from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from ragkeep.config import RerankParams
from ragkeep.errors import ConfigError, ModelError
from ragkeep.rerank import open_reranker
from ragkeep.testing import HashEmbedder
from ragkeep.types import Legs, Vectors
from tasks.learners import Base, Learned, NothingToLearn, reranker
from tasks.lessons import Lesson, TrainingSet

WORDS = ["pump", "valve", "motor", "cable", "filter", "sensor", "boiler", "hinge", "switch", "tank"]
TEXTS = {f"{a}-{b}": f"The {a} has a {b}. It is red." for a in WORDS for b in WORDS if a != b}


def found_in_alphabetical_order(lessons: Sequence[Lesson], _vectors: Vectors | None) -> Mapping[str, Legs]:
    """Legs that know nothing: the answer and nineteen others, in the order of their ids."""
    made = {}
    for one in lessons:
        (answer,) = one.gains
        ids = tuple(sorted({answer, *list(TEXTS)[:19]}))
        made[one.id] = Legs(ids, np.linspace(1, 0, len(ids), dtype=np.float32), np.zeros(len(ids), np.float32))
    return made


BASE = Base(HashEmbedder(), Path(), found_in_alphabetical_order)
LESSONS = TrainingSet(
    tuple(Lesson(f"q{n}", f"which {' has a '.join(c.split('-'))}", {c: 1.0}) for n, c in enumerate(TEXTS)), TEXTS
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return reranker.learn(LESSONS, BASE, tmp_path_factory.mktemp("out"), seed=1, tick=lambda *_: None)


def test_what_holds_the_questions_words_comes_first(made: Learned) -> None:
    model = open_reranker(RerankParams(backend="features", model=str(made.folder)))
    assert model is not None
    texts = [TEXTS["pump-valve"], TEXTS["valve-motor"], TEXTS["motor-cable"]]
    assert int(model.score("which motor has a cable", texts).argmax()) == 2
    assert model.score("?", []).shape == (0,)


def test_the_same_lessons_give_the_same_bytes(made: Learned, tmp_path: Path) -> None:
    again = reranker.learn(LESSONS, BASE, tmp_path, seed=1, tick=lambda *_: None)
    assert again.sha256 == made.sha256
    assert made.retrieve["rerank"]["model"] == "{folder}"


def test_without_lessons_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="there are 0"):
        reranker.learn(TrainingSet((), {}), BASE, tmp_path, seed=1, tick=lambda *_: None)


def test_weights_follow_what_tells_answers_from_others() -> None:
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(400, 6))
    differences[:, 2] = np.abs(differences[:, 2])
    weights = reranker.fitted(differences)
    assert weights[2] > 1
    assert np.abs(np.delete(weights, 2)).max() < 0.5


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="can run code"):
        open_reranker(RerankParams(backend="features", model=str(tmp_path)))
    with pytest.raises(ConfigError, match="needs model"):
        open_reranker(RerankParams(backend="features"))
