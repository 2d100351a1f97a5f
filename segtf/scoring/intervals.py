"""95 % bootstrap intervals of scores, over images.

Images are resampled with replacement `RESAMPLES` times and the score is computed from their summed
counts: pixels of one image are dependent, images are not. Intervals are expanded percentiles
(Hesterberg 2015, https://arxiv.org/abs/1411.5279): plain percentiles of few images are too narrow;
those of n images are widened so that the interval of a mean is as wide as that of Student's t. Only
images that contain the class count as n.

Where every image has a perfect score, or the worst one, nothing varies. There the open end is the
value at which n such images have a probability of 2.5 %: 1 - 0.025 ** (1 / n) for a fraction.

Sums of counts are exact, so the same counts give the same intervals on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from segtf.run.typed_json import Key
from segtf.scoring.metrics import Counts, Scores, share

LEVEL = 0.95
RESAMPLES = 2000
# images; the range of 5 independent values contains their median in only 94 % of cases
FEW = 6
BLOCK = 2**20  # numbers in one block of resamples
TAIL = (1 - LEVEL) / 2


@dataclass(frozen=True)
class Interval:
    """Between which values a score lies; None where that cannot be said."""

    low: float | None
    high: float | None
    images: Annotated[int, Key("photos")]  # that it rests on
    few: bool  # too few images for the 95 % to be more than a rough guess


def parts_of(confusions: Counts) -> Counts:
    """Intersection and union per image and class, shape (P, C, 2), of confusion matrices, shape
    (P, C, C).
    """
    both = np.diagonal(confusions, axis1=1, axis2=2)
    return np.stack([both, confusions.sum(axis=1) + confusions.sum(axis=2) - both], axis=-1)


def share_intervals(
    parts: Counts, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Interval, ...]:
    """Intervals of part / whole, summed over images: counts of shape (P, S, 2) for S things in P
    images. Things in fewer than two images have none; draws without a thing are left out.
    """
    drawn = _shares(_resampled_sums(parts, resamples, seed))
    holders = (parts[..., 1] > 0).sum(axis=0)
    return tuple(
        _interval(drawn[:, i], int(n), lambda n: 1 - TAIL ** (1 / n), most=1.0)
        for i, n in enumerate(holders)
    )


def mean_share_interval(parts: Counts, *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The interval of the mean over things of part / whole, such as the mean IoU; counts as above.

    In a draw without one of the things it keeps its value over all images: without it the mean
    would jump. The number of images is that of the rarest thing.
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
    """Intervals of the mean count per image, of counts of shape (P, S) for S things in P images.
    Without any count the upper end is the rate at which that has a probability of 2.5 %, 3.7 / P.
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
    step = max(1, BLOCK // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
        sums[start : start + rows] = times.astype(np.float64) @ flat
    return sums.reshape(resamples, *counts.shape[1:])


def _interval(
    drawn: Scores, images: int, margin: Callable[[int], float], *, most: float
) -> Interval:
    """The interval of a score from its values in the draws; `margin` gives the distance of the open
    end from 0 or from `most` where n images do not differ.
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
    """The fraction of draws to leave out at each end."""
    from scipy.special import ndtr, stdtrit  # normal CDF and inverse CDF of Student's t

    return float(ndtr(math.sqrt(images / (images - 1)) * stdtrit(images - 1, TAIL)))
