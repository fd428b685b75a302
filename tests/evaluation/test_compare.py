import math

import numpy as np
import pytest

from evaluation.compare import bca, compare, permutation_p


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_interval_is_that_of_scipy(seed: int) -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(seed).exponential(size=60)
    theirs = bootstrap((values,), np.mean, n_resamples=20_000, batch=1000, random_state=seed).confidence_interval
    assert bca(values, resamples=20_000) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert bca([0.25] * 40) == (0.25, 0.25)
    assert bca([0.5]) == (0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [0.5, math.inf]])
def test_what_is_no_number_has_no_interval(values: list[float]) -> None:
    assert all(math.isnan(x) for x in bca(values))


def test_one_outlier_among_zeros_does_not_break_the_interval() -> None:
    low, high = bca([0.0] * 99 + [1.0])
    assert 0 <= low < 0.01 < high < 0.2


def test_a_pair_of_systems_is_compared_question_by_question() -> None:
    found = compare([0.0, 0.5, 1.0] * 30, [0.1, 0.6, 1.0] * 30)
    assert found.delta == pytest.approx(0.2 / 3)
    assert 0 < found.ci[0] < found.delta < found.ci[1]
    assert found.p < 0.001
    assert found.n == 90


def test_the_same_seed_gives_the_same_numbers() -> None:
    values = np.random.default_rng(5).random(50)
    assert bca(values) == bca(values)
    assert bca(values) != bca(values, seed=8)


def test_p_is_that_of_scipys_sign_flip_test() -> None:
    from scipy.stats import permutation_test

    d = np.random.default_rng(4).normal(0.15, 1, 80)
    theirs = permutation_test((d,), np.mean, permutation_type="samples", n_resamples=20_000, random_state=1)
    assert permutation_p(d, resamples=20_000) == pytest.approx(theirs.pvalue, abs=0.02)


def test_no_difference_has_p_one() -> None:
    assert permutation_p(np.zeros(10)) == 1.0


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        compare([1.0], [1.0, 2.0])
