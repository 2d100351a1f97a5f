"""Say between what values a score lies: 95 % bootstrap intervals over images.

Images are drawn again, as many as there are and with repetition, and the score is computed from
their summed counts, `RESAMPLES` times; pixels of one image depend on each other, images do not.
Each interval is that of expanded percentiles (Hesterberg 2015, https://arxiv.org/abs/1411.5279):
for n images the quantiles are those that make the bootstrap of a mean as wide as Student's t, since
plain percentiles of few images are too narrow. Only the images that hold what is scored count as n.

Where every image has the same perfect or worst score, nothing varies, and the bootstrap would claim
certainty: there the open end is what n images like that allow, 0.025 ** (1 / n) for a share (the
"rule of three" of two-sided intervals).

The same counts give the same intervals, whatever the machine: sums of counts are exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import numpy as np

from segtf.run.typed_json import Key
from segtf.scoring.metrics import Counts, Scores, share

LEVEL = 0.95
RESAMPLES = 2000
# images; of 5 independent values even the whole range holds their median in 94 % of cases only
FEW = 6
AT_ONCE = 2**20  # numbers of one block of resamples
TAIL = (1 - LEVEL) / 2


@dataclass(frozen=True)
class Interval:
    """Between which values a score lies; None where that cannot be said."""

    low: float | None
    high: float | None
    images: Annotated[int, Key("photos")]  # that it rests on
    few: bool  # too few images for the 95 % to be more than a rough guess


def parts_of(confusions: Counts) -> Counts:
    """Intersection and union of each class and image, shape (P, C, 2), of confusion matrices, shape
    (P, C, C): what `share_intervals` and `mean_share_interval` take for the IoU.
    """
    both = np.diagonal(confusions, axis1=1, axis2=2)
    return np.stack([both, confusions.sum(axis=1) + confusions.sum(axis=2) - both], axis=-1)


def share_intervals(
    parts: Counts, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Interval, ...]:
    """Intervals of the shares part / whole of sums over images, of counts of shape (P, S, 2): part
    and whole of S things in P images. What no image holds has none, nor has what one holds; draws
    without it are left out.
    """
    drawn = _shares(_resampled_sums(parts, resamples, seed))
    holders = (parts[..., 1] > 0).sum(axis=0)
    return tuple(
        _interval(drawn[:, i], int(n), lambda n: 1 - TAIL ** (1 / n), most=1.0)
        for i, n in enumerate(holders)
    )


def mean_share_interval(parts: Counts, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The interval of the mean of the shares of those of S things that there are, as the mean IoU
    is one. In a draw without one of them it has its share of all images: left out, the mean would
    jump. It rests on no more images than the rarest of them.
    """
    scores = _shares(parts.sum(axis=0))
    there = ~np.isnan(scores)
    if not there.any():
        return _of_images(0)
    drawn = _shares(_resampled_sums(parts[:, there], resamples, seed))
    drawn = np.where(np.isnan(drawn), scores[there], drawn).mean(axis=1)
    holders = int((parts[:, there, 1] > 0).sum(axis=0).min())
    return _interval(drawn, holders, lambda n: 1 - TAIL ** (1 / n), most=1.0)


def rate_intervals(
    counts: Counts, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Interval, ...]:
    """Intervals of counts per image, shape (P, S) for S things in P images. Where nothing was
    seen in P images, the upper end is the rate at which that happens in 2.5 % of cases, 3.7 / P.
    """
    images = len(counts)
    drawn = _resampled_sums(counts, resamples, seed) / max(images, 1)
    return tuple(
        _interval(drawn[:, i], images, lambda n: -math.log(TAIL) / n, most=math.inf)
        for i in range(drawn.shape[1])
    )


def _shares(parts: Scores | Counts) -> Scores:
    return share(parts[..., 0], parts[..., 1])


def _resampled_sums(counts: Counts, resamples: int, seed: int) -> Scores:
    """Sums over the images of each draw, shape (resamples, ...), of counts of shape (P, ...)."""
    images = len(counts)
    things = math.prod(counts.shape[1:])
    flat = counts.reshape(images, things).astype(np.float64)  # exact below 2^53
    sums = np.zeros((resamples, things))
    if not images:
        return sums.reshape(resamples, *counts.shape[1:])
    rng = np.random.default_rng(seed)
    step = max(1, AT_ONCE // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
        sums[start : start + rows] = times.astype(np.float64) @ flat
    return sums.reshape(resamples, *counts.shape[1:])


def _interval(
    drawn: Scores, images: int, margin: Callable[[int], float], *, most: float
) -> Interval:
    """The interval of a score from its values in the draws; `margin` is how far n images without
    any difference let the truth be from 0 or from `most`.
    """
    drawn = drawn[~np.isnan(drawn)]
    if images < 2 or not drawn.size:
        return _of_images(images)
    if drawn.max() == 0:
        return _of_images(images, 0.0, margin(images))
    if drawn.min() == most:
        return _of_images(images, most - margin(images), most)
    tail = _expanded_tail(images)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return _of_images(images, float(low), float(high))


def _of_images(images: int, low: float | None = None, high: float | None = None) -> Interval:
    return Interval(low, high, images, images < FEW)


def _expanded_tail(images: int) -> float:
    """The share of draws to leave out at each end."""
    return NormalDist().cdf(-math.sqrt(images / (images - 1)) * _student(images - 1))


def _student(freedom: int) -> float:
    """The quantile of Student's t beyond which `TAIL` lies, right to 0.001 from 5 degrees of
    freedom on (Abramowitz and Stegun 26.7.5).
    """
    z = NormalDist().inv_cdf(1 - TAIL)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
