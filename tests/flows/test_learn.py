"""What `ragkeep learn` does around the ladder: try, publish, wait, refuse, and forget who was erased meanwhile."""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import registry, start, trials
from flows.prune import prune
from ragkeep.config import Params, Paths, load_params
from ragkeep.errors import LearnError
from ragkeep.files import read_json, read_rows, write_json
from ragkeep.interactions import InteractionLog
from ragkeep.learned import LEDGER, Part, rows_of, tonight
from ragkeep.models import sha256
from ragkeep.releases import pointer, read_release
from ragkeep.trials import past_trials, read_trial, trial_path
from ragkeep.types import Release
from tasks import generator
from tests.flows import learning


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return learning.project(tmp_path_factory.mktemp("first") / "project")


@pytest.fixture
def paths(first: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    return learning.copied(first, tmp_path / "project")


def live(paths: Paths) -> int:
    at = pointer(paths)
    assert at is not None
    return at.number


def erase(paths: Paths, user: str = "ann") -> None:
    with InteractionLog(paths.interactions) as log:
        log.erase("user", user)


def test_what_gained_becomes_a_release_that_binds_it(paths: Paths) -> None:
    said = learning.learned(paths)
    assert (said["verdict"], said["release"], live(paths)) == ("promoted", "2", 2)
    assert [(part.learner, part.version) for part in tonight(paths.data)] == [("query-tower", 1), ("fusion", 1)]
    assert [row["interactions"] for row in read_rows(paths.state / LEDGER)] == [[1, 2, 3, 4]] * 2
    assert learning.wrong(paths) == []


def test_what_the_gate_refuses_leaves_the_champion_and_its_data(paths: Paths) -> None:
    def worse(paths: Paths, params: Params) -> None:
        learning.measured(paths, params, 0.1 if tonight(paths.data) else 0.5)

    said = learning.learned(paths, evaluate=worse)
    assert (said["verdict"], said["release"], live(paths)) == ("refused", "1", 1)
    assert "ndcg_at_10 fell from 0.5" in said["reasons"][0]
    assert learning.wrong(paths) == []


def test_somebody_erased_while_the_ladder_is_climbed_is_in_no_model(paths: Paths) -> None:
    def climbed(paths: Paths, params: Params) -> None:
        learning.ladder(paths, params)
        erase(paths)

    with pytest.raises(LearnError, match="somebody was erased"):
        learning.learned(paths, learn=climbed)
    assert (live(paths), learning.models(paths), read_rows(paths.state / LEDGER)) == (1, [], [])
    assert learning.learned(paths)["verdict"] == "promoted"
    assert learning.wrong(paths) == []


def test_somebody_erased_during_the_trial_is_in_no_model_that_stays(paths: Paths) -> None:
    def measured(paths: Paths, params: Params) -> None:
        learning.measured(paths, params)
        if tonight(paths.data):
            erase(paths)

    with pytest.raises(LearnError, match="somebody was erased"):
        learning.learned(paths, evaluate=measured)
    assert (live(paths), learning.models(paths), read_rows(paths.state / LEDGER)) == (1, [], [])
    versions = registry._client(paths).search_model_versions()
    assert [version.name for version in versions] == [registry.MODEL]
    learning.night(paths)
    assert learning.wrong(paths) == []


def test_a_clock_set_back_a_year_changes_neither_what_is_newest_nor_what_is_live(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("publish", "learn", "night"):
        monkeypatch.setattr(f"flows.{module}.now", lambda: "2001-01-01T00:00:00+00:00")
    assert learning.learned(paths)["verdict"] == "promoted"
    assert live(paths) == 2
    assert prune(paths, load_params(paths.params), dry_run=True)["models"] == []
    assert learning.wrong(paths) == []


def tuned(paths: Paths, params: Params) -> None:
    """What tasks/generator.py would say of a generator that gains, once; weights and words are a double's."""
    if any(part.learner == "generator" for part in tonight(paths.data)):
        generator.run(paths, params)
        return
    folder = paths.root / generator.MADE / "generator-1"
    shutil.copytree(paths.root / "encoder", folder)
    spec = {"backend": "extractive", "name": folder.name}
    part = Part("generator", "", folder=folder.name, sha256=sha256(folder / "model.safetensors"),
                trainset="t", answer={"generator": spec, "over": "extractive"})  # fmt: skip
    gain = {
        "measure": "rouge_l",
        "overall": {"rouge_l": learning.GAIN},
        "slices": {},
        "corrections": 9,
        "confidence": 0.95,
    }
    tried = {"learner": "generator", "kept": True, "reasons": ["it gained"], "gain": gain, "card": {}, "skipped": False}
    write_json(paths.data / generator.FOUND, {"tried": tried, "part": rows_of([part])[0]})


def no_ladder(paths: Paths, params: Params) -> None:
    """What tasks/learn.py would say where no rung gains."""
    learning.ladder(paths, params)
    found = read_json(paths.data / "learned.json")
    write_json(paths.data / "learned.json", found | {"parts": [], "gain": None, "reasons": ["nothing gained"]})


def test_a_generator_that_gained_is_a_part_of_the_release_and_goes_back_with_it(paths: Paths) -> None:
    said = learning.learned(paths, learn=no_ladder, generator=tuned)
    assert (said["verdict"], said["release"], live(paths)) == ("promoted", "2", 2)
    assert "answers' rouge_l +10.0 points [5.0, 15.0]" in said["reasons"][0]
    assert "Answers, on questions nobody trained on" in Path(said["report"]).read_text()
    release = read_release(paths, 2)
    assert [one["backend"] for one in release.serving["answer"]["generators"]] == ["extractive", "extractive"]
    assert release.generator == "generator-1"
    assert [(part.learner, part.version) for part in tonight(paths.data)] == [("generator", 1)]
    assert read_rows(paths.state / LEDGER) == [{"model": "generator/1", "interactions": [1, 2, 3, 4]}]
    assert learning.wrong(paths) == []
    start.move(paths, load_params(paths.params), "rollback", reason="")
    assert (live(paths), champion_of(paths).generator) == (1, "extractive")
    assert [*learning.broken(paths), *learning.registered(paths)] == []
    assert prune(paths, load_params(paths.params), dry_run=True)["models"] == []  # the way forward again


def test_a_generator_and_what_the_ladder_found_are_promoted_together(paths: Paths) -> None:
    assert learning.learned(paths, generator=tuned)["verdict"] == "promoted"
    assert [part.learner for part in tonight(paths.data)] == ["query-tower", "fusion", "generator"]
    assert learning.wrong(paths) == []


def test_a_generator_does_not_outlive_what_it_was_proven_against(paths: Paths) -> None:
    learning.learned(paths, learn=no_ladder, generator=tuned)
    written = yaml.safe_load(paths.params.read_text())
    other = {"backend": "extractive", "name": "a person's choice"}
    paths.params.write_text(yaml.safe_dump(written | {"answer": {"generators": [other]}}))
    assert learning.night(paths)["published"]
    assert champion_of(paths).generator == "a person's choice"
    assert tonight(paths.data) == []


def champion_of(paths: Paths) -> Release:
    return read_release(paths, live(paths))


# --- what lessons cannot prove, people can ---------------------------------------------------------------------------


def on_trial(paths: Paths, **trial: object) -> dict[str, Any]:
    """Learn what is not proven, where a share of the answers may be used to try it."""
    params = yaml.safe_load(paths.params.read_text())
    paths.params.write_text(yaml.safe_dump(params | {"trial": {"share": 0.2, "answers": 40, **trial}}))
    return learning.learned(paths, learn=learning.hopeful)


def test_what_lessons_cannot_prove_is_tried_with_people_and_published_when_they_open_its_sources(paths: Paths) -> None:
    said = on_trial(paths)
    assert (said["verdict"], said["release"], said["published"], said["gain"]) == ("on trial", "1", False, None)
    trial = read_trial(paths)
    assert trial is not None
    assert (trial.number, trial.champion, trial.mode, trial.share) == (2, 1, "interleave", 0.2)
    assert learning.wrong(paths) == []
    learning.opened(paths, trial, "challenger", answers=39)
    assert "39 of 40 answers are decided" in learning.learned(paths, learn=learning.hopeful)["reasons"][-1]
    learning.opened(paths, trial, "challenger", answers=40)
    said = learning.night(paths)
    assert (said["release"], live(paths), read_trial(paths)) == ("2", 2, None)
    assert said["reasons"][0].startswith("release 2 won its trial and answers now")
    assert [part.learner for part in tonight(paths.data)] == ["query-tower", "fusion"]
    assert learning.wrong(paths) == []


def test_what_people_decided_against_is_not_tried_again(paths: Paths) -> None:
    on_trial(paths)
    trial = read_trial(paths)
    assert trial is not None
    learning.opened(paths, trial, "champion")
    said = learning.learned(paths, learn=learning.hopeful)
    assert (live(paths), read_trial(paths)) == (1, None)
    assert said["reasons"][0].startswith("the trial of release 2 is over, the champion stays")
    assert "people opened the champion's sources more in the trial of release 2" in said["reasons"][-1]
    assert learning.wrong(paths) == []


def test_a_trial_whose_model_went_meanwhile_ends_and_the_champion_stays(paths: Paths) -> None:
    on_trial(paths)
    trial = read_trial(paths)
    assert trial is not None
    (made,) = paths.models.glob("query-tower-*")
    (made / "part.json").unlink()
    learning.opened(paths, trial, "challenger")
    said = learning.night(paths)
    assert (live(paths), read_trial(paths)) == (1, None)
    assert "cannot be promoted" in said["trial"]
    assert past_trials(paths)[-1]["outcome"] == ""


def test_what_learned_from_somebody_erased_during_its_trial_is_not_promoted(paths: Paths) -> None:
    on_trial(paths)
    trial = read_trial(paths)
    assert trial is not None
    learning.opened(paths, trial, "challenger")
    erase(paths)
    said = learning.night(paths)
    assert live(paths) == 1
    assert "somebody it learned from was erased meanwhile" in said["trial"]


def test_one_person_alone_decides_nothing_and_what_somebody_stopped_does_not_begin_again(paths: Paths) -> None:
    on_trial(paths)
    trial = read_trial(paths)
    assert trial is not None
    learning.opened(paths, trial, "challenger", people=1)
    assert "40 of 40 answers are decided, by 1 users" in on_trial(paths)["reasons"][-1]
    trials.stop(paths, reason="too odd")
    said = on_trial(paths)
    assert (said["verdict"], read_trial(paths)) == ("no gain", None)
    assert "somebody stopped the trial of release 2" in said["reasons"][-1]


def test_nothing_unproven_is_shown_to_people_unless_params_say_so(paths: Paths) -> None:
    said = on_trial(paths, share=0)
    assert (said["verdict"], read_trial(paths)) == ("no gain", None)
    assert "`share: 0.2` under trial" in said["reasons"][-1]


def test_a_trial_that_somebody_began_is_left_alone(paths: Paths) -> None:
    on_trial(paths)
    trial = read_trial(paths)
    assert trial is not None
    write_json(trial_path(paths), asdict(replace(trial, answers=0)))
    learning.opened(paths, trial, "challenger")
    assert "release 2 is on trial" in on_trial(paths)["reasons"][-1]
    assert live(paths) == 1
