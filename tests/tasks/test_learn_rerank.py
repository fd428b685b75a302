"""A second look as a rung of the ladder: words in the right order, which neither leg of the search can tell apart."""

from dataclasses import asdict, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from ragkeep.app import open_release
from ragkeep.config import (
    EmbedParams,
    IndexParams,
    LearnParams,
    Params,
    Paths,
    RerankParams,
    RetrieveParams,
    SourceParams,
)
from ragkeep.errors import ModelError
from ragkeep.files import read_json, write_json
from ragkeep.learned import INPUT, Part, apply, parts_of, placed, rows_of
from ragkeep.releases import point, save_release
from ragkeep.serving.explain import explain_answer
from ragkeep.types import Chunk, Fusion, IndexVersion, Interaction, Release, content_id
from tasks.lessons import Lesson, Split
from tests.tasks.ladder import night, taught
from tests.tasks.nights import project

WORDS = ["pump", "valve", "motor", "cable", "filter", "sensor", "boiler", "hinge", "switch", "tank"]
FORMS = ("which {} has a {}", "{} with the {}", "the {} and its {}", "find {} {}")
SPLITS: tuple[Split, ...] = ("train", "train", "select", "report")
PARAMS = Params(
    sources=(SourceParams("docs", "docs"),), embed=EmbedParams(backend="hash"), index=IndexParams(backend="memory"),
    learn=LearnParams(ladder=("reranker",), min_measured=20, rerank_ms=60_000),
)  # fmt: skip


def chunk(first: str, second: str) -> Chunk:
    text = f"The {first} has a {second}. It is red."
    return Chunk(content_id(text), text, f"docs/{first}-{second}.md", "docs", "default", text, (0, len(text)), (1, 1),
                 "prose", "markdown")  # fmt: skip


CHUNKS = [chunk(*pair) for pair in permutations(WORDS, 2)]
LESSONS = [
    Lesson(content_id(form, *pair), form.format(*pair), {chunk(*pair).id: 1.0}, split=split)
    for form, split in zip(FORMS, SPLITS, strict=True) for pair in permutations(WORDS, 2)
]  # fmt: skip


