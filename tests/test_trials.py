"""Trials: the file, who is on which side, and that a winner is named when there is one and not otherwise."""

import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ragkeep.config import Paths
from ragkeep.errors import LeaseLost, ReleaseError
from ragkeep.interactions import InteractionLog, shadowed
from ragkeep.interleave import team_draft
from ragkeep.trial_report import report_trial, trial_state
from ragkeep.trial_stats import effective, newcombe, overlap, rbo, wilson
from ragkeep.trials import Trial, TrialMode, begin_trial, end_trial, latest_trial, on_trial, past_trials, read_trial
from ragkeep.types import Interaction
from tasks.history import build
from tests.interaction_cases import a_click, a_vote, an_answer, hit


def trial(mode: TrialMode = "split", **more: object) -> Trial:
    row = asdict(Trial("7-3", 7, 6, mode, 0.5, "user", "2026-11-21T00:00:00+00:00", "", 0, 3, "ann", "why"))
    return Trial(**{**row, **more})


# --- the file ---------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_and_kept_when_it_is_over(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    begin_trial(paths, trial())
    assert (read_trial(paths), on_trial(paths)) == (trial(), 7)
    for _ in range(2):  # as when it was killed in between
        end_trial(paths, why="promoted", at="2026-11-22")
    assert (read_trial(paths), on_trial(paths)) == (None, None)
    assert [(row["id"], row["why"]) for row in past_trials(paths)] == [("7-3", "promoted")]
    assert latest_trial(paths) == (trial(), {"ended_at": "2026-11-22", "why": "promoted", "outcome": "", "before": 0})


def test_a_torn_line_of_those_that_are_over_stops_nobody(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    begin_trial(paths, trial())
    (paths.releases / "trials.jsonl").write_text('{"id": "6-')
    end_trial(paths, why="promoted", at="2026-11-22")
    assert [row["id"] for row in past_trials(paths)] == ["7-3"]


def test_a_later_run_has_the_last_word(tmp_path: Path) -> None:
    begin_trial(Paths(tmp_path), trial(token=4))
    with pytest.raises(LeaseLost, match="a later run"):
        begin_trial(Paths(tmp_path), trial(token=3))


@pytest.mark.parametrize("damage", ["{", "[]", '{"id": "7-3"}', '{"id": "\xff', "null0"])
def test_a_damaged_file_is_said_with_the_next_step(tmp_path: Path, damage: str) -> None:
    paths = Paths(tmp_path)
    begin_trial(paths, trial())
    (paths.releases / "challenger.json").write_bytes(damage.encode("latin-1"))
    with pytest.raises(ReleaseError, match=r"champion answers alone; `ragkeep releases trial stop`"):
        read_trial(paths)
    assert on_trial(paths) is None
    assert end_trial(paths, why="damaged", at="2026-11-22") is None
    assert read_trial(paths) is None


@pytest.mark.parametrize("odd", [{"mode": "loud"}, {"share": 0.0}, {"share": 1.5}, {"number": 6}, {"until": "soon"}])
def test_odd_values_are_refused(odd: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"mode|share|champion|isoformat"):
        trial(**odd)


def test_it_is_over_at_its_time() -> None:
    ends = trial(until="2026-12-01")
    assert not ends.over(datetime(2026, 11, 30, 23, 59, tzinfo=UTC))
    assert ends.over(datetime(2026, 12, 1, tzinfo=UTC))


def test_a_person_stays_on_one_side_and_another_trial_draws_anew() -> None:
    one, other = trial(share=0.2), trial(id="7-4", share=0.2)
    users = [f"user-{n}" for n in range(4000)]
    first, second = ({user for user in users if t.takes(user)} for t in (one, other))
    assert first == {user for user in users if one.takes(user)}
    assert 700 < len(first) < 900
    assert 90 < len(first & second) < 230  # as chance has it: 160
    assert {user for user in users if trial(share=0.1).takes(user)} < first  # a share that grows moves nobody back


# --- intervals --------------------------------------------------------------------------------------------------------


def test_newcombes_own_example() -> None:
    assert newcombe(9 / 10, 10, 3 / 10, 10) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert newcombe(0, 10, 0, 20) == pytest.approx((-0.1611, 0.2775), abs=1e-4)


def test_wilson_gives_published_intervals() -> None:  # Newcombe 1998, table I
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=5e-5)
    assert wilson(1, 10) == pytest.approx((0.7225, 1), abs=5e-5)
    assert wilson(0, 0) == (0, 1)


def test_answers_of_one_person_count_less_than_those_of_many() -> None:
    import numpy as np

    alike = effective(np.array([10.0, 0.0, 10.0, 0.0]), np.full(4, 10.0))
    spread = effective(np.array([5.0, 5.0, 5.0, 5.0]), np.full(4, 10.0))
    assert alike < 5
    assert spread == 40


