"""Drift: quiet where nothing drifts, loud where something does, silent where there is too little to tell."""

from collections import Counter

import numpy as np
import pytest

from evaluation.drift import FAR_ALARM, LEAST, PSI_ALARM, far, psi, told_apart
from ragkeep.types import Vectors

SIZE = 300


def cloud(seed: int, *, shift: float = 0.0, size: int = SIZE, dim: int = 64) -> Vectors:
    """Unit vectors, some of whose directions matter more than others, moved along one by `shift` of their spread."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(size, dim)) / np.sqrt(1 + np.arange(dim))
    rows[:, 3] += shift * rows[:, 3].std()
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_two_samples_of_one_kind_are_not_told_apart() -> None:
    found = [told_apart(cloud(2 * n), cloud(2 * n + 1)) for n in range(50)]
    assert not any(one and one.alarm for one in found)
    assert sum(one.p < 0.05 for one in found if one) <= 6  # of 50; p is never too small


def test_a_shift_of_one_direction_is_found() -> None:
    found = told_apart(cloud(1), cloud(2, shift=1.5))
    assert found
    assert found.alarm
    assert found.auc > 0.75


def test_a_small_shift_is_no_alarm_however_many_there_are() -> None:
    found = told_apart(cloud(1, size=6000), cloud(2, size=6000, shift=0.2))
    assert found
    assert found.p < 0.01
    assert not found.alarm


def test_what_is_in_both_samples_speaks_for_no_difference() -> None:
    same, other = told_apart(cloud(1), cloud(1)[::-1]), cloud(2, shift=1.5)
    assert same
    assert same.auc == 0.5
    mixed = told_apart(cloud(1), np.vstack([cloud(1)[: SIZE // 2], other[: SIZE // 2]]))
    assert mixed
    assert 0.5 < mixed.auc < 0.75


def test_equal_vectors_tell_nothing() -> None:
    same = np.tile(cloud(1, size=1), (SIZE, 1))
    found = told_apart(same, same)
    assert found
    assert found.auc == pytest.approx(0.5)


def test_a_small_sample_says_that_it_cannot_tell() -> None:
    few, many = np.zeros(LEAST - 1), np.zeros(LEAST)
    assert told_apart(cloud(1, size=LEAST - 1), cloud(2, shift=5)) is None
    assert far(few, many) is None
    assert far(many, few) is None
    assert psi({"a": LEAST - 1}, {"b": LEAST}) is None


def test_questions_far_from_all_documents_are_an_alarm_only_where_they_are_many() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(0.6, 0.1, 400)
    usual, away = far(before, rng.normal(0.6, 0.1, 400)), far(before, rng.normal(0.45, 0.1, 400))
    assert usual
    assert away
    assert usual[1] < FAR_ALARM < away[1]
    assert usual[1] < usual[0] < usual[2]


def test_psi_of_equal_counts_is_nothing_and_of_new_names_an_alarm() -> None:
    before = Counter({"handbook": 300, "wiki": 100})
    assert psi(before, before) == pytest.approx(0)
    assert (psi(before, Counter({"handbook": 290, "wiki": 110})) or 0) < 0.01
    assert (psi(before, Counter({"handbook": 100, "forum": 300})) or 0) > PSI_ALARM


def test_psi_counts_many_rare_names_as_one() -> None:
    before, now = Counter(range(500)), Counter(range(250, 750))
    assert (psi({str(k): v for k, v in before.items()}, {str(k): v for k, v in now.items()}) or 0) < PSI_ALARM


def test_psi_by_chance_stays_below_the_alarm() -> None:
    rng = np.random.default_rng(3)
    draws = [[Counter(map(str, rng.integers(0, 10, LEAST))) for _ in range(2)] for _ in range(200)]
    assert sum((psi(*pair) or 0) >= PSI_ALARM for pair in draws) <= 2
