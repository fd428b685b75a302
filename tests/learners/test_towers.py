from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ragkeep.config import EmbedParams
from ragkeep.embedders.openvino import folder as openvino_folder
from ragkeep.models import packaged_minilm, sha256
from tasks.learners import Learned, NothingToLearn, both_towers, query_tower
from tests.learners import tiny_encoder
from tests.learners.tiny_encoder import ASKED, TEXTS, base, killed, learn, training_set

pytest.importorskip("torch", reason="needs the extra torch")
LEARNERS = list(tiny_encoder.RECIPES)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Learned]]:
    folder = tmp_path_factory.mktemp("unbroken")
    return {name: (folder, learn(folder, name)) for name in LEARNERS}


def found_first(queries: np.ndarray, passages: np.ndarray) -> float:
    best = (queries @ passages.T).argmax(axis=1)
    return float(np.mean([list(TEXTS)[n] == chunk for n, (_, chunk) in zip(best, ASKED, strict=True)]))


def read_back(folder: Path, made: Learned):
    return openvino_folder(EmbedParams(backend="openvino", model=str(made.folder), precision="fp32"), folder / "cache")


def test_a_query_tower_learns_what_people_call_things(unbroken: dict[str, tuple[Path, Learned]]) -> None:
    folder, made = unbroken["query-tower"]
    champion, model = base(folder).embedder, read_back(folder, made)
    questions = [question for question, _ in ASKED]
    passages = champion.embed(list(TEXTS.values()), role="passage")
    before = found_first(champion.embed(questions, role="query"), passages)
    assert found_first(model.embed(questions, role="query"), passages) > before + 0.3
    assert made.embed == {"query_model": "{folder}"}
    assert not made.reindex


def test_both_towers_learn_it_too_and_say_that_passages_must_be_embedded_again(
    unbroken: dict[str, tuple[Path, Learned]],
) -> None:
    folder, made = unbroken["both-towers"]
    champion, model = base(folder).embedder, read_back(folder, made)
    questions, texts = [question for question, _ in ASKED], list(TEXTS.values())
    before = found_first(champion.embed(questions, role="query"), champion.embed(texts, role="passage"))
    assert found_first(model.embed(questions, role="query"), model.embed(texts, role="passage")) > before + 0.3
    assert made.embed["model"] == "{folder}"
    assert made.reindex


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_written_is_whole_and_safe(unbroken: dict[str, tuple[Path, Learned]], learner: str) -> None:
    folder, made = unbroken[learner]
    assert made.folder == folder / learner / "model"
    assert made.sha256 == sha256(made.folder / "model.safetensors")
    kinds = {path.suffix for path in (folder / learner).rglob("*") if path.is_file()}
    assert kinds == {".safetensors", ".json"}
    assert made.card["lessons"] == len(training_set().of("train"))
    assert made.card["curve"][-1] < made.card["curve"][0]


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_kept_lies_between_the_base_and_what_was_trained(tmp_path: Path, learner: str) -> None:
    from tasks.learners.encoder import load_tower

    module, recipe = tiny_encoder.RECIPES[learner]
    weights = [load_tower(base(tmp_path).model).weights]
    count = len(training_set().of("train"))
    for share in (1.0, 0.25):
        less = {"share": share} if learner == "query-tower" else {"doubt": int(count / share) - count}
        some = replace(recipe, **less, epochs=1)
        made = module.learn_by(some, training_set(), base(tmp_path), tmp_path / str(share), seed=1, tick=lambda *_: None)
        weights.append(load_tower(made.folder).weights)
    before, whole, part = weights
    assert any((whole[name] - before[name]).abs().max() > 1e-3 for name in before)
    assert all((part[name] - before[name].lerp(whole[name], 0.25)).abs().max() < 1e-6 for name in before)


def test_torch_and_the_products_embedder_agree_on_every_vector(unbroken: dict[str, tuple[Path, Learned]]) -> None:
    from tasks.learners.encoder import embed, load_tower

    folder, made = unbroken["query-tower"]
    assert made.folder is not None
    texts = [question for question, _ in ASKED[:40]] + ["", "unheard-of words"]
    tower = load_tower(made.folder)
    ours = embed(tower, tower.tokenize(texts, "query", 64)).numpy()
    assert np.abs(ours - read_back(folder, made).embed(texts, role="query")).max() < 1e-5


def test_a_base_that_is_saved_again_has_the_same_bytes(tmp_path: Path) -> None:
    from tasks.learners.encoder import load_tower, save_tower

    save_tower(load_tower(packaged_minilm()), tmp_path / "again")
    assert sha256(tmp_path / "again" / "model.safetensors") == sha256(packaged_minilm() / "model.safetensors")


@pytest.mark.parametrize(("learner", "kill_at"), [("query-tower", 1), ("query-tower", 17), ("both-towers", 9)])
def test_a_killed_training_goes_on_to_the_same_bytes(
    unbroken: dict[str, tuple[Path, Learned]], tmp_path: Path, learner: str, kill_at: int
) -> None:
    assert killed(tmp_path, learner, kill_at) == -9
    assert (tmp_path / learner / "checkpoint.safetensors").is_file() == (kill_at > 1)
    steps = []
    again = learn_counting(tmp_path, learner, steps)
    assert again.sha256 == unbroken[learner][1].sha256
    assert again.card["curve"] == unbroken[learner][1].card["curve"]
    assert steps[0] == max(1, kill_at)  # the step it died after was not saved yet


def learn_counting(folder: Path, learner: str, steps: list[int]) -> Learned:
    module, recipe = tiny_encoder.RECIPES[learner]
    return module.learn_by(
        recipe, training_set(), base(folder), folder / learner, seed=1, tick=lambda done, _: steps.append(done)
    )


def test_another_seed_or_other_lessons_start_afresh(unbroken: dict[str, tuple[Path, Learned]], tmp_path: Path) -> None:
    assert learn(tmp_path, "query-tower", seed=2).sha256 != unbroken["query-tower"][1].sha256


def test_a_damaged_checkpoint_is_started_afresh(unbroken: dict[str, tuple[Path, Learned]], tmp_path: Path) -> None:
    (tmp_path / "query-tower").mkdir()
    (tmp_path / "query-tower" / "checkpoint.safetensors").write_bytes(b"half of something")
    assert learn(tmp_path, "query-tower").sha256 == unbroken["query-tower"][1].sha256


@pytest.mark.parametrize("module", [query_tower, both_towers])
def test_few_lessons_are_nothing_to_learn(module, tmp_path: Path) -> None:
    with pytest.raises(NothingToLearn, match="lessons for training, there are 4"):
        module.learn(training_set(5), base(tmp_path), tmp_path / "out", seed=1, tick=lambda *_: None)


def test_lessons_without_any_gain_are_nothing_to_learn(tmp_path: Path) -> None:
    given = training_set()
    down = replace(given, lessons=tuple(replace(one, gains={}, passed=tuple(one.gains)) for one in given.lessons))
    with pytest.raises(NothingToLearn, match="there are 0"):
        query_tower.learn(down, base(tmp_path), tmp_path / "out", seed=1, tick=lambda *_: None)
