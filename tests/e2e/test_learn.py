"""From people who call things by their own names to a promoted release, and back: `simulate`, `learn`, `models`."""

import importlib.util
import json
from itertools import product
from pathlib import Path

import pytest

from ragkeep.prompts import RULES
from tests.e2e.projects import Project, make_project
from tests.finetune import tiny
from tests.tasks.test_learn import JARGON, WORK

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="learning a model needs the extra torch"),
]
FORMS = (
    "When is the {} {}?", "how do I see that the {} gets {}", "is our {} ever {} by others", "why {} was {}",
    "who looks after a {} that is to be {}", "{} not {} since last year, what now",
)  # fmt: skip


WORKS = WORK | {
    "sold": "Ask three dealers for a price before the {} leaves the yard.",
    "painted": "Give the {} two coats of grey enamel.",
    "measured": "Hold the ruler against the {} and write its length down.",
    "moved": "Lift the {} with two straps and set it on rollers.",
}


def labelled(folder: Path) -> Path:
    """Write a set: a document for each machine and work, questions that name the machines in jargon."""
    folder.mkdir()
    pairs = list(product(JARGON, WORKS))
    texts = {f"{thing}-{work}": f"{work.title()}: {WORKS[work].format(thing)}" for thing, work in pairs}
    asked = {
        f"q{n}-{thing}-{work}": (form.format(JARGON[thing], work), f"{thing}-{work}")
        for n, form in enumerate(FORMS)
        for thing, work in pairs
    }
    rows = {"corpus": [{"_id": name, "text": text} for name, text in texts.items()],
            "queries": [{"_id": name, "text": text} for name, (text, _) in asked.items()]}  # fmt: skip
    for name, values in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in values))
    lines = [f"{q}\t{document}\t1" for q, (_, document) in asked.items()]
    (folder / "qrels_train.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines[4:]]) + "\n")
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines[:4]]) + "\n")
    return folder


@pytest.fixture(scope="module")
def project(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose night has been, with the model that is the default."""
    root = tmp_path_factory.mktemp("learning")
    made = make_project(root / "project").having(PREFECT_API_URL=prefect_server)
    given = labelled(root / "machines")
    made.run("simulate", "--set", str(given), "--prepare", str(made.root / "docs"), "--suffix", ".md")
    made.params(
        embed={"backend": "minilm", "precision": "fp32"},
        learn={"ladder": ["fusion", "query-tower"], "select": 0.2, "report": 0.3, "min_measured": 20},
    )
    made.run("nightly")
    return made


def test_a_log_that_is_empty_teaches_nothing_and_says_so(project: Project) -> None:
    ran = project.run("learn").json
    assert (ran["verdict"], ran["published"], ran["release"]) == ("nothing to learn", False, "1")
    assert "too few lessons" in ran["reasons"][0]
    assert [(one["learner"], one["skipped"]) for one in ran["tried"]] == [("generator", True)]


def test_what_people_did_becomes_a_release_and_a_step_back_returns(project: Project) -> None:
    given = project.root.parent / "machines"
    project.run("simulate", "--set", str(given), "--interactions", "1500", "--wrong", "0.1", "--users", "20")
    ran = project.run("learn").json
    assert (ran["verdict"], ran["published"], ran["release"], ran["simulated"]) == ("promoted", True, "2", True)
    assert ran["gain"]["overall"]["ndcg_at_10"]["ci"][0] > 0
    assert "Simulated" in Path(ran["report"]).read_text()
    models = project.run("models", "list").json["models"]
    assert {"query-tower"} <= {model["learner"] for model in models if model["alias"] == "champion"}
    assert project.run("search", "who looks after a zorbl that is to be repaired").json["release"] == "2"
    assert project.run("nightly").json["verdict"] == "unchanged"
    again = project.run("learn").json  # the same log over what it made: nothing is promoted twice
    assert again["published"] is False
    back = project.run("models", "rollback").json
    assert back == {"champion": "1", "models": []}
    assert project.run("models", "promote", "query-tower/1").json["champion"] == "2"


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="tuning a generator needs the extra train")
def test_a_generator_that_does_not_answer_better_is_refused_with_its_figures(project: Project) -> None:
    """A model of random weights, tuned on what the simulated people corrected: it ends as it must, by the whole way."""
    texts = [f"{work.title()}: {WORKS[work].format(thing)}" for thing, work in product(JARGON, WORKS)]
    base = tiny.make(project.root.parent / "base", texts=(tiny.MANUAL, RULES, *texts))
    train = {"steps": 2, "batch": 2, "max_tokens": 1024}
    recipe = {"model": str(base), "lora": {"r": 8, "alpha": 16}, "train": train, "measure": {"rows": 20}}
    (project.root / "finetune.yaml").write_text(json.dumps(recipe))
    learn = {"generator": "finetune.yaml", "min_lessons": 5, "ladder": []}
    project.params(learn=learn, answer={"max_tokens": 24})
    if not any((project.state / "interactions").glob("*")):  # this test alone
        given = project.root.parent / "machines"
        project.run("simulate", "--set", str(given), "--interactions", "800", "--wrong", "0.1", "--users", "20")
    project.run("nightly")
    ran = project.run("learn").json
    (tried,) = ran["tried"]
    assert (tried["learner"], tried["kept"], tried["skipped"]) == ("generator", False, False)
    assert (ran["verdict"], ran["published"]) == ("no gain", False)
    assert ran["reasons"][-1].startswith("generator: answers: rouge_l")
    assert ran["answers"]["overall"]["rouge_l"]["n"] == 20
    assert tried["card"]["rows"] >= 5
    assert "Answers, on questions nobody trained on" in Path(ran["report"]).read_text()
