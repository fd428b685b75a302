"""The cross-encoder on a tiny base: what it learns, and that serving scores as training did."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragkeep.config import RerankParams
from ragkeep.embedders.pairs import joined
from ragkeep.errors import ConfigError, ModelError
from ragkeep.models import sha256
from ragkeep.rerank import open_reranker
from ragkeep.rerankers.pairs import HEAD
from ragkeep.types import Legs, Vectors
from tasks.learners import Base, Learned, NothingToLearn, cross_encoder
from tasks.learners.encoder import embed, load_tower
from tasks.lessons import Lesson
from tests.learners import tiny_encoder

pytest.importorskip("torch", reason="learning a model needs the extra torch")
RECIPE = cross_encoder.Recipe(epochs=4, rate=2e-3, least=50, max_tokens=40)
NAMES = sorted(tiny_encoder.TEXTS)


def found_in_alphabetical_order(lessons: Sequence[Lesson], _vectors: Vectors | None) -> Mapping[str, Legs]:
    """Legs that know nothing: the answer and nine others, in the order of their ids."""
    made = {}
    for n, one in enumerate(lessons):
        (answer,) = one.gains
        ids = tuple(sorted({answer, *(NAMES[(n * 7 + k * 11) % len(NAMES)] for k in range(9))}))
        made[one.id] = Legs(ids, np.linspace(1, 0, len(ids), dtype=np.float32), np.zeros(len(ids), np.float32))
    return made


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return replace(tiny_encoder.base(tmp_path_factory.mktemp("tiny")), legs=found_in_alphabetical_order)


@pytest.fixture(scope="module")
def made(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    out = tmp_path_factory.mktemp("out")
    return cross_encoder.learn_by(RECIPE, tiny_encoder.training_set(), base, out, seed=1, tick=lambda *_: None)


def test_what_it_adds_is_shown_on_lessons_it_was_not_trained_on(made: Learned) -> None:
    curve = made.card["mix_curve"]
    assert made.card["curve"][-1] < made.card["curve"][0]
    assert curve[str(made.card["mix"])] > curve["0.0"]
    assert made.retrieve["rerank"] | {"mix": 1.0} == {
        "backend": "pairs", "model": "{folder}", "depth": 10, "top": 0, "margin": 1.0, "mix": 1.0,
    }  # fmt: skip


def test_serving_scores_as_training_did_without_torch(made: Learned) -> None:
    assert made.folder is not None
    model = open_reranker(RerankParams(backend="pairs", model=str(made.folder)))
    assert model is not None
    question, texts = tiny_encoder.ASKED[0][0], [tiny_encoder.TEXTS[name] for name in NAMES[:10]]
    tower = load_tower(made.folder)
    asked, *read = tower.tokenize([question, *texts], "query", 32)
    scores = (embed(tower, [joined(asked, row, 64) for row in read]) @ tower.weights[HEAD]).numpy()
    served = model.score(question, texts)
    assert np.abs(served - scores).max() < 2e-2 * np.abs(scores).max()  # bf16 where the processor has it
    assert model.score(question, []).shape == (0,)


def test_the_same_lessons_make_the_same_bytes(base: Base, tmp_path: Path) -> None:
    few, short = tiny_encoder.training_set(80), replace(RECIPE, epochs=1)
    for name in ("one", "other"):
        with suppress(NothingToLearn):  # so little teaches nothing, and is trained all the same
            cross_encoder.learn_by(short, few, base, tmp_path / name, seed=1, tick=lambda *_: None)
    assert len({sha256(tmp_path / name / "model" / "model.safetensors") for name in ("one", "other")}) == 1


def test_too_few_lessons_teach_nothing(base: Base, tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="needs 200 lessons for training, there are"):
        cross_encoder.learn(tiny_encoder.training_set(50), base, tmp_path, seed=1, tick=lambda *_: None)


def test_a_long_text_is_cut_and_keeps_its_last_marker() -> None:
    assert joined([2, 7, 3], [2, 8, 9, 3], 10) == [2, 7, 3, 8, 9, 3]
    assert joined([2, 7, 3], [2, 8, 9, 10, 11, 3], 6) == [2, 7, 3, 8, 9, 3]


def test_an_embedder_is_no_reranker(base: Base) -> None:
    with pytest.raises(ModelError, match="is an embedder and no reranker"):
        open_reranker(RerankParams(backend="pairs", model=str(base.model)))
    with pytest.raises(ConfigError, match="needs model"):
        open_reranker(RerankParams(backend="pairs"))
