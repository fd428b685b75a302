"""The ladder on a small real night: a company calls its machines by names that no model ever read."""

import json
import shutil
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from evaluation.report_learned import render_learned
from ragkeep.config import (
    EmbedParams,
    EvaluateParams,
    IndexParams,
    LearnParams,
    Params,
    Paths,
    RetrieveParams,
    SourceParams,
)
from ragkeep.embedders import load_embedder
from ragkeep.errors import ConfigError
from ragkeep.files import append_row, write_json
from ragkeep.learned import INPUT, Part, parts_of, rows_of
from ragkeep.stores import open_store
from ragkeep.tables import documents_table
from ragkeep.types import Chunk, Document, Query, content_id
from tasks.lessons import Lesson, Split
from tasks.shards import write_shard
from tests.tasks.ladder import FUSION, night, taught

pytest.importorskip("torch", reason="learning a model needs the extra torch")

JARGON = {
    "pump": "zorbl", "valve": "quindle", "boiler": "fraxen", "crane": "mivor", "turbine": "plenk", "conveyor": "droosh",
    "furnace": "wexil", "compressor": "gavot", "filter": "snarp", "generator": "yolden",
}  # fmt: skip
WORK = {
    "cleaned": "Wash the {} with warm water and a soft brush.",
    "inspected": "Look at the {} for cracks and worn parts.",
    "repaired": "Replace the broken seal of the {} and tighten its bolts.",
    "started": "Press the green button and wait until the {} runs evenly.",
}
ASKED = (
    "When is the {} {}?", "how do I see that the {} gets {}", "is our {} ever {} by others", "why {} was {}",
)  # fmt: skip
PARAMS = Params(
    sources=(SourceParams("docs", "docs"),), embed=EmbedParams(precision="fp32"),
    index=IndexParams(backend="memory"), learn=LearnParams(ladder=("fusion", "query-tower"), min_measured=20),
)  # fmt: skip


def chunk(thing: str, work: str) -> Chunk:
    text = f"{work.title()}: {WORK[work].format(thing)}"
    return Chunk(content_id(thing, work), thing, f"docs/{thing}-{work}.md", "docs", "default", text, (0, len(text)),
                 (1, 1), "prose", "markdown")  # fmt: skip


CHUNKS = [chunk(thing, work) for thing, work in product(JARGON, WORK)]


def lesson(form: int, thing: str, work: str, split: Split, *, wrong: bool = False) -> Lesson:
    text = ASKED[form].format(JARGON[thing], work)
    right = chunk(thing, work).id if not wrong else CHUNKS[int(content_id(text)[:6], 16) % len(CHUNKS)].id
    return Lesson(content_id(text), text, {right: 1.0}, split=split)


def lessons(*, wrong: bool = False) -> list[Lesson]:
    splits: tuple[Split, ...] = ("train", "train", "select", "report")
    pairs = list(product(JARGON, WORK))
    return [lesson(form, *pair, split, wrong=wrong) for form, split in enumerate(splits) for pair in pairs]


