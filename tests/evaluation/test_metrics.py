import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import covers, earned_at, first_rank, score_earned, score_run

Place = tuple[str, int, int]
LABEL = ("a.py", 100, 200)
OTHER = ("z.py", 0, 50)


def score(ranking: list[Place], *groups: tuple[Place, ...]) -> dict[str, float]:
    earned = earned_at(ranking, groups)
    return score_earned({"q": earned}, {"q": len(groups)})["q"]


@pytest.mark.parametrize(
    ("hit", "shown"),
    [
        (("a.py", 0, 1000), True),  # a large chunk around a short function
        (("a.py", 150, 160), True),  # a piece of a long class
        (("a.py", 0, 150), True),  # half of the label
        (("a.py", 0, 149), False),
        (("a.py", 160, 250), False),  # 40 of 100 and of 90
        (("a.py", 200, 300), False),
        (("b.py", 100, 200), False),
    ],
)
def test_a_hit_shows_a_label_when_they_share_half_of_either(hit: Place, shown: bool) -> None:
    assert covers(hit, LABEL) is shown


def test_a_first_rank_hit_is_perfect_and_a_miss_is_zero() -> None:
    assert set(score([LABEL], (LABEL,)).values()) == {1.0}
    assert set(score([OTHER] * 10, (LABEL,)).values()) == {0.0}


def test_at_rank_three_the_gain_is_discounted() -> None:
    found = score([OTHER, OTHER, LABEL], (LABEL,))
    assert found["ndcg_at_10"] == pytest.approx(1 / math.log2(4))
    assert found["rr"] == pytest.approx(1 / 3)
    assert (found["recall_at_1"], found["recall_at_5"]) == (0, 1)


def test_any_alternative_will_do_and_earns_once() -> None:
    again = ("b.py", 0, 10)
    assert earned_at([again, LABEL, OTHER], [(LABEL, again)]) == [[0], [], []]
    assert score([again, LABEL], (LABEL, again)) == score([again, OTHER], (LABEL, again))


def test_several_needed_pieces_are_all_counted() -> None:
    second = ("b.py", 0, 10)
    assert score([LABEL], (LABEL,), (second,))["recall_at_10"] == 0.5
    assert score([LABEL, second], (LABEL,), (second,))["ndcg_at_10"] == 1.0


def test_a_chunk_with_two_pieces_scores_as_its_two_halves_side_by_side() -> None:
    one, two = ("a.py", 0, 10), ("a.py", 10, 20)
    assert score([("a.py", 0, 20)], (one,), (two,)) == score([one, two], (one,), (two,))


def test_a_question_without_ranking_or_place_scores_zero() -> None:
    found = score_earned({"b": [[]]}, {"a": 1, "b": 0})
    assert {q: s["ndcg_at_10"] for q, s in found.items()} == {"a": 0.0, "b": 0.0}


def test_the_first_rank_is_that_of_the_first_gain() -> None:
    assert first_rank([[], [], [0]]) == 3
    assert first_rank([[], []]) is None


def test_graded_judgments_use_linear_gains() -> None:
    found = score_run({"q": {"a": 2, "b": 1}}, {"q": ["b", "a"]})["q"]["ndcg_at_10"]
    assert found == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))


def test_queries_without_judgments_are_left_out() -> None:
    assert list(score_run({"q": {"a": 1}}, {"q": ["a"], "x": ["a"]})) == ["q"]


places = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 40), st.integers(1, 20)).map(
    lambda p: (p[0], p[1], p[1] + p[2])
)
rankings = st.lists(places, min_size=2, max_size=10)
groups = st.lists(st.tuples(places), min_size=1, max_size=3)


@given(rankings, groups)
def test_scores_lie_between_zero_and_one(ranking: list[Place], labels: list[tuple[Place]]) -> None:
    assert all(0 <= value <= 1 + 1e-9 for value in score(ranking, *labels).values())


@given(rankings, groups, st.data())
def test_moving_a_relevant_hit_up_never_lowers_a_score(
    ranking: list[Place], labels: list[tuple[Place]], data: st.DataObject
) -> None:
    relevant = [n for n, new in enumerate(earned_at(ranking, labels)) if new and n]
    if not relevant:
        return
    at = data.draw(st.sampled_from(relevant))
    moved = ranking.copy()
    moved[at - 1], moved[at] = ranking[at], ranking[at - 1]
    before, after = score(ranking, *labels), score(moved, *labels)
    assert all(after[name] >= before[name] - 1e-9 for name in before)


@given(rankings, groups, st.integers(1, 30), st.data())
def test_how_useless_text_is_cut_changes_nothing(
    ranking: list[Place], labels: list[tuple[Place]], size: int, data: st.DataObject
) -> None:
    useless = ("useless", 0, size)
    part = data.draw(
        st.tuples(st.integers(0, size - 1), st.integers(1, size)).map(lambda p: ("useless", p[0], p[0] + p[1]))
    )
    at = data.draw(st.integers(0, len(ranking)))
    assert score([*ranking[:at], useless, *ranking[at:]], *labels) == score([*ranking[:at], part, *ranking[at:]], *labels)
