"""The simulator: real answers of a real release to made-up people, all of it marked, and lessons out of it."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.beir import read_folder
from evaluation.jargon import renamed
from evaluation.sets import load_set
from ragkeep.config import LearnParams, Paths, load_params
from ragkeep.errors import ConfigError
from ragkeep.files import read_rows
from ragkeep.interactions import impressions, read
from ragkeep.releases import read_release, save_release
from ragkeep.tables import chunks_table
from ragkeep.trial_report import trial_state
from ragkeep.trials import Trial, begin_trial
from tasks import trainset
from tasks.lessons import TrainingSet, read_set
from tasks.shards import write_shard
from tasks.simulate import Crowd, file_name, next_seed, passage, prepare, simulate
from tests.e2e.projects import make_env
from tests.serving.published import chunks_of, project, publish

from .nights import put_rows

THINGS = tuple(
    """valve gasket rotor filter motor casing handle gauge spring lever piston nozzle bearing flange shaft seal wheel
    crank plug pin""".split()  # noqa: SIM905
)
CORPUS = {f"{thing}/1": f"The {thing} of our pump is looked after. Ask the crew about every {thing}." for thing in THINGS}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of twenty documents with three questions each, two of them to learn from."""
    folder = tmp_path_factory.mktemp("sets") / "pumps"
    put_rows(folder / "corpus.jsonl", *({"id": name, "text": text} for name, text in CORPUS.items()))
    asked = {f"{thing}-{n}": f"who does {what} the {thing}" for thing in THINGS
             for n, what in enumerate(("repair", "inspect", "replace"))}  # fmt: skip
    put_rows(folder / "queries.jsonl", *({"id": name, "text": text} for name, text in asked.items()))
    for file, wanted in (("qrels.tsv", "0"), ("qrels_train.tsv", "12")):
        rows = [f"{q}\t{q.partition('-')[0]}/1\t1\n" for q in asked if q[-1] in wanted]
        (folder / file).write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return folder


def published(root: Path) -> Paths:
    """A project whose live release holds the set's documents, as a night over `--prepare` would have left it."""
    paths = project(root)
    documents = {f"pumps/{file_name(name)}.txt": text for name, text in CORPUS.items()}
    publish(paths, documents)
    write_shard(paths.data / "chunks", 0, chunks_table(chunks_of(documents, "default")), "key")
    return paths


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, labelled: Path) -> tuple[Paths, dict[str, object]]:
    paths = published(tmp_path_factory.mktemp("project"))
    crowd = Crowd(interactions=200, users=8, wrong=0.1, poisoners=2, poison=0.15)
    return paths, simulate(paths, load_params(paths.params), labelled, crowd)


def lessons(paths: Paths, **learn: object) -> TrainingSet:
    params = replace(load_params(paths.params), learn=LearnParams(**({"min_lessons": 1, "synthetic": 0} | learn)))  # type: ignore[arg-type]
    trainset.run(paths, params)
    return read_set(paths.data / "trainset")


def test_every_record_says_that_it_is_simulated(played: tuple[Paths, dict[str, object]]) -> None:
    records = list(read(played[0].interactions, sealed=True))
    assert all(one.user.startswith("sim:") and one.session.startswith("sim:") for one in records)
    assert all(one.answer.startswith("sim-") for one in records)
    assert Counter(one.kind for one in records)["answer"] == 200
    assert played[1]["simulated"] is True
    assert played[1]["seqs"] == [1, len(records)]


def test_what_was_shown_is_what_the_live_release_finds(played: tuple[Paths, dict[str, object]]) -> None:
    answer = next(one for one in read(played[0].interactions) if one.kind == "answer")
    shown = impressions(answer)
    assert [one.rank for one in shown] == list(range(1, 11))
    assert shown[0].uri.startswith("pumps/")
    assert answer.release == "1"
    assert answer.payload["cited"]


def test_only_training_questions_are_asked(played: tuple[Paths, dict[str, object]]) -> None:
    asked = [one.payload["question"] for one in read(played[0].interactions) if one.kind == "answer"]
    assert not [question for question in asked if "repair" in question]


def test_its_lessons_are_mostly_right_and_say_where_they_come_from(played: tuple[Paths, dict[str, object]]) -> None:
    found = lessons(played[0])
    assert found.card["simulated"] is True
    assert "**Simulated: no person was asked.**" in (played[0].data / "trainset" / "card.md").read_text()
    best = {one.question: found.texts[max(one.gains, key=one.gains.__getitem__)] for one in found.lessons}
    right = sum(f"The {question.split()[-1]} of" in text for question, text in best.items())
    assert len(best) > 20
    assert right >= 0.8 * len(best)


def test_its_poisoners_are_set_aside_and_nobody_else(played: tuple[Paths, dict[str, object]]) -> None:
    assert set(lessons(played[0]).card["quarantined"]) <= {"one document", "contradicts"}
    rows = read_rows(played[0].data / "trainset" / "quarantine.jsonl")
    assert {row["account"] for row in rows} == {trainset.account(f"sim:poisoner-00{n}") for n in range(2)}


