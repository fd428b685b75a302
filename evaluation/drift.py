"""Did what is asked, or what is read, become other than it was? Two samples, compared; in numpy alone.

Three measures, and each says "cannot tell" (None) of fewer than LEAST on either side. An alarm needs chance ruled out
*and* an effect that matters: with enough of anything every difference is significant.

    told_apart   classifier two-sample test (Lopez-Paz, Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017):
                 a linear discriminant learns on one half which sample a vector is of, and is asked about the other half.
                 Of all ways to find shift on embeddings it is among those that need the fewest (Rabanser, Guennemann,
                 Lipton, "Failing Loudly", NeurIPS 2019), and its figure, the area under the ROC curve, needs no scale
    far          the share of questions farther from every document than 95 in 100 were: Wilson's interval (1927)
    psi          population stability index of counts, where .25 is the usual alarm (Siddiqi, "Credit Risk Scorecards",
                 2006); of equal distributions it is about (bins - 1)(1/n + 1/m) (Yurdakul, 2018)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from ragkeep.trial_stats import wilson
from ragkeep.types import Vectors

LEAST = 200
"""Fewer on a side tell nothing: psi of ten bins reaches .25 by chance in less than 1 of 100 from here on."""
APART_P, APART_AUC = 1e-3, 0.65
"""Both must be passed: halves of one set stay below .58 (docs/monitoring.md), other kinds of questions reach .9."""
FAR_QUANTILE, FAR_ALARM = 0.05, 0.10
PSI_ALARM = 0.25
BINS = 10
_RIDGE = 1.0
_NORMAL = NormalDist()
Share = tuple[float, float, float]
"""A share and its interval: (share, low, high)."""


@dataclass(frozen=True, slots=True)
class Apart:
    """How well two samples are told apart: .5 not at all, 1.0 always; `p` of seeing that among equals."""

    auc: float
    p: float

    @property
    def alarm(self) -> bool:
        """Whether it is more than chance, and more than a little."""
        return self.p < APART_P and self.auc >= APART_AUC


def told_apart(before: Vectors, now: Vectors) -> Apart | None:
    """Tell two samples of vectors, (n, dim) and (m, dim), apart; None where either is smaller than LEAST.

    Both halves judge the other's classifier. What one classifier makes of points it has not seen is a Mann-Whitney
    statistic; the mean of two has at most the variance of one, so that `p` is never too small. What is in both samples
    falls into the same half of both: it speaks for no difference.
    """
    if min(len(before), len(now)) < LEAST:
        return None
    left, right = _halves(before.astype(np.float64)), _halves(now.astype(np.float64))
    aucs = []
    for fit in (0, 1):
        direction = _discriminant(left[fit], right[fit])
        aucs.append(_auc(left[1 - fit] @ direction, right[1 - fit] @ direction))
    n, m = (min(map(len, halves)) for halves in (left, right))
    auc = (aucs[0] + aucs[1]) / 2
    spread = math.sqrt((n + m + 1) / (12 * n * m))
    return Apart(auc, 1 - _NORMAL.cdf((auc - 0.5) / spread))


def _halves(sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut by a hash of the signs; by place where that cuts badly, as with many equal vectors."""
    odd = np.array([blake3(row.tobytes()).digest(1)[0] % 2 == 1 for row in np.packbits(sample > 0, axis=1)])
    if min(odd.sum(), (~odd).sum()) < len(sample) / 4:
        odd = np.arange(len(sample)) % 2 == 1
    return sample[odd], sample[~odd]


def _discriminant(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fisher's direction from `a` to `b`, the covariance shrunk: there are as many numbers as rows."""
    centred = np.vstack([a - a.mean(axis=0), b - b.mean(axis=0)])
    spread = centred.T @ centred / len(centred)
    mean_variance = float(np.trace(spread)) / len(spread)
    ridge = np.eye(len(spread)) * max(_RIDGE * mean_variance, 1e-12)
    made: NDArray[np.float64] = np.linalg.solve(spread + ridge, b.mean(axis=0) - a.mean(axis=0))
    return made


def _auc(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The share of pairs in which the second sample scores higher, ties counting half."""
    ordered = np.sort(a)
    below, upto = np.searchsorted(ordered, b, "left"), np.searchsorted(ordered, b, "right")
    return float((below + upto).mean() / (2 * len(a)))


def far(before: NDArray[np.float64], now: NDArray[np.float64]) -> Share | None:
    """Return the share of `now` below the FAR_QUANTILE of `before`; an alarm where its low end passes FAR_ALARM.

    Both hold the best cosine of each question to any document.
    """
    if min(len(before), len(now)) < LEAST:
        return None
    share = float((now < np.quantile(before, FAR_QUANTILE)).mean())
    return share, *wilson(share, len(now))


def psi(before: Mapping[str, int], now: Mapping[str, int]) -> float | None:
    """Return the population stability index of two counts by name; None where either has fewer than LEAST.

    The nine commonest names of both together stand for themselves, the others count as one. Half a count is added to
    every bin, so that a name only one side knows has a finite weight.
    """
    n, m = sum(before.values()), sum(now.values())
    if min(n, m) < LEAST:
        return None
    weight = {k: before.get(k, 0) / n + now.get(k, 0) / m for k in before.keys() | now.keys()}
    kept = sorted(weight, key=lambda k: (-weight[k], k))[: BINS - 1]
    pairs = [(before.get(k, 0), now.get(k, 0)) for k in kept]
    pairs.append((n - sum(a for a, _ in pairs), m - sum(b for _, b in pairs)))
    pairs = [(a, b) for a, b in pairs if a or b]
    total = 0.0
    for a, b in pairs:
        p, q = (a + 0.5) / (n + 0.5 * len(pairs)), (b + 0.5) / (m + 0.5 * len(pairs))
        total += (q - p) * math.log(q / p)
    return total