@pytest.fixture(scope="module")
def tonight(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project whose night has been: chunks, vectors, an index."""
    paths = Paths(tmp_path_factory.mktemp("tonight"))
    paths.params.write_text("sources: [{name: docs, path: docs}]\nembed: {precision: fp32}\n")
    return night(paths, CHUNKS, PARAMS)


@pytest.fixture(scope="module")
def found(tonight: Paths) -> dict[str, Any]:
    """What was learned from good lessons; its files are kept aside from those of later runs."""
    found = taught(tonight, lessons(), PARAMS)
    shutil.copytree(tonight.root / "models" / "learned", tonight.root / "kept")
    return found


def tower(found: dict[str, Any]) -> Part:
    (part,) = [part for part in parts_of(found["parts"]) if part.learner == "query-tower"]
    return part


def test_what_the_words_stand_for_is_learned_proven_and_kept(tonight: Paths, found: dict[str, Any]) -> None:
    gain = found["gain"]["overall"]["ndcg_at_10"]
    assert gain["n"] == 40
    assert gain["ci"][0] > 0.05
    assert (tonight.root / "kept" / tower(found).folder / "model.safetensors").is_file()
    assert open_store(PARAMS.index, tonight).versions("learn") == []


def test_a_glossary_that_gained_is_what_the_next_rung_builds_on(tonight: Paths) -> None:
    both = replace(PARAMS, learn=replace(PARAMS.learn, ladder=("glossary", "query-tower")))
    found = taught(tonight, lessons(), both)
    first = found["tried"][0]
    assert (first["learner"], first["kept"]) == ("glossary", True)
    (part,) = [part for part in parts_of(found["parts"]) if part.learner == "glossary"]
    assert (part.base, part.folder) == ("", "")
    learned = part.retrieve["words"]["default"]
    assert {word: learned.get(word) for word in JARGON.values()} == {word: thing for thing, word in JARGON.items()}
    assert found["gain"]["overall"]["ndcg_at_10"]["ci"][0] > 0.05
    page = render_learned(found, {"verdict": "promoted", "reasons": []}, title="t", at="2026-01-01T00:00")
    assert '<th scope="row">zorbl</th><td>pump</td>' in page


def only_what_was_shown(paths: Paths) -> list[Lesson]:
    """Lessons for training that are right; people who were held out took what was shown first, whatever it was.

    A few saw two sources of which one is about their machine, and took that.
    """
    store, embedder = open_store(PARAMS.index, paths), load_embedder(PARAMS.embed, paths.cache)
    (version,) = store.versions(PARAMS.index.alias)
    made = [one for one in lessons() if one.split == "train"]
    for n, one in enumerate(one for one in lessons() if one.split != "train"):
        vector = embedder.embed([one.question], role="query")[0]
        hit = store.search(version.name, Query(one.question, vector=vector, k=1))[0].chunk.id
        thing, work = list(product(JARGON, WORK))[n % 40]
        if n % 4 == 0:
            other = next(name for name in JARGON if name != thing)
            own, strange = (chunk(name, next(w for w in WORK if w != work)).id for name in (thing, other))
            made.append(replace(one, gains={own: 1.0}, shown=(own, strange)))
        else:
            made.append(replace(one, gains={hit: 1.0}, shown=(hit,)))
    return made


def test_what_puts_in_order_what_was_shown_may_hope_though_it_is_not_proven(tonight: Paths) -> None:
    words = replace(PARAMS, learn=replace(PARAMS.learn, ladder=("glossary",)))
    found = taught(tonight, only_what_was_shown(tonight), words)
    (tried,) = found["tried"]
    assert (tried["kept"], found["parts"]) == (False, [])
    assert tried["gain"]["overall"]["ndcg_at_10"]["delta"] < 0 < tried["hope"]["overall"]["ndcg_at_10"]["delta"]
    assert "only people can judge what it finds besides" in tried["reasons"][-1]
    few = "0 dev and 0 test questions have answers, 20 dev and 20 test questions are needed"
    assert found["reasons"][-1] == f"golden questions in the words people use may prove more: {few}"
    (part,) = parts_of(found["hope"])
    assert part.retrieve["words"]["default"]["zorbl"] == "pump"


def ask_golden(paths: Paths, texts: dict[tuple[str, str], str]) -> Params:
    """Leave documents, and a dev and a test question about each; return params that name them."""
    documents = [
        Document(one.document_id, one.uri, "docs", "default", one.text, "prose", "markdown")
        for one in (chunk(*pair) for pair in texts)
    ]
    write_shard(paths.data / "documents", 0, documents_table(documents), "k")
    rows = [
        {"id": f"{split}-{thing}-{work}", "text": f"{text}, {split}", "split": split, "answerable": True,
         "labels": [{"document": f"docs/{thing}-{work}.md"}]}
        for (thing, work), text in texts.items() for split in ("dev", "test")
    ]  # fmt: skip
    (paths.root / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = replace(PARAMS.learn, ladder=("glossary",))
    return replace(PARAMS, learn=words, evaluate=EvaluateParams(sets=("golden.jsonl",)))


def test_golden_questions_prove_what_lessons_cannot(tonight: Paths) -> None:
    texts = {pair: f"is a {JARGON[pair[0]]} often {pair[1]} here" for pair in product(JARGON, WORK)}
    found = taught(tonight, only_what_was_shown(tonight), ask_golden(tonight, texts))
    (tried,) = found["tried"]
    assert (tried["kept"], tried["hope"], found["hope"]) == (True, None, [])
    assert (found["gain"]["judge"], found["gain"]["confidence"]) == ("golden questions", 0.975)
    assert (found["gain"]["overall"]["ndcg_at_10"]["n"], found["gain"]["overall"]["ndcg_at_10"]["ci"][0] > 0.05) == (
        40,
        True,
    )
    (part,) = parts_of(found["parts"])  # no weight beside it: the night tunes it on the dev questions
    assert part.retrieve["words"]["default"]["zorbl"] == "pump"
    assert "not by lessons, where nobody could take what was not shown" in " ".join(found["reasons"])
    page = render_learned(found, {"verdict": "promoted", "reasons": []}, title="t", at="2026-01-01T00:00")
    assert "all golden questions" in page
    assert "97.5 % interval" in page


def test_golden_questions_judge_where_few_lessons_are_held_out(tonight: Paths) -> None:
    few = [one for one in lessons() if one.split != "report"] + [one for one in lessons() if one.split == "report"][:5]
    texts = {pair: f"is a {JARGON[pair[0]]} often {pair[1]} here" for pair in product(JARGON, WORK)}
    found = taught(tonight, few, ask_golden(tonight, texts))
    assert (found["lessons"]["report"], found["gain"]["judge"]) == (5, "golden questions")
    assert parts_of(found["parts"])


def test_what_lessons_prove_is_not_lost_with_what_golden_questions_chose(tonight: Paths) -> None:
    """Golden dev questions choose the glossary, test questions in other words do not prove it: the weight stays."""
    texts = {pair: f"is a {JARGON[pair[0]]} often {pair[1]} here" for pair in product(JARGON, WORK)}
    asked = ask_golden(tonight, texts)
    plain = (tonight.root / "golden.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in plain]
    for row in rows:
        if row["split"] == "test":
            row["text"] = "what is done here"
    (tonight.root / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(
        tonight.data / "evaluation" / "fusion.json", {"method": "convex", "weight": 1.0}
    )  # vectors alone: bad here
    both = replace(asked, learn=replace(asked.learn, ladder=("fusion", "glossary")))
    found = taught(tonight, only_what_was_shown(tonight), both)
    write_json(tonight.data / "evaluation" / "fusion.json", FUSION)
    assert [(one["learner"], one["kept"]) for one in found["tried"]] == [("fusion", True), ("glossary", True)]
    assert [part.learner for part in parts_of(found["parts"])] == ["fusion"]
    assert "with what golden questions chose besides, not:" in found["reasons"][-1]
    alone = taught(
        tonight, only_what_was_shown(tonight), replace(asked, learn=replace(asked.learn, ladder=("glossary",)))
    )
    assert (alone["parts"], [part.learner for part in parts_of(alone["hope"])]) == ([], ["glossary"])


def test_a_weight_goes_with_the_part_it_was_learned_in(tonight: Paths) -> None:
    """A champion with a learned weight; golden questions prove a glossary, which leaves the weight to the night."""
    live = Part("fusion", load_embedder(PARAMS.embed, tonight.cache).fingerprint, retrieve={"weight": 0.05},
                trainset=content_id("before"), version=1)  # fmt: skip
    write_json(tonight.data / INPUT, rows_of([live]))
    write_json(tonight.data / "evaluation" / "fusion.json", {"method": "convex", "weight": 0.05})
    texts = {pair: f"is a {JARGON[pair[0]]} often {pair[1]} here" for pair in product(JARGON, WORK)}
    found = taught(tonight, only_what_was_shown(tonight), ask_golden(tonight, texts))
    write_json(tonight.data / INPUT, [])
    write_json(tonight.data / "evaluation" / "fusion.json", FUSION)
    assert [part.learner for part in parts_of(found["parts"])] == ["glossary"]
    assert found["gain"]["weights"]["base"] == 0.05
    assert found["gain"]["weights"]["new"] != 0.05


def test_these_golden_questions_judge_once_more_at_a_price(tonight: Paths) -> None:
    texts = {pair: f"is a {JARGON[pair[0]]} often {pair[1]} here" for pair in product(JARGON, WORK)}
    asked = ask_golden(tonight, texts)
    first = taught(tonight, only_what_was_shown(tonight), asked)
    history = tonight.models / "history.jsonl"
    for golden in (first["golden"], first["golden"], "others"):  # promotions renew lessons, and no golden question
        append_row(history, {"gain": first["gain"], "published": True, "golden": golden})
    again = taught(tonight, only_what_was_shown(tonight), asked)
    history.unlink()
    assert again["gain"]["confidence"] == pytest.approx(1 - 0.05 / 4)
    assert "these golden questions 2" in again["reasons"]


def test_golden_questions_in_other_words_than_people_use_prove_nothing(tonight: Paths) -> None:
    texts = {(thing, work): f"is a {thing} often {work} here" for thing, work in product(JARGON, WORK)}
    found = taught(tonight, only_what_was_shown(tonight), ask_golden(tonight, texts))
    (tried,) = found["tried"]
    assert (tried["kept"], found["parts"]) == (False, [])
    assert parts_of(found["hope"])
    told = "end to end +0.00 points [+0.00, +0.00] at 80 % over 40 golden questions: the lower bound must be above 0, "
    assert f"{told}the gain at least +1.00 points" in tried["reasons"]


def test_its_page_says_what_and_that_it_was_simulated(found: dict[str, Any]) -> None:
    page = render_learned(found, {"verdict": "promoted", "reasons": ["a < b"]}, title="t", at="2026-01-01T00:00")
    assert "Simulated" in page
    assert "a &lt; b" in page
    assert "query-tower" in page


def test_what_was_learned_embeds_questions_only(tonight: Paths, found: dict[str, Any]) -> None:
    folder = tonight.root / "kept" / tower(found).folder
    both = load_embedder(replace(PARAMS.embed, query_model=str(folder)), tonight.cache)
    base = load_embedder(PARAMS.embed, tonight.cache)
    assert both.fingerprint == base.fingerprint == tower(found).base
    passages = base.embed([chunk(thing, "repaired").embed_text for thing in JARGON], role="passage")
    asked = [f"who repaired the {name}?" for name in JARGON.values()]
    right, before = (
        int(((one.embed(asked, role="query") @ passages.T).argmax(axis=1) == range(10)).sum()) for one in (both, base)
    )
    assert right > before


def test_the_same_lessons_make_the_same_model(tonight: Paths, found: dict[str, Any]) -> None:
    assert tower(taught(tonight, lessons(), PARAMS)).sha256 == tower(found).sha256


def test_of_a_long_log_some_held_out_lessons_are_asked(tonight: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.learn._ASKED", 25)
    found = taught(tonight, lessons(), replace(PARAMS, learn=replace(PARAMS.learn, ladder=("glossary",))))
    assert (found["lessons"]["report"], found["gain"]["overall"]["ndcg_at_10"]["n"]) == (40, 25)


def test_labels_that_mean_nothing_are_not_promoted(tonight: Paths) -> None:
    found = taught(tonight, lessons(wrong=True), PARAMS)
    assert found["parts"] == []
    assert found["reasons"]


def test_a_log_that_is_too_short_is_said_so(tonight: Paths) -> None:
    found = taught(tonight, [], PARAMS)
    assert (found["parts"], found["tried"]) == ([], [])
    (reason,) = found["reasons"]
    assert reason.startswith("there are too few lessons to learn from and to measure with: 0 are held out for the report")
    assert "about 100 more questions" in reason  # 20 of them, a fifth, would be for the report


def test_made_up_questions_fill_up_what_a_tower_learns_from_and_judge_nothing(tonight: Paths) -> None:
    asked = [one for one in lessons() if one.split != "train"]
    few = lessons()[:20]
    made_up = [replace(one, id=f"s{one.id}", synthetic=True) for one in lessons()[20:80]]
    only_tower = replace(PARAMS, learn=replace(PARAMS.learn, ladder=("query-tower",)))
    found = taught(tonight, [*asked, *few, *made_up], only_tower)
    card = found["tried"][0]["card"]
    assert (card["lessons"], card["synthetic"], found["synthetic"]) == (80, 60, 60)
    assert found["lessons"] == {"train": 20, "select": 40, "report": 40}


def test_parts_already_live_are_what_is_built_upon(tonight: Paths, found: dict[str, Any]) -> None:
    live = replace(tower(found), embed={"query_model": str(tonight.root / "kept" / tower(found).folder)}, sha256="")
    write_json(tonight.data / INPUT, rows_of([live]))
    again = taught(tonight, lessons(), PARAMS)
    write_json(tonight.data / INPUT, [])
    first, second = (run["tried"][0]["gain"]["overall"]["ndcg_at_10"]["base"] for run in (found, again))
    assert second > first + 0.05
    assert {part.base for part in parts_of(again["parts"]) if part.learner == "query-tower"} <= {live.base}


def test_what_is_live_is_not_learned_again_from_the_same_lessons(tonight: Paths, found: dict[str, Any]) -> None:
    folder = tonight.root / "kept" / tower(found).folder
    live = replace(tower(found), embed={"query_model": str(folder)}, folder="kept", sha256="", version=1)
    write_json(tonight.data / INPUT, rows_of([live]))
    again = taught(tonight, lessons(), replace(PARAMS, learn=replace(PARAMS.learn, ladder=("query-tower",))))
    write_json(tonight.data / INPUT, [])
    assert again["parts"] == []
    assert again["tried"][0]["reasons"] == ["what is live has learned this from these very lessons"]


def test_what_is_live_stays_beside_what_is_new(tonight: Paths, found: dict[str, Any]) -> None:
    folder = str(tonight.root / "kept" / tower(found).folder)
    live = replace(tower(found), embed={"query_model": folder}, folder="query-tower-1", sha256="", version=1)
    write_json(tonight.data / INPUT, rows_of([live]))
    write_json(tonight.data / "evaluation" / "fusion.json", {"method": "convex", "weight": 0.0})  # words alone: bad here
    params = replace(PARAMS, learn=replace(PARAMS.learn, ladder=("fusion",)))
    made = taught(tonight, lessons(), params)
    write_json(tonight.data / INPUT, [])
    write_json(tonight.data / "evaluation" / "fusion.json", FUSION)
    assert [(part.learner, part.version, part.folder) for part in parts_of(made["parts"])] == [
        ("query-tower", 1, "query-tower-1"),
        ("fusion", 0, ""),
    ]


def test_what_cannot_be_measured_end_to_end_is_not_tried(tonight: Paths) -> None:
    params = replace(PARAMS, learn=replace(PARAMS.learn, ladder=("fusion", "adapter")))
    told = r"learn.ladder has 'adapter'; what can be promoted is fusion, glossary, query-tower"
    with pytest.raises(ConfigError, match=told):
        taught(tonight, lessons(), params)


def test_a_weight_a_person_fixed_is_not_learned(tonight: Paths) -> None:
    before = tonight.params.read_text()
    tonight.params.write_text(before + "retrieve: {weight: 0.4}\n")
    fixed = replace(PARAMS, retrieve=RetrieveParams(weight=0.4), learn=replace(PARAMS.learn, ladder=("fusion",)))
    found = taught(tonight, lessons(), fixed)
    tonight.params.write_text(before)
    assert found["tried"][0]["reasons"] == [
        "params.yaml fixes retrieve.weight or retrieve.fusion, and what is written there wins"
    ]


def test_each_candidate_that_the_report_judged_makes_the_next_one_prove_more(
    tonight: Paths, found: dict[str, Any]
) -> None:
    gain = found["gain"]
    history = tonight.models / "history.jsonl"
    for published in (True, False, False):
        append_row(history, {"gain": gain, "published": published})
    again = taught(tonight, lessons(), PARAMS)
    history.unlink()
    assert "these lessons judged 2 candidates before" in again["reasons"]
    low, first = (run["gain"]["overall"]["ndcg_at_10"]["ci"][0] for run in (again, found))
    assert low < first
