"""Watching: each figure on a real index and a real log; alarms where something is wrong, and only there."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragkeep.config import Paths
from ragkeep.errors import EmbedderMoved, ReleaseError
from ragkeep.files import read_json, write_json
from ragkeep.interactions import InteractionLog
from ragkeep.releases import require_champion, save_release
from ragkeep.testing import HashEmbedder
from ragkeep.types import Interaction
from ragkeep.vector_cache import VectorCache, cache_path
from ragkeep.watched import last_look, looks
from tasks import monitor
from tasks.portrait import SAMPLE, read_portrait
from tasks.usage import LEAST_ANSWERS, QUESTIONS, between, newest, releases
from tests.interaction_cases import a_click, a_vote
from tests.tasks.live import CAKES, HASHED, PUMPS, asked, log, move_embedder, moved, publish, sentences


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("live"), sentences(PUMPS, 260)).root


@pytest.fixture
def paths(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    shutil.copytree(published, tmp_path / "project")
    return Paths(tmp_path / "project")


def test_a_healthy_release_raises_no_alarm_and_leaves_a_line(paths: Paths) -> None:
    found = monitor.look(paths, HASHED)
    assert found["alarms"] == []
    assert (found["recall"]["value"], found["recall"]["asked"]) == (1.0, 50)
    assert found["embedder"]["state"] == "same"
    assert "too few" in found["questions"]["why"]
    assert "no earlier index" in found["documents"]["why"]
    assert last_look(paths) == found
    (line,) = looks(paths)
    assert line["recall_at_10"] == 1.0


def test_without_a_release_there_is_nothing_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    with pytest.raises(ReleaseError, match="ragkeep nightly"):
        monitor.look(Paths(tmp_path), HASHED)


def test_an_index_that_lost_chunks_is_an_alarm(paths: Paths) -> None:
    monitor.look(paths, HASHED)
    whole = paths.monitor / f"{require_champion(paths).index.name}.npz"
    publish(paths.root, sentences(PUMPS, 260)[:120], number=2)
    shutil.copy(whole, paths.monitor / f"{require_champion(paths).index.name}.npz")  # of what it should hold
    found = monitor.look(paths, HASHED)
    assert found["recall"]["value"] < 0.8
    assert "recall" in found["alarms"]


def test_the_portrait_outlives_the_data_it_was_drawn_from(paths: Paths) -> None:
    monitor.look(paths, HASHED)
    shutil.rmtree(paths.data)
    assert monitor.look(paths, HASHED)["recall"]["value"] == 1.0
    portrait = read_portrait(paths.monitor / f"{require_champion(paths).index.name}.npz")
    assert portrait
    assert len(portrait.sample) == 260 <= SAMPLE
    assert portrait.counts["source"] == {"docs": 260}


def test_an_index_from_before_watching_says_so(paths: Paths) -> None:
    assert "no night has looked at this index" in monitor.look(paths, HASHED, draw=False)["recall"]["why"]
    shutil.rmtree(paths.data)
    assert "no night has looked at this index" in monitor.look(paths, HASHED)["recall"]["why"]


def test_one_part_that_fails_costs_no_other(paths: Paths) -> None:
    (paths.monitor / "references.json").parent.mkdir()
    (paths.monitor / "references.json").write_text("{")
    found = monitor.look(paths, HASHED)
    assert "could not be looked at" in found["questions"]["why"]
    assert found["recall"]["value"] == 1.0


def test_questions_of_the_same_kind_are_no_drift(paths: Paths) -> None:
    log(paths, asked(sentences(PUMPS, 400, seed=2)))
    assert monitor.look(paths, HASHED)["questions"]["alarm"] is None  # kept as what later ones are held against
    log(paths, asked(sentences(PUMPS, 100, seed=3)))
    assert "100 new questions" in monitor.look(paths, HASHED)["questions"]["why"]
    log(paths, asked(sentences(PUMPS, 200, seed=4)))
    found = monitor.look(paths, HASHED)["questions"]
    assert (found["alarm"], found["now"], found["before"]) == (False, 300, 400)
    assert found["auc"] < 0.65


def test_questions_about_something_else_are_drift(paths: Paths) -> None:
    log(paths, asked(sentences(PUMPS, 400, seed=2)))
    monitor.look(paths, HASHED)
    log(paths, asked(sentences(CAKES, 300, seed=3)))
    found = monitor.look(paths, HASHED)
    assert found["alarms"] == ["questions"]
    assert {"told apart from before", "far from every document"} <= set(found["questions"]["reasons"])
    assert found["questions"]["auc"] > 0.9


def test_questions_are_embedded_in_the_words_they_are_searched_with(paths: Paths) -> None:
    live = require_champion(paths)
    words = dict(zip(CAKES.split(), PUMPS.split(), strict=True))
    retrieve = live.serving["retrieve"] | {"glossary": words}
    log(paths, asked(sentences(PUMPS, 300, seed=2)))
    monitor.look(paths, HASHED)
    save_release(paths, replace(live, serving=live.serving | {"retrieve": retrieve}))
    assert monitor.look(paths, HASHED)["questions"]["now"] == 0  # another glossary has a reference of its own
    log(paths, asked(sentences(CAKES, 300, seed=3)))
    found = monitor.look(paths, HASHED)["questions"]
    assert found["auc"] < 0.65
    assert "far from every document" not in found["reasons"]


def test_the_same_question_again_and_again_is_one_question(paths: Paths) -> None:
    log(paths, [*asked(sentences(PUMPS, 50)), *asked(["where is the lid?"] * 300)])
    assert len(newest(paths.interactions, 0).asked) == 51


def test_a_window_holds_the_newest_and_an_erased_user_is_in_none(paths: Paths) -> None:
    log(paths, [*asked(sentences(PUMPS, 300), user="old"), *asked(sentences(CAKES, 300), user="new")])
    window = newest(paths.interactions, 0)
    assert len(window.asked) == QUESTIONS
    assert (window.first, window.last) == (201, 600)
    assert between(paths.interactions, 201, 300).asked == window.asked[:100]
    with InteractionLog(paths.interactions) as writer:
        writer.erase("user", "new", workspace="default")
    assert between(paths.interactions, 201, 600).asked == window.asked[:100]


def test_documents_of_another_kind_are_drift_against_the_release_before(paths: Paths) -> None:
    monitor.look(paths, HASHED)
    publish(paths.root, sentences(CAKES, 260), number=2)
    found = monitor.look(paths, HASHED)["documents"]
    assert (found["alarm"], found["against"]) == (True, "1")
    assert found["auc"] > 0.9


def test_a_few_new_documents_are_no_drift(paths: Paths) -> None:
    monitor.look(paths, HASHED)
    publish(paths.root, [*sentences(PUMPS, 260), *sentences(CAKES, 10)], number=2)
    found = monitor.look(paths, HASHED)["documents"]
    assert found["alarm"] is False
    assert found["auc"] < 0.6


def test_documents_of_a_refused_night_are_held_against_what_is_live(paths: Paths) -> None:
    first = require_champion(paths)
    monitor.look(paths, HASHED)
    publish(paths.root, sentences(CAKES, 260), number=2)
    write_json(paths.releases / "champion.json", {"number": first.number, "previous": None, "token": 9})
    found = monitor.look(paths, HASHED)["documents"]
    assert (found["alarm"], found["against"]) == (True, "1")


def test_a_moved_embedder_is_told_and_another_one_stops_the_night(paths: Paths) -> None:
    monitor.require_same_embedder(paths, HASHED)
    move_embedder(paths, 0.003)
    monitor.require_same_embedder(paths, HASHED)
    assert monitor.look(paths, HASHED)["alarms"] == ["embedder"]
    move_embedder(paths, 0.3)
    with pytest.raises(EmbedderMoved, match=r"index of release 1 does not fit.*--accept-embedder"):
        monitor.require_same_embedder(paths, HASHED)


def test_an_embedder_that_is_accepted_embeds_everything_anew(paths: Paths) -> None:
    monitor.require_same_embedder(paths, HASHED)
    move_embedder(paths, 0.3)
    write_json(paths.state / "night.json", {})
    assert monitor.accept_embedder(paths, HASHED) == HashEmbedder().fingerprint
    monitor.require_same_embedder(paths, HASHED)
    assert not list((paths.data / "vectors").iterdir())
    assert not list(paths.cache.glob("vectors-*"))
    assert read_json(paths.state / "night.json") is None


class Learned(HashEmbedder):
    """Passages as ever; questions by what was learned for them."""

    query_fingerprint = "learned for hash"


def test_an_embedder_that_is_accepted_embeds_questions_anew_too(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "embedder_of", lambda *_: Learned())
    for who in (Learned().fingerprint, Learned.query_fingerprint, "another"):
        VectorCache(paths.cache, who, Learned().dim).close()
    monitor.accept_embedder(paths, HASHED)
    assert list(paths.cache.glob("vectors-*.sqlite")) == [cache_path(paths.cache, "another", Learned().dim)]


def voted(release: str, answers: int, down: int, trial: dict[str, Any] | None = None) -> list[Interaction]:
    given = asked(sentences(PUMPS, answers, seed=int(release)), release)
    given = [replace(one, payload={**one.payload, "trial": trial}) for one in given]
    return [*given, *(a_vote(one.answer, -1, workspace="default") for one in given[:down])]


def test_shares_are_told_by_release_newest_first(paths: Paths) -> None:
    given = asked(["a", "b", "c", "d"])
    last_word = a_vote(given[0].answer, 1, workspace="default")
    clicks = [a_click(one.answer, workspace="default") for one in (given[1], given[1], given[2])]
    log(paths, [*given, *(a_vote(one.answer, -1, workspace="default") for one in given[:2]), last_word, *clicks])
    log(paths, [*asked(["e"], "2", uris=()), replace(a_vote("gone"), workspace="default")])
    newer, older = releases(paths, "2")["rows"]
    assert (newer["release"], newer["answers"], newer["abstained"][0]) == ("2", 1, 1.0)
    assert (older["answers"], older["down"][0], older["clicked"][0], older["abstained"][0]) == (4, 0.25, 0.5, 0.0)


@pytest.mark.parametrize(("down", "alarm"), [((6, 9), False), ((6, 40), True), ((40, 6), False)])
def test_more_bad_votes_than_before_are_an_alarm_beyond_chance(paths: Paths, down: tuple[int, int], alarm: bool) -> None:
    log(paths, [*voted("1", 200, down[0]), *voted("2", 200, down[1])])
    moved(paths, 1, 2)
    found = releases(paths, "2")
    assert (found["before"], found["alarm"]) == ("1", alarm)


def test_few_answers_are_too_few_to_tell(paths: Paths) -> None:
    log(paths, [*voted("1", 200, 0), *voted("2", LEAST_ANSWERS - 1, 99)])
    moved(paths, 1, 2)
    found = releases(paths, "2")
    assert found["alarm"] is None
    assert "99 answers of at least 100" in found["why"]


SPLIT = {"id": "7-3", "mode": "split", "side": "challenger"}
MIXED = {"id": "7-3", "mode": "interleave", "challenger": "3", "index": "i", "teams": ["champion", "challenger"]}


def test_what_was_said_on_trial_speaks_for_neither_release_nor_for_what_is_asked(paths: Paths) -> None:
    log(paths, voted("2", 150, 3, SPLIT | {"side": "champion"}))
    mixed = [replace(one, release="2") for one in voted("4", 10, 10, MIXED)]
    log(paths, [*voted("3", 150, 75, SPLIT), *mixed])
    found = releases(paths, "2")
    assert [(row["release"], row["answers"], row["down"][0]) for row in found["rows"]] == [("2", 150, 0.02)]
    assert len(newest(paths.interactions, 0).asked) == 150


def test_the_release_before_is_the_one_whose_place_was_taken(paths: Paths) -> None:
    log(paths, [*voted("1", 200, 60), *voted("3", 200, 6), *voted("2", 200, 40)])  # 3 answered while it was tried
    for before, to in ((1, 2), (2, 3)):
        moved(paths, before, to)
    found = releases(paths, "3")
    assert (found["before"], found["alarm"]) == ("2", False)
    moved(paths, 3, 1)  # taken back
    assert (releases(paths, "1")["before"], releases(paths, "1")["alarm"]) == ("3", True)
