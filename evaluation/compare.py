"""Intervals and paired comparison of per-question scores, in numpy alone: the gate must not pay for importing scipy.

The interval is the bias-corrected and accelerated bootstrap (Efron, Better Bootstrap Confidence Intervals, JASA 82,
1987; a from the jackknife, as in section 6); a test holds it against scipy.stats.bootstrap. The p-value is the paired
randomization test (Smucker, Allan, Carterette, CIKM 2007, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_BATCH = 1000
_TIE = 1e-12
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Paired:
    """Two means over the same n questions; `ci` is the interval of `delta` = new - base, `p` is two-sided."""

    base: float
    new: float
    delta: float
    ci: tuple[float, float]
    p: float
    n: int


def mean(values: Sequence[float]) -> float:
    """Return the exact mean; NaN for no values, and when any value is NaN."""
    return math.fsum(values) / len(values) if values else math.nan


def bca(
    values: Sequence[float] | NDArray[np.float64], *, confidence: float = 0.95, resamples: int = 9999, seed: int = 7
) -> tuple[float, float]:
    """Return the BCa bootstrap interval of the mean.

    Equal values have an interval of no width; no values, or any that is not finite, an interval of NaN.
    """
    x = np.asarray(values, dtype=np.float64)
    if not x.size or not np.isfinite(x).all():
        return math.nan, math.nan
    if np.ptp(x) < _TIE:
        return float(x[0]), float(x[0])
    means, theta = _resampled(x, resamples, seed), x.mean()
    below = (np.mean(means < theta - _TIE) + np.mean(means <= theta + _TIE)) / 2
    bias = _NORMAL.inv_cdf(float(np.clip(below, 0.5 / resamples, 1 - 0.5 / resamples)))
    pulls = x - theta  # the jackknife's deviations, up to a factor that cancels
    skew = float((pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5))
    tail = _NORMAL.inv_cdf((1 - confidence) / 2)
    low, high = np.quantile(means, [_level(bias, skew, tail), _level(bias, skew, -tail)])
    return float(low), float(high)


def _level(bias: float, skew: float, z: float) -> float:
    return _NORMAL.cdf(bias + (bias + z) / (1 - skew * (bias + z)))


def _resampled(x: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    sizes = [min(_BATCH, resamples - at) for at in range(0, resamples, _BATCH)]
    return np.concatenate([x[rng.integers(0, x.size, (size, x.size))].mean(axis=1) for size in sizes])


def permutation_p(differences: NDArray[np.float64], *, resamples: int = 9999, seed: int = 7) -> float:
    """Return the two-sided p-value of the mean difference under random exchange of the two systems."""
    d = differences[differences != 0]
    if not d.size:
        return 1.0
    rng = np.random.default_rng(seed)
    seen, extreme = abs(d.sum()) - _TIE, 0
    for at in range(0, resamples, _BATCH):
        signs = rng.integers(0, 2, (min(_BATCH, resamples - at), d.size), dtype=np.int8) * 2 - 1
        extreme += int((abs(signs @ d) >= seen).sum())
    return (extreme + 1) / (resamples + 1)


def compare(
    base: Sequence[float], new: Sequence[float], *, confidence: float = 0.95, resamples: int = 9999, seed: int = 7
) -> Paired:
    """Compare two systems on the same questions, row by row."""
    a, b = np.asarray(base, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired scores must have equal length, not {a.size} and {b.size}")
    d = b - a
    return Paired(
        base=mean(list(base)),
        new=mean(list(new)),
        delta=mean(d.tolist()),
        ci=bca(d, confidence=confidence, resamples=resamples, seed=seed),
        p=permutation_p(d, resamples=resamples, seed=seed),
        n=int(d.size),
    )
