"""Intervals for measured numbers: Wilson and Clopper-Pearson for rates, the bootstrap for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
Array = npt.NDArray[Any]


def _check(successes: int, n: int, level: float) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} cases is not a rate; give counts with 0 <= successes <= n and n >= 1")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1; 95% is 0.95")


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a rate: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

    It covers close to ``level`` even near 0 and 1, where the normal interval collapses to a point.
    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    _check(successes, n, level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    rate = successes / n
    center = rate + z * z / (2 * n)
    half = z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    scale = 1 + z * z / n
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-19.
    low = 0.0 if successes == 0 else (center - half) / scale
    high = 1.0 if successes == n else (center + half) / scale
    return low, high


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return the exact interval of a rate from beta quantiles: never covers less than ``level``, so it is wider.

    Source: Clopper, Pearson 1934, The use of confidence or fiducial limits illustrated in the case of the binomial.
    """
    _check(successes, n, level)
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high


def bootstrap(
    statistic: Callable[..., float], *samples: Any, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the percentile interval of ``statistic(*samples)``, cases drawn again with replacement.

    ``samples``: arrays of equal length, drawn together (scores and labels stay pairs). Own generator: the same seed gives
    the same interval. A resample on which the statistic is NaN (one class only) is left out.
    Source: Efron 1979, Bootstrap methods: another look at the jackknife.
    """
    arrays = [np.asarray(sample) for sample in samples]
    sizes = {len(array) for array in arrays}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(f"the samples have lengths {[len(array) for array in arrays]}; give non-empty ones of equal length")
    if not 0 < level < 1:
        raise ValueError(f"level {level} is not between 0 and 1; 95% is 0.95")
    (n,) = sizes
    random = np.random.default_rng(seed)
    values = np.empty(resamples)
    for i in range(resamples):
        chosen = random.integers(0, n, n)
        values[i] = statistic(*(array[chosen] for array in arrays))
    values = values[~np.isnan(values)]
    if values.size == 0:
        raise ValueError("the statistic is NaN on every resample; does the sample hold one class only?")
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


@dataclass(frozen=True)
class Rate:
    """A rate with its denominator and 95% Wilson interval, ready for `record` and `compare`."""

    successes: int
    n: int

    @property
    def value(self) -> float:
        """The rate as a fraction."""
        return self.successes / self.n

    @property
    def interval(self) -> Interval:
        """Wilson's 95% interval."""
        return wilson(self.successes, self.n)

    def __str__(self) -> str:
        from labkit.reporting.formatting import percent

        return f"{percent(self.value, self.n)} ({self.successes:,} of {self.n:,})"

    def __float__(self) -> float:
        return self.value


def rate(outcomes: Any) -> Rate:
    """Return how often ``outcomes``, one boolean per case, is true.

    Raises TypeError for values that are not booleans (a mean of probabilities is not a rate), ValueError for none at all.
    """
    array = np.asarray(outcomes.detach().cpu() if hasattr(outcomes, "detach") else outcomes)
    if array.dtype != np.bool_:
        raise TypeError(f"a rate needs one boolean per case, and these are {array.dtype}; compare first, as in (predicted == y)")
    if array.size == 0:
        raise ValueError("no cases: a rate over nothing is not a number")
    return Rate(int(array.sum()), int(array.size))