def test_rank_biased_overlap_of_known_rankings() -> None:
    assert rbo("abcdefg", "abcdefg") == 1
    assert rbo("abc", "xyz") == 0
    assert rbo("ab", "ba") == pytest.approx(0.9)  # p: nothing in common at rank 1, all at rank 2
    assert rbo("", "") == 1
    assert rbo("", "a") == 0
    assert rbo("abc", "abcde") == rbo("abcde", "abc") > 0.9
    assert (overlap("abcdef", "fedcba"), overlap("", "")) == (pytest.approx(4 / 5), 1)


# --- who won ----------------------------------------------------------------------------------------------------------


def clicks(draw: random.Random, *, better: float, answers: int = 120, users: int = 30) -> Iterator[Interaction]:
    """Interleaved answers to simulated people, who open the right source with .6 and others with .1.

    Both sides rank a right source anywhere among five; the challenger has it first with probability `better` besides.
    """
    for _ in range(answers):
        answer, user = f"sim-{draw.getrandbits(64)}", f"sim:user-{draw.randrange(users)}"
        ours, theirs = (draw.sample("gabcd", 5) for _ in range(2))
        if draw.random() < better:
            theirs = ["g", *(one for one in theirs if one != "g")]
        mixed = team_draft(ours, theirs, k=5, seed=answer)
        part = {"id": "7-3", "mode": "interleave", "challenger": "7", "index": "i", "teams": [t for _, t in mixed]}
        yield an_answer(answer, uris=tuple(one for one, _ in mixed), user=user, trial=part)
        for rank, (one, _) in enumerate(mixed, 1):
            if draw.random() < rank**-0.7 and draw.random() < (0.6 if one == "g" else 0.1):
                yield replace(a_click(answer, one, user=user), payload={"rank": rank, "chunk": f"c-{one}", "uri": one})


def votes(draw: random.Random, *, worse: float, answers: int = 300, users: int = 60) -> Iterator[Interaction]:
    """A split: people, some of whom are never content, vote an answer in ten down, the challenger's more often."""
    moods = [draw.choice([0.02, 0.1, 0.2]) for _ in range(users)]
    for _ in range(answers):
        answer, who = f"sim-{draw.getrandbits(64)}", draw.randrange(users)
        side = "challenger" if trial().takes(f"sim:user-{who}") else "champion"
        part = {"id": "7-3", "mode": "split", "side": side}
        user = f"sim:user-{who}"
        timings = {"total": draw.uniform(50, 150)}
        yield an_answer(answer, user=user, trial=part, timings_ms=timings)
        if draw.random() < moods[who] + (worse if side == "challenger" else 0):
            yield a_vote(answer, -1, user=user)


def test_the_same_quality_wins_in_at_most_one_of_twenty_interleaved_trials() -> None:
    won = [
        report_trial(trial("interleave"), clicks(random.Random(seed), better=0))["winner"] != "neither"
        for seed in range(100)
    ]
    assert sum(won) <= 5


def test_a_better_ranking_wins_by_clicks_and_a_worse_one_loses() -> None:
    found = report_trial(trial("interleave"), clicks(random.Random(1), better=0.6))
    [row] = found["measures"]
    assert found["winner"] == "challenger"
    assert 0 < row["lo"] < row["difference"] < row["hi"] < 0.5
    assert found["counts"]["wins"] > found["counts"]["losses"]
    assert "SIMULATED" in found["says"]
    swapped = [_swapped(record) for record in clicks(random.Random(1), better=0.6)]
    assert report_trial(trial("interleave"), swapped)["winner"] == "champion"


def _swapped(record: Interaction) -> Interaction:
    part = record.payload.get("trial")
    if not part:
        return record
    other = {"champion": "challenger", "challenger": "champion", "": ""}
    teams = [other[team] for team in part["teams"]]
    return replace(record, payload={**record.payload, "trial": {**part, "teams": teams}})


def test_the_same_release_wins_in_at_most_one_of_twenty_splits() -> None:
    found = [report_trial(trial(), votes(random.Random(seed), worse=0)) for seed in range(100)]
    assert sum(one["winner"] != "neither" for one in found) <= 5


def test_a_release_that_people_vote_down_loses_the_split() -> None:
    found = report_trial(trial(), votes(random.Random(3), worse=0.4))
    rows = {row["measure"]: row for row in found["measures"]}
    assert found["winner"] == "champion"
    assert rows["thumbs_down"]["lo"] > 0
    assert rows["latency_ms"]["lo"] < 0 < rows["latency_ms"]["hi"]
    assert rows["abstained"]["n"] == found["answers"] == 300