def test_each_run_has_a_seed_of_its_own(tmp_path: Path, labelled: Path) -> None:
    paths = published(tmp_path)
    assert next_seed(paths) == 7
    for seed in (7, 20, 3):
        simulate(paths, load_params(paths.params), labelled, Crowd(interactions=2, seed=seed))
    assert next_seed(paths) == 21


def test_the_same_seed_asks_the_same(tmp_path: Path, labelled: Path) -> None:
    def asked(root: Path, seed: int) -> list[tuple[str, object, object]]:
        paths = published(root)
        simulate(paths, load_params(paths.params), labelled, Crowd(interactions=20, users=3, seed=seed))
        return [(r.user, r.payload.get("question"), r.payload.get("rank")) for r in read(paths.interactions)]

    first = asked(tmp_path / "a", 1)
    assert first == asked(tmp_path / "b", 1)
    assert first != asked(tmp_path / "c", 2)


def test_jargon_renames_the_questions_words(tmp_path: Path, labelled: Path) -> None:
    paths = published(tmp_path)
    simulate(paths, load_params(paths.params), labelled, Crowd(interactions=5, jargon=True))
    asked = [one.payload["question"] for one in read(paths.interactions) if one.kind == "answer"]
    assert not any("inspect" in question or "replace" in question for question in asked if "does" in question)


def test_a_set_the_release_does_not_hold_is_refused_with_the_way_to_mend_it(tmp_path: Path, labelled: Path) -> None:
    paths = project(tmp_path)
    publish(paths)
    with pytest.raises(ConfigError, match=r"--prepare FOLDER.*params\.yaml.*ragkeep nightly"):
        simulate(paths, load_params(paths.params), labelled, Crowd(interactions=5))
    assert not paths.interactions.exists()


def test_prepare_writes_one_file_a_document_and_says_what_to_put_into_params(tmp_path: Path, labelled: Path) -> None:
    found = prepare(labelled, tmp_path / "docs")
    assert {path.stem for path in (tmp_path / "docs").iterdir()} == {file_name(name) for name in CORPUS}
    assert f"{{name: pumps, path: {tmp_path / 'docs'}}}" in found["params"]
    assert f"exclude: [{labelled}]" in found["params"]


def test_nights_over_what_was_prepared_are_measured_with_questions_nobody_learns_from(
    tmp_path: Path, labelled: Path
) -> None:
    found = prepare(labelled, tmp_path / "docs", ".md")
    assert f"sets: [{tmp_path / 'docs-questions.jsonl'}, evaluation/sets/unanswerable.jsonl]" in found["params"]
    questions = load_set(tmp_path / "docs-questions.jsonl").questions
    assert {question.text for question in questions} == set(read_folder(labelled).measured())
    assert {question.split for question in questions} == {"dev", "test"}
    assert questions[0].labels[0].document.startswith("pumps/")
    assert questions[0].labels[0].document.endswith(".md")


def test_golden_questions_of_a_crowd_with_words_of_its_own_are_in_those_words(tmp_path: Path, labelled: Path) -> None:
    found = prepare(labelled, tmp_path / "docs", jargon=True)
    read = read_folder(labelled)
    questions = load_set(tmp_path / "docs-questions.jsonl").questions
    said = renamed(read.queries)
    assert {question.text for question in questions} == {said[q] for q in read.parts()[1]}
    assert "answerable_answered: 0.1" in found["params"]


def test_a_passage_is_what_says_most_of_the_question() -> None:
    assert passage("One here. Pumps are red. They spin. End.", "which pumps are red?") == "Pumps are red. They spin."


def test_during_a_trial_its_sources_are_mixed_in_and_clicks_count(tmp_path: Path, labelled: Path) -> None:
    paths = published(tmp_path)
    live = read_release(paths, 1)
    words = {"words": {"default": {"inspect": "gasket", "replace": "pin"}}}
    serving = {**live.serving, "retrieve": {**live.serving["retrieve"], **words}}  # type: ignore[dict-item]
    save_release(paths, replace(live, number=2, serving=serving))
    begin_trial(paths, Trial("2-1", 2, 1, "interleave", 0.5, "user", "2026-01-01T00:00:00+00:00", "", 0, 1, "", ""))
    simulate(paths, load_params(paths.params), labelled, Crowd(interactions=60, users=8))
    said = trial_state(paths)
    assert 15 < said["answers"] < 45
    assert said["simulated"] == said["answers"]
    parts = [record.payload["trial"] for record in read(paths.interactions) if record.payload.get("trial")]
    assert {team for part in parts for team in part["teams"]} >= {"champion", "challenger"}
    assert said["counts"]["wins"] + said["counts"]["losses"] > 0


def test_the_command_says_that_it_is_simulated_and_what_comes_next(tmp_path: Path, labelled: Path) -> None:
    paths = published(tmp_path)
    command = [sys.executable, "-m", "ragkeep.cli", "simulate", "--set", str(labelled), "--interactions", "5"]
    ran = subprocess.run(command, cwd=paths.root, env=make_env(), capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("what\thow many\nanswers\t5\n")
    assert ran.stdout.endswith("Next: ragkeep learn\n")
    whole = subprocess.run(
        [*command, "--json"], cwd=paths.root, env=make_env(), capture_output=True, text=True, check=True
    )
    assert json.loads(whole.stdout.splitlines()[-1])["simulated"] is True
