"""Team-draft interleaving: the union in order, fair to both sides, and nothing said where they agree."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ragkeep.interleave import team_draft

RANKINGS = st.lists(st.sampled_from([f"c{n}" for n in range(12)]), unique=True, max_size=10)


@given(RANKINGS, RANKINGS, st.integers(1, 12), st.text(max_size=5))
def test_it_shows_the_union_each_side_in_its_own_order(ours: list[str], theirs: list[str], k: int, seed: str) -> None:
    mixed = team_draft(ours, theirs, k=k, seed=seed)
    shown = [one for one, _ in mixed]
    assert len(shown) == len(set(shown)) == min(k, len({*ours, *theirs}))
    assert set(shown) <= {*ours, *theirs}
    for team, ranking in (("champion", ours), ("challenger", theirs)):
        chosen = [one for one, by in mixed if by == team]
        assert chosen == sorted(chosen, key=ranking.index)


@given(RANKINGS, RANKINGS, st.text(max_size=5))
def test_a_side_chooses_its_best_that_is_still_free(ours: list[str], theirs: list[str], seed: str) -> None:
    taken = set[str]()
    for one, team in team_draft(ours, theirs, k=20, seed=seed):
        if team:
            ranking = ours if team == "champion" else theirs
            assert one == next(best for best in ranking if best not in taken)
        taken.add(one)


@given(RANKINGS, RANKINGS, st.integers(1, 12), st.text(max_size=5))
def test_no_side_is_ever_more_than_one_ahead(ours: list[str], theirs: list[str], k: int, seed: str) -> None:
    ahead = 0
    for _, team in team_draft(ours, theirs, k=k, seed=seed):
        ahead += (team == "champion") - (team == "challenger")
        assert abs(ahead) <= 1


@given(RANKINGS, st.integers(1, 12), st.text(max_size=5))
def test_where_both_agree_no_side_is_named(ranking: list[str], k: int, seed: str) -> None:
    assert team_draft(ranking, ranking, k=k, seed=seed) == [(one, "") for one in ranking[:k]]


def test_what_both_begin_with_belongs_to_nobody_and_the_rest_is_drafted() -> None:
    mixed = team_draft(["a", "b", "c"], ["a", "x", "y"], k=3, seed="s")
    assert mixed[0] == ("a", "")
    assert {team for _, team in mixed[1:]} == {"champion", "challenger"}


def test_both_sides_are_first_equally_often() -> None:
    firsts = Counter(team_draft(["a", "b"], ["x", "y"], k=4, seed=f"answer-{n}")[0] for n in range(4000))
    assert set(firsts) == {("a", "champion"), ("x", "challenger")}
    assert 1880 < firsts["a", "champion"] < 2120  # 3.8 standard deviations to each side


def test_when_one_side_has_no_more_the_others_rest_follows_of_no_side() -> None:
    mixed = team_draft(["a"], ["x", "y", "z"], k=4, seed="s")
    assert len(mixed) == 4
    assert [team for _, team in mixed[-2:]] == ["", ""]


def test_the_same_seed_draws_the_same() -> None:
    drawn = {tuple(team_draft("abcd", "wxyz", k=8, seed="one")) for _ in range(3)}
    assert len(drawn) == 1