@pytest.mark.parametrize("mode", ["split", "interleave", "shadow"])
def test_too_few_answers_say_so(mode: TrialMode) -> None:
    draw = random.Random(1)
    records = votes(draw, worse=0.5, answers=20) if mode == "split" else clicks(draw, better=1, answers=10)
    found = report_trial(trial(mode), records)
    assert (found["winner"], "too few" in found["says"]) == ("too few", True)


def test_only_whoever_asked_decides_and_their_last_word_counts() -> None:
    part = {"id": "7-3", "mode": "split", "side": "challenger"}
    records = [
        an_answer("a1", trial=part), a_vote("a1", -1, user="somebody-else"), a_vote("a1", -1), a_vote("a1", 1),
    ]  # fmt: skip
    rows = {row["measure"]: row for row in report_trial(trial(), records)["measures"]}
    assert (rows["thumbs_down"]["challenger"], rows["thumbs_up"]["challenger"]) == (0, 1)


def test_an_answer_that_fell_back_stays_on_its_side() -> None:
    part = {"id": "7-3", "mode": "split", "side": "challenger"}
    found = report_trial(trial(), [replace(an_answer("a1", trial=part), release="6")])
    assert (found["fell_back"], found["sides"]["challenger"]["answers"]) == (1, 1)


def shadow(answer: str, uris: str, *, abstained: bool | None = False) -> Interaction:
    about = {"workspace": "docs", "user": "u1", "session": "s1"}
    hits = [hit(uri) for uri in uris]
    return shadowed(answer, hits, trial="7-3", release="7", abstained=abstained, timings_ms={"retrieve": 4.0}, **about)


def test_a_shadow_says_how_it_differs_and_names_no_winner() -> None:
    records = []
    for n in range(40):
        records.append(an_answer(f"a{n}", uris=("a", "b"), timings_ms={"retrieve": 3.0}))
        records.append(shadow(f"a{n}", "ab" if n % 2 else "ax", abstained=n % 4 == 0))
    found = report_trial(trial("shadow"), records)
    rows = {row["measure"]: row for row in found["measures"]}
    assert found["winner"] == ""
    assert rows["overlap@5"]["difference"] == pytest.approx(0.75)
    assert rows["search_ms"]["difference"] == pytest.approx(1.0)
    assert found["abstention_disagrees"] == {"only champion": 0, "only challenger": 10}


def test_what_ran_in_the_shadow_teaches_nothing_and_mixed_sources_teach_by_the_rank_they_had() -> None:
    mixed = {"id": "7-3", "mode": "interleave", "challenger": "7", "index": "i", "teams": ["challenger", "champion"]}
    records = [an_answer("a1", uris=("x", "y"), trial=mixed), shadow("a1", "zw"), a_click("a1", "x")]
    history = build(replace(record, seq=n) for n, record in enumerate(records, 1))
    assert [place.chunk for place in history.places] == ["c-x", "c-y"]
    assert dict(history.kinds) == {"answer": 1, "click": 1}
    [[act]] = history.acts.values()
    assert (act.rank, history.places[act.place].chunk) == (1, "c-x")


def test_the_report_is_read_from_the_log_of_the_trial_that_runs_or_ended(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    assert trial_state(paths) == {"trial": None}
    begin_trial(paths, trial())
    with InteractionLog(paths.interactions) as log:
        log.append(an_answer("a1", trial={"id": "7-3", "mode": "split", "side": "champion"}))
        log.append(an_answer("a2", trial={"id": "6-2", "mode": "split", "side": "champion"}))
    assert (trial_state(paths)["running"], trial_state(paths)["answers"]) == (True, 1)
    end_trial(paths, why="enough", at="2026-11-22")
    found = trial_state(paths)
    assert (found["running"], found["why"], found["answers"], "before" in found) == (False, "enough", 1, False)
    with InteractionLog(paths.interactions) as log:
        assert log.append(an_answer("a3", trial={"id": "7-3", "mode": "split", "side": "champion"})) == 3
    assert trial_state(paths)["answers"] == 1  # what came after its end is not even read


def test_a_log_from_before_there_were_trials_is_read() -> None:
    old = an_answer("a1")
    payload = {key: value for key, value in old.payload.items() if key != "trial"}
    assert report_trial(trial(), [replace(old, payload=payload)])["answers"] == 0


@pytest.mark.parametrize(
    "odd", [{"id": "7-3", "mode": "loud"}, {"id": "7-3", "mode": "split"}, {"id": "7", "mode": "interleave", "teams": []}]
)
def test_a_record_with_an_odd_part_in_a_trial_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"answer: trial"):
        an_answer("a1", trial=odd)
