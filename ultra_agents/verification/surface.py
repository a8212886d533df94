"""What settings of constants earn, as one surface: a Gaussian process given the means of their episodes.

Not part of the ULTRA paper.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np

from ultra_agents.records import FloatArray

Setting: TypeAlias = tuple[float, ...]
K = TypeVar("K")

LENGTH, LENGTHS = 0.5, (0.1, 5.0)
"""How far apart settings still earn alike, as a share of a constant's range: to begin with; bounds."""
HEIGHTS = 0.05, 20.0
"""Bounds of the variance over settings, in variances of what they earned."""
CAUTION = 0.0, 1.0, 2.0
"""Standard deviations below its mean by which finalists are chosen."""
FINALISTS = len(CAUTION)
POOLED = 4
"""Episodes that all settings' variance counts for in that of each: what earns much varies more, few episodes tell."""
LEAST_NOISE = 1e-6
"""Of a mean, in the same unit, where episodes do not differ at all."""


@dataclass(frozen=True)
class Surface:
    """A Gaussian process over settings of constants.

    Attributes:
        settings: Those it was given, in the order given.
        means: `(n,)` its mean there, in units of return.
        errors: `(n,)` its standard deviation there: how far what they are worth may be from the mean.
        spread: Standard deviation of the returns of one setting, pooled over all of them; where none has played twice,
            that of all returns.
    """

    settings: tuple[Setting, ...]
    means: FloatArray
    errors: FloatArray
    spread: float
    _process: Any
    _bounds: FloatArray
    _scale: float
    _level: float

    @classmethod
    def of(cls, returns: Mapping[Setting, Sequence[float]], bounds: FloatArray) -> Self | None:
        """Fit it by the largest marginal likelihood, a length of its own for each constant.

        Args:
            returns: By setting, what its episodes earned; one or more.
            bounds: `(k, 3)` of the constants: value, low, high.

        Returns:
            None where there are no settings, or all have earned the same.
        """
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel

        earned = np.array([np.mean(one) for one in returns.values()])
        scale = float(earned.std()) if len(earned) else 0.0
        if scale == 0.0:
            return None
        counts = np.array([len(one) for one in returns.values()])
        squares = np.array([np.square(np.subtract(one, np.mean(one))).sum() for one in returns.values()])
        pooled = float(squares.sum() / (counts - 1).sum()) if counts.max() > 1 else scale**2
        variances = (POOLED * pooled + squares) / (POOLED + counts - 1)
        process = GaussianProcessRegressor(
            ConstantKernel(1.0, HEIGHTS) * RBF(np.full(len(bounds), LENGTH), LENGTHS),
            alpha=np.maximum(variances / counts / scale**2, LEAST_NOISE),
        )
        level, settings = float(earned.mean()), tuple(returns)
        with _quiet():
            process.fit(_shares(settings, bounds), (earned - level) / scale)
            means, errors = process.predict(_shares(settings, bounds), return_std=True)
        return cls(settings, level + scale * means, scale * errors, pooled**0.5, process, bounds, scale, level)

    def order(self) -> list[Setting]:
        """The settings it was given, the best first."""
        return [self.settings[index] for index in np.argsort(-self.means, kind="stable")]

    def draws(self, settings: Sequence[Setting], count: int, rng: np.random.Generator) -> FloatArray:
        """What the settings may be worth: `(len(settings), count)` draws of the whole surface, in units of return."""
        state = np.random.RandomState(int(rng.integers(2**31)))
        with _quiet():
            drawn = self._process.sample_y(_shares(settings, self._bounds), count, random_state=state)
        return np.asarray(self._level + self._scale * drawn)


def promising(surfaces: Mapping[K, Surface]) -> list[tuple[K, Setting]]:
    """Of settings on several surfaces the best by the mean, by a standard deviation less, and by two.

    One to three, bold ones first; none where there is no surface.
    """
    places = [(key, setting) for key, surface in surfaces.items() for setting in surface.settings]
    if not places:
        return []
    means, errors = (np.concatenate([getattr(one, part) for one in surfaces.values()]) for part in ("means", "errors"))
    return list(dict.fromkeys(places[int(np.argmax(means - cautious * errors))] for cautious in CAUTION))


def _shares(settings: Sequence[Setting], bounds: FloatArray) -> FloatArray:
    """`(n, k)` where in its range each constant is, 0 to 1."""
    _, low, high = bounds.T
    return np.asarray((np.array(settings) - low) / (high - low))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what scikit-learn and numpy say of a length at its bound and of variances that round to 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
