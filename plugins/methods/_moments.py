"""Running mean and variance of a stream of rows, exact whatever the batches are (Chan et al. 1979)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ultra_agents.records import Array, FloatArray


class Moments:
    """Mean and variance `(width,)` of all rows seen.

    Args:
        width: Numbers in a row.

    Attributes:
        mean: 0 before the first row.
        var: Of the population (divided by n); 1 before the first row.
        count: Rows seen.
    """

    def __init__(self, width: int) -> None:
        self.mean, self.var, self.count = np.zeros(width), np.ones(width), 0

    def add(self, rows: FloatArray) -> None:
        """Count `(n, width)` more rows."""
        n = len(rows)
        if n == 0:
            return
        mean, var = rows.mean(axis=0), rows.var(axis=0)
        total, delta = self.count + n, mean - self.mean
        self.var = (self.var * self.count + var * n + delta**2 * self.count * n / total) / total
        self.mean = self.mean + delta * n / total
        self.count = total

    def scaled(self, rows: FloatArray, limit: float) -> FloatArray:
        """Rows `(n, width)` in deviations from the mean, within +-limit; what never varied counts unscaled."""
        deviation = np.sqrt(self.var)
        return np.clip((rows - self.mean) / np.where(deviation > 1e-8, deviation, 1.0), -limit, limit)

    def arrays(self) -> dict[str, Array]:
        """Everything, by name."""
        return {"mean": self.mean.copy(), "var": self.var.copy(), "count": np.array([self.count], np.int64)}

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Inverse of `arrays`."""
        self.mean, self.var = np.array(arrays["mean"], np.float64), np.array(arrays["var"], np.float64)
        self.count = int(arrays["count"][0])