@pytest.fixture(scope="module")
def tonight(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project whose night has been; the lessons name only the answers' texts."""
    paths = project(tmp_path_factory.mktemp("tonight"))
    paths.params.write_text("sources: [{name: docs, path: docs}]\nembed: {backend: hash}\n")
    return night(paths, CHUNKS, PARAMS)


@pytest.fixture(scope="module")
def found(tonight: Paths) -> dict[str, Any]:
    return taught(tonight, LESSONS, PARAMS)


def kept(paths: Paths, found: dict[str, Any]) -> Part:
    """The part as the flow keeps it: its files below the models' folder."""
    (part,) = parts_of(found["parts"])
    folder = paths.models / Path(part.folder).name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        (paths.root / "models" / "learned" / part.folder).rename(folder)
    return replace(part, retrieve=placed(part.retrieve, f"{{models}}/{folder.name}"), folder=folder.name, version=1)


def test_what_tells_the_order_of_words_is_learned_proven_and_bound(tonight: Paths, found: dict[str, Any]) -> None:
    gain = found["gain"]["overall"]["ndcg_at_10"]
    assert (gain["n"], found["tried"][0]["kept"]) == (90, True)
    assert gain["ci"][0] > 0.1
    assert found["gain"]["weights"] == {"base": 0.6, "new": 0.6}  # nothing of it is the mix's
    part = kept(tonight, found)
    params, bound = apply(PARAMS, [part], tonight.cache)
    assert bound == [part]
    assert params.retrieve.rerank.model == f"{{models}}/{part.folder}"
    assert found["tried"][0]["card"]["p95_ms"] > 0
    assert any("CPU ms a question" in reason for reason in found["tried"][0]["reasons"])


def published(paths: Paths, part: Part, number: int, *, learned: bool) -> Release:
    params = apply(PARAMS, [part], paths.cache)[0] if learned else PARAMS
    serving: dict[str, Any] = {name: asdict(getattr(params, name)) for name in ("embed", "retrieve", "answer")}
    if learned:
        serving["learned"] = rows_of([part])
    receipt, mix = IndexVersion(**read_json(paths.data / "index.json")), Fusion("convex", 0.6)
    release = Release(number, f"{number}" * 32, receipt, mix, "extractive", serving, "", "", {}, "e", "t")
    save_release(paths, release)
    return release


def test_serving_looks_twice_says_so_and_a_step_back_takes_it_back(tonight: Paths, found: dict[str, Any]) -> None:
    part = kept(tonight, found)
    first = []
    for number, learned in ((1, False), (2, True), (3, False)):
        published(tonight, part, number, learned=learned)
        point(tonight, number, previous=None, token=number)
        with open_release(tonight, PARAMS) as assistant:
            said = assistant.ask("which motor has a cable")
            assert len(said.hits) == PARAMS.retrieve.k
            first.append(said.hits[0].chunk.uri)
            ranked = [assistant.ask(f"which {a} has a {b}").hits[0].chunk.uri for a, b in permutations(WORDS[:5], 2)]
            right = sum(uri == f"docs/{a}-{b}.md" for uri, (a, b) in zip(ranked, permutations(WORDS[:5], 2), strict=True))
            assert (right == 20) is learned
    assert first[0] == first[2]
    told = explain_answer(tonight, [Interaction(1, "t", "answer", "default", "u", "s", "a", "2", {})])
    assert told["second_look"]["model"] == "reranker/1"
    assert told["second_look"]["weights"]["pairs"] > 0
    assert told["second_look"]["p95_ms"] == found["tried"][0]["card"]["p95_ms"]


def test_changed_weights_are_refused(tonight: Paths, found: dict[str, Any]) -> None:
    part = kept(tonight, found)
    release = published(tonight, replace(part, sha256="0" * 64), 4, learned=False)
    release = replace(release, serving={**release.serving, "learned": rows_of([replace(part, sha256="0" * 64)])})
    with pytest.raises(ModelError, match="changed or damaged"), open_release(tonight, PARAMS, release=release):
        pass


def test_one_that_takes_too_long_is_not_kept(tonight: Paths) -> None:
    slow = taught(tonight, LESSONS, replace(PARAMS, learn=replace(PARAMS.learn, rerank_ms=1e-9)))
    assert slow["parts"] == []
    assert "the second look costs" in slow["tried"][0]["reasons"][0]


def test_one_a_person_chose_stays_and_both_sides_are_measured_with_it(tonight: Paths) -> None:
    before = tonight.params.read_text()
    tonight.params.write_text(before + "retrieve: {rerank: {backend: overlap, top: 0, margin: 1.0}}\n")
    chosen = RetrieveParams(rerank=RerankParams(backend="overlap", top=0, margin=1.0))
    params = replace(PARAMS, retrieve=chosen, learn=replace(PARAMS.learn, ladder=("fusion", "reranker")))
    fusion, second = taught(tonight, LESSONS, params)["tried"]
    tonight.params.write_text(before)
    assert second["reasons"] == ["params.yaml sets retrieve.rerank, and what is written there wins"]
    gain = fusion["gain"]["overall"]["ndcg_at_10"]
    assert gain["base"] == pytest.approx(gain["new"])  # the overlap decides, whatever the mix


def test_a_live_one_must_be_beaten_to_be_replaced(tonight: Paths, found: dict[str, Any]) -> None:
    live = replace(kept(tonight, found), trainset="of other lessons")
    write_json(tonight.data / INPUT, rows_of([live]))
    again = taught(tonight, LESSONS, PARAMS)
    write_json(tonight.data / INPUT, [])
    assert (again["parts"], again["tried"][0]["kept"]) == ([], False)
    assert again["tried"][0]["gain"]["overall"]["ndcg_at_10"]["delta"] == pytest.approx(0)


def test_made_up_questions_do_not_teach_it(tonight: Paths, found: dict[str, Any]) -> None:
    made_up = [replace(one, id=f"s{one.id}", synthetic=True) for one in LESSONS if one.split == "train"]
    again = taught(tonight, [*LESSONS, *made_up], PARAMS)
    assert again["synthetic"] == 180
    assert again["tried"][0]["card"]["lessons"] == found["tried"][0]["card"]["lessons"]
    assert again["tried"][0]["card"]["synthetic"] == 0


def test_shuffled_answers_teach_nothing_that_is_kept(tonight: Paths) -> None:
    wrong = [replace(one, gains={CHUNKS[int(one.id[:6], 16) % 90].id: 1.0}) for one in LESSONS]
    assert taught(tonight, wrong, PARAMS)["parts"] == []
