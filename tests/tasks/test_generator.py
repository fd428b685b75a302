"""What users said of answers as pairs and as a measure, and the rung that tunes a generator on them."""

import importlib.util
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation import answer_gain
from evaluation.compare import compare
from ragkeep.config import AnswerParams, GateParams, GeneratorParams, LearnParams, Params, Paths, load_params
from ragkeep.files import read_json, write_rows
from ragkeep.interactions import InteractionLog, answered, corrected
from ragkeep.learned import Part
from ragkeep.ports import Delta, Request
from ragkeep.prompts import RULES
from ragkeep.tables import iter_chunks, read_table
from ragkeep.types import Answer, Hit, Sampling, Usage
from tasks import generator
from tasks.answer_pairs import corrections, pairs
from tasks.lessons import Lesson, write_set
from tasks.shards import iter_shards
from tests.finetune import tiny
from tests.flows import learning as flows
from tests.tasks.learning import ASKED, SMALL, TEXTS, People
from tests.tasks.nights import PARAMS

VALVE, ROTOR = "d00.md", "d02.md"
OPEN = replace(SMALL, report=0.01, select=0.01)
"""Next to nothing is held out."""
CLOSED = replace(SMALL, report=0.4, select=0.4)
LEARN = replace(PARAMS, learn=OPEN)


def anything(prompt: str, answer: str) -> str:
    """Let every row fit."""
    return ""


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path)


def made(people: People, learn: LearnParams = OPEN) -> Any:
    return pairs(people.paths, replace(PARAMS, learn=learn), people.learn(learn), anything)


def test_a_correction_becomes_a_pair_over_the_prompt_of_serving_that_cites_what_holds_it(people: People) -> None:
    asked = people.ask("ann", ASKED[VALVE], ROTOR, VALVE)
    people.correct(asked, "The valve of a pump is checked daily.")
    (row,) = made(people).rows
    assert row["prompt"].endswith(f"Question: {ASKED[VALVE]}")
    assert row["prompt"].index(TEXTS[ROTOR]) < row["prompt"].index(TEXTS[VALVE])
    assert (row["chosen"], row["rejected"]) == ("The valve of a pump is checked daily. [2]", "So.")
    assert row["seqs"] == [1, 2]


def test_what_was_not_found_stands_among_the_sources_as_if_it_had_been(people: People) -> None:
    people.correct(people.ask("ann", ASKED[VALVE], ROTOR), TEXTS[VALVE])
    (row,) = made(people).rows
    assert TEXTS[ROTOR] in row["prompt"]
    number = 1 + (row["prompt"].index(TEXTS[VALVE]) > row["prompt"].index(TEXTS[ROTOR]))
    assert row["chosen"] == f"{TEXTS[VALVE]} [{number}]"


def test_what_no_source_holds_is_not_taught(people: People) -> None:
    asked = people.ask("ann", ASKED[VALVE], VALVE)
    people.vote(asked)
    people.correct(asked, "Nobody ever looks at its rusty hinges, believe me.")
    found = made(people)
    assert (found.rows, dict(found.left_out)) == ([], {"no source holds the better answer": 1})


def test_a_question_that_is_held_out_teaches_nothing_and_its_correction_measures(people: People) -> None:
    for name in TEXTS:
        people.correct(people.ask("ann", ASKED[name], name), TEXTS[name])
    lessons = people.learn(CLOSED)
    held = lessons.of("report")
    taught = {seq for row in made(people, CLOSED).rows for seq in row["seqs"]}
    assert held
    assert taught
    assert taught == {seq for lesson in lessons.of("train") for seq in lesson.seqs}
    right = corrections(people.paths, replace(PARAMS, learn=CLOSED), held)
    assert right == {one.id: text for one in held for name, text in TEXTS.items() if ASKED[name] == one.question}


def test_whoever_is_erased_teaches_nothing(people: People) -> None:
    for user, name in (("ann", VALVE), ("bob", ROTOR)):
        people.correct(people.ask(user, ASKED[name], name), TEXTS[name])
    people.erase("ann")
    assert [row["chosen"] for row in made(people).rows] == [f"{TEXTS[ROTOR]} [1]"]


