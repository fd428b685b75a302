"""Intervals for trials, in numpy alone: people come back, so answers of one person are not independent.

Differences of shares are Newcombe's (Statistics in Medicine 17, 1998, method 10) over effective sample sizes (Rao, Scott,
Biometrics 48, 1992); means are bootstrapped over people, never over answers; how similar two rankings are is rank-biased
overlap (Webber, Moffat, Zobel, TOIS 28, 2010, equation 32).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
RESAMPLES = 1999
GROUPS = 1000
"""People are put together into at most so many groups before they are drawn: a bootstrap of each would take long."""


def wilson(share: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share of `n`; (0, 1) for n = 0."""
    if n <= 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


def newcombe(a: float, n: float, b: float, m: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a - b, shares of two independent samples of sizes n and m, which need not be whole.

    >>> low, high = newcombe(56 / 70, 70, 48 / 80, 80)
    >>> round(low, 4), round(high, 4)
    (0.0524, 0.3339)
    """
    low_a, high_a = wilson(a, n, confidence=confidence)
    low_b, high_b = wilson(b, m, confidence=confidence)
    down = math.hypot(a - low_a, high_b - b)
    up = math.hypot(high_a - a, b - low_b)
    return a - b - down, a - b + up


def effective(hits: Numbers, sizes: Numbers) -> float:
    """Return how many independent answers a sample is worth: `hits` of `sizes` answers of each person, shape (people,).

    Never more than there are answers; where all or none hit, nothing tells how alike a person's answers are, and each
    person counts once.
    """
    n, people = float(sizes.sum()), sizes.size
    share = float(hits.sum()) / n if n else 0.0
    if people < 2 or share in (0.0, 1.0):
        return float(min(people, n))
    between = people / (people - 1) * float(((hits - share * sizes) ** 2).sum()) / n**2
    effect = between / (share * (1 - share) / n)
    return n / max(1.0, effect)


def ratio_interval(sums: Numbers, sizes: Numbers, *, confidence: float = 0.95, seed: int = 7) -> tuple[float, float]:
    """Bootstrap the mean over all answers by drawing people: `sums` over `sizes` answers of each, shape (people,).

    No people have an interval of NaN.
    """
    drawn = _drawn(sums, sizes, seed)
    if drawn is None:
        return math.nan, math.nan
    return _middle(drawn, confidence)


def difference_interval(
    a: tuple[Numbers, Numbers], b: tuple[Numbers, Numbers], *, confidence: float = 0.95, seed: int = 7
) -> tuple[float, float]:
    """Do as `ratio_interval` for the difference a - b of two groups of people, each as (sums, sizes)."""
    first, second = _drawn(*a, seed), _drawn(*b, seed + 1)
    if first is None or second is None:
        return math.nan, math.nan
    return _middle(first - second, confidence)


def _drawn(sums: Numbers, sizes: Numbers, seed: int) -> Numbers | None:
    if not sums.size:
        return None
    if sums.size > GROUPS:
        group = np.arange(sums.size) % GROUPS
        sums, sizes = (np.bincount(group, weights=values).astype(np.float64) for values in (sums, sizes))
    picks = np.random.default_rng(seed).integers(0, sums.size, (RESAMPLES, sums.size))
    drawn: Numbers = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    return drawn


def _middle(drawn: Numbers, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def sign_flip_p(sums: Numbers, *, seed: int = 7) -> float:
    """Return the two-sided p-value of the sum over people, were the two sides exchanged for each at random."""
    moved = sums[sums != 0]
    if not moved.size:
        return 1.0
    if moved.size > GROUPS:
        moved = np.bincount(np.arange(moved.size) % GROUPS, weights=moved).astype(np.float64)
    signs = np.random.default_rng(seed).integers(0, 2, (RESAMPLES, moved.size)) * 2.0 - 1
    extreme = int((np.abs(signs @ moved) >= abs(moved.sum()) - 1e-9).sum())
    return (extreme + 1) / (RESAMPLES + 1)


def rbo(a: Sequence[str], b: Sequence[str], *, p: float = 0.9) -> float:
    """Return the extrapolated rank-biased overlap of two rankings without repeats: 1 the same, 0 nothing in common.

    `p` is how likely a reader goes on to the next rank.

    >>> rbo(["a", "b"], ["a", "b"]), rbo(["a"], ["b"])
    (1.0, 0.0)
    """
    short, long = sorted((a, b), key=len)
    if not short:
        return float(not long)
    s, l_ = len(short), len(long)
    common = [len(set(short[:d]) & set(long[:d])) for d in range(1, l_ + 1)]
    at_s, at_l = common[s - 1], common[-1]
    agreed = sum(count / d * p**d for d, count in enumerate(common, 1))
    missing = sum(at_s * (d - s) / (s * d) * p**d for d in range(s + 1, l_ + 1))
    return round((1 - p) / p * (agreed + missing) + ((at_l - at_s) / l_ + at_s / s) * p**l_, 12)


def overlap(a: Sequence[str], b: Sequence[str], *, k: int = 5) -> float:
    """Return which share of the first `k` two rankings have in common; 1 where both are empty."""
    most = max(len(a[:k]), len(b[:k]))
    return len(set(a[:k]) & set(b[:k])) / most if most else 1.0
