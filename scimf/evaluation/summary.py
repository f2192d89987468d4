"""From replicates to a mean with its interval."""

import numpy as np
from scipy import stats


def interval(values: np.ndarray | list[float]) -> dict[str, float]:
    """Mean and 95 % t interval over training seeds (or another replicate).

    Returns ``{mean, lo, hi, n_seeds}``; a single value has no interval: ``{mean, n_seeds}``.
    """
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    n = len(values)
    if n < 2:
        return {"mean": mean, "n_seeds": n}
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return {"mean": mean, "lo": mean - half, "hi": mean + half, "n_seeds": n}