def test_a_row_that_does_not_fit_goes_with_fewer_sources_or_not_at_all(people: People) -> None:
    people.correct(people.ask("ann", ASKED[VALVE], VALVE, ROTOR), TEXTS[VALVE])
    lessons = people.learn(OPEN)
    (row,) = pairs(people.paths, LEARN, lessons, lambda prompt, _: "too long" if TEXTS[ROTOR] in prompt else "").rows
    assert TEXTS[VALVE] in row["prompt"]
    assert TEXTS[ROTOR] not in row["prompt"]
    assert dict(pairs(people.paths, LEARN, lessons, lambda *_: "too long").left_out) == {"too long": 1}


def compared(better: float, guard: float = 0.0, n: int = 40) -> Any:
    """Forty questions, each `better` and `guard` better, give or take a tenth."""
    base = [0.5 + 0.1 * (i % 3 - 1) for i in range(n)]
    moved = {answer_gain.DECIDES: better, "citation_hit": guard}
    names = (answer_gain.DECIDES, *answer_gain.GUARDS, *answer_gain.NOTED)
    return {m: compare(base, [x + moved.get(m, 0.0) * (1 + 0.2 * (i % 2)) for i, x in enumerate(base)]) for m in names}


@pytest.mark.parametrize(
    ("found", "promote", "why"),
    [
        (compared(0.1), True, "40 questions were held out"),
        (compared(0.0), False, "answers: rouge_l +0.0 points [+0.0, +0.0] over 40 questions: the lower bound"),
        (compared(-0.1), False, "the lower bound must be above 0"),
        (compared(0.1, guard=-0.2), False, "answers: citation_hit -22.0 points"),
        (compared(0.1, n=10), False, "10 questions were held out, 30 are needed"),
    ],
)
def test_a_tie_a_loss_a_harmed_guard_and_too_few_questions_are_refused(found: Any, promote: bool, why: str) -> None:
    said = answer_gain.verdict(found, GateParams(), min_lessons=30)
    assert said.promote == promote
    assert why in said.reasons[0]


def test_the_rung_says_why_it_is_skipped(people: People) -> None:
    people.correct(people.ask("ann", ASKED[VALVE], VALVE), TEXTS[VALVE])
    people.learn(OPEN)
    assert skipped(people.paths, LEARN) == "skipped: learn.generator names no finetune.yaml, so no generator is tuned"
    named = replace(LEARN, learn=replace(OPEN, generator="finetune.yaml"))
    has = all(importlib.util.find_spec(name) for name in ("torch", "trl", "peft"))
    assert ("0 questions are held out for the report" if has else "train") in skipped(people.paths, named)


def skipped(paths: Paths, params: Params) -> str:
    generator.run(paths, params)
    found = read_json(paths.data / generator.FOUND)
    assert (found["part"], found["tried"]["kept"], found["tried"]["skipped"]) == (None, False, True)
    (why,) = found["tried"]["reasons"]
    return str(why)


class Quoting:
    """Quotes the first source, or says what stands nowhere."""

    def __init__(self, spec: GeneratorParams) -> None:
        self.name, self._says = spec.label, spec.model

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        first = request.hits[0].chunk.text
        yield Delta(f'"{first}" [1]' if self._says == "source" else "Nobody knows.")
        yield Delta(usage=Usage(1, 1))


