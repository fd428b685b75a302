"""Fusion: properties that hold for any two legs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkeep.fusion import WEIGHTS, fuse, ranking, tune_weight, weight_curve
from ragkeep.types import Fusion, Legs

SCORE = st.floats(-1, 1, width=32)
BM25 = st.one_of(st.just(0.0), st.floats(0.125, 30, width=32))
ROWS = st.lists(st.tuples(SCORE, BM25), min_size=1, max_size=30)
METHODS = st.sampled_from(["convex", "rrf"])


def legs(rows: list[tuple[float, float]]) -> Legs:
    ids = tuple(f"{n:03}" for n in range(len(rows)))
    return Legs(ids, np.array([v for v, _ in rows], np.float32), np.array([k for _, k in rows], np.float32))


@given(ROWS, METHODS)
def test_at_either_end_the_order_is_that_leg_alone(rows: list[tuple[float, float]], method: str) -> None:
    both = legs(rows)
    for weight, leg in ((1.0, both.vector), (0.0, both.keyword)):
        fused = fuse(both, Fusion(method, weight))  # type: ignore[arg-type]
        for better, worse in zip(order := ranking(leg, len(leg)), order[1:], strict=False):
            assert fused[better] >= fused[worse]


@given(ROWS, METHODS, st.sampled_from(WEIGHTS))
def test_better_in_both_legs_is_never_ranked_lower(rows: list[tuple[float, float]], method: str, weight: float) -> None:
    both = legs(rows)
    fused = fuse(both, Fusion(method, weight))  # type: ignore[arg-type]
    for i in range(len(rows)):
        for j in range(len(rows)):
            if both.vector[i] > both.vector[j] and both.keyword[i] > both.keyword[j]:
                assert fused[i] >= fused[j]


@given(ROWS, st.floats(0.5, 4), st.sampled_from(WEIGHTS))
def test_the_scale_of_bm25_does_not_matter(rows: list[tuple[float, float]], scale: float, weight: float) -> None:
    both = legs(rows)
    scaled = Legs(both.ids, both.vector, (both.keyword * np.float32(scale)).astype(np.float32))
    want = fuse(both, Fusion("convex", weight))
    assert fuse(scaled, Fusion("convex", weight)) == pytest.approx(want, abs=1e-4)


def test_the_only_chunk_with_the_word_comes_first_whatever_the_embedder_prefers() -> None:
    lookup = legs([(0.31 - n / 100, 0.0) for n in range(20)] + [(0.05, 4.2)])
    assert ranking(fuse(lookup, Fusion("convex", 0.8)), 3).tolist() == [20, 0, 1]


def test_words_that_many_chunks_hold_leave_the_weight_alone() -> None:
    common = legs([(0.5 - n / 50, 4.0 - n / 100) for n in range(20)] + [(0.1, 4.2)])
    assert ranking(fuse(common, Fusion("convex", 0.8)), 1).tolist() == [0]


@given(st.lists(SCORE, max_size=50), st.integers(0, 60))
def test_ranking_is_a_stable_sort_cut_at_k(scores: list[float], k: int) -> None:
    want = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert ranking(np.array(scores, np.float32), k).tolist() == want


def some_questions(n: int, seed: int) -> tuple[list[Legs], list[dict[str, float]]]:
    random = np.random.default_rng(seed)
    found = [legs(list(zip(random.random(20), random.random(20) * 9, strict=True))) for _ in range(n)]
    return found, [{f"{random.integers(25):03}": 1.0} for _ in range(n)]


@given(st.integers(1, 8), st.integers(0, 1000), METHODS)
def test_a_tuned_hybrid_is_never_below_a_leg_on_the_tuning_questions(n: int, seed: int, method: str) -> None:
    found, relevant = some_questions(n, seed)
    curve = weight_curve(found, relevant, method=method)
    tuned = curve[WEIGHTS.index(tune_weight(found, relevant, method=method))]
    assert tuned >= max(curve[0], curve[-1]) - 1e-9


def test_a_leg_that_is_always_right_gets_all_the_weight_it_needs() -> None:
    right = legs([(0.9, 0.0), (0.1, 9.0), (0.0, 8.0)])
    assert tune_weight([right], [{"000": 1.0}]) > 0.5
    assert tune_weight([right], [{"001": 1.0}]) < 0.5


def test_without_dev_questions_the_default_weight_stands() -> None:
    assert tune_weight([], []) == Fusion().weight


def test_a_tie_goes_to_the_middle_of_the_plateau() -> None:
    assert tune_weight([legs([(0.9, 9.0), (0.1, 1.0)])], [{"000": 1.0}]) == 0.5


def test_what_neither_leg_found_counts_as_missed() -> None:
    curve = weight_curve([legs([(0.9, 9.0)])], [{"999": 1.0}])
    assert curve.tolist() == [0.0] * len(WEIGHTS)