def quoting(spec: GeneratorParams, *, params: AnswerParams, embedder: object) -> Quoting:
    """A factory as params.yaml names it."""
    return Quoting(spec)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A project whose release says what stands nowhere."""

    def first(paths: Paths) -> None:
        spec = {"backend": "tests.tasks.test_generator:quoting", "name": "served", "model": "nothing"}
        answer = {"generators": [spec], "max_tokens": 8}
        paths.params.write_text(yaml.safe_dump(yaml.safe_load(paths.params.read_text()) | {"answer": answer}))
        flows.night(paths)

    return flows.project(tmp_path_factory.mktemp("served") / "project", first)


def asked_of(paths: Paths) -> list[Lesson]:
    """A held-out lesson for each chunk, asked by its own first words."""
    chunks = [c for shard in iter_shards(paths.data / "chunks") for c in iter_chunks(read_table(shard))]
    lessons = [
        Lesson(f"q{n}", " ".join(chunk.text.split()[:9]), {chunk.id: 1.0}, split="report", seqs=(100 + n,))
        for n, chunk in enumerate(chunks)
    ]
    write_set(paths.data / "trainset", lessons, {c.id: c.text for c in chunks}, {"sha": "s"})
    return lessons


@pytest.mark.parametrize(("model", "promote"), [("source", True), ("nothing", False)])
def test_a_generator_is_measured_as_the_release_would_answer_with_it(served: Paths, model: str, promote: bool) -> None:
    params = load_params(served.params)
    params = replace(params, learn=replace(params.learn, min_measured=5))
    spec = {"backend": "tests.tasks.test_generator:quoting", "name": "new", "model": model}
    part = Part("generator", "", answer={"generator": spec, "over": "served"})
    gain, verdict = generator.measured(served, params, part, served.root, asked_of(served))
    assert verdict.promote == promote
    assert gain["overall"]["answered"]["base"] == 0.0
    assert gain["overall"]["citation_hit"]["new"] == (1.0 if promote else 0.0)
    assert gain["measure"] == "rouge_l"


def test_each_generator_that_was_judged_widens_the_next_interval(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    rows = [(False, {"kept": False}), (True, {"kept": True}), (True, None), (False, {"kept": False})]
    write_rows(paths.models / "history.jsonl", ({"published": p, "answers": a} for p, a in rows))
    assert generator.judged_before(paths) == 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="tuning a generator needs the extra train")
def test_a_model_is_tuned_merged_measured_and_refused_with_its_reason(served: Paths, tmp_path: Path) -> None:
    """A tiny model of random weights says nothing that stands anywhere: it ties with a release that does the same."""
    texts = {c.id: c.text for shard in iter_shards(served.data / "chunks") for c in iter_chunks(read_table(shard))}
    base = tiny.make(tmp_path / "base", texts=(tiny.MANUAL, RULES, *texts.values()))
    recipe = {"model": str(base), "lora": {"r": 8, "alpha": 16}, "train": {"steps": 2, "batch": 2, "max_tokens": 1024}}
    (served.root / "finetune.yaml").write_text(yaml.safe_dump(recipe))
    held, given = asked_of(served), list(taught(served))
    write_set(served.data / "trainset", [*held, *given], texts, {"sha": "s"})
    params = load_params(served.params)
    learn = replace(params.learn, min_measured=5, min_lessons=2, generator="finetune.yaml")
    generator.run(served, replace(params, learn=learn))
    found = read_json(served.data / generator.FOUND)
    assert found["part"] is None
    assert "the lower bound must be above 0" in found["tried"]["reasons"][0]
    assert found["tried"]["card"]["rows"] == len(given)
    (folder,) = (served.root / generator.MADE).glob("generator-*")
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".jinja"}
    assert not (served.root / generator.MADE / "preferences.jsonl").exists()


def taught(paths: Paths) -> Iterator[Lesson]:
    """Four people correct an answer over the chunk that holds what they say."""
    chunks = [c for shard in iter_shards(paths.data / "chunks") for c in iter_chunks(read_table(shard))]
    about: dict[str, Any] = {"workspace": "default", "session": "s"}
    with InteractionLog(paths.interactions, segment_bytes=1) as log:
        for n, chunk in enumerate(chunks[:4]):
            said = Answer("So.", (), abstained=False, hits=(Hit(chunk, 1.0),))
            first = log.append(answered(f"t{n}", f"what of number {n}", said, user=f"u{n}", **about))
            last = log.append(corrected(f"t{n}", chunk.text, user=f"u{n}", **about))
            yield Lesson(f"t{n}", f"what of number {n}", {chunk.id: 1.0}, seqs=(first, last))
        log.append(answered("end", "seals the one before", said, user="u", **about))
