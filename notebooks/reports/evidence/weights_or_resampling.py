"""Weights or resampling: how far answers scatter where cells divide along one coordinate."""

import numpy as np
import pandas as pd

STEP = 0.05
WAYS = {"weights": 10**6, "resampled each half day": 10, "each step": 1}


def run_cells(
    days: float, *, every: int, seed: int, n_repeats: int, n_cells: int
) -> tuple[np.ndarray, np.ndarray]:  # (repeats, cells) each
    r"""Cells and their weights after some days, with resampling after ``every`` steps.

    :math:`\mathrm d X = -X/2\,\mathrm d t + \mathrm d W`, :math:`\mathrm d \log w = X/2\,\mathrm
    dt`, from a standard normal; then the weighted mean is :math:`1 - e^{-t/2}` exactly.
    """
    rng = np.random.default_rng([seed, every])
    x, log_w = rng.normal(size=(n_repeats, n_cells)), np.zeros((n_repeats, n_cells))
    for k in range(1, round(days / STEP) + 1):
        log_w += x / 2 * STEP
        x = x - x / 2 * STEP + STEP**0.5 * rng.normal(size=x.shape)
        if k % every == 0:
            for r, ends in enumerate(np.exp(log_w).cumsum(axis=1)):  # of stretches on a ruler
                marks = ends[-1] * (np.arange(n_cells) + rng.random()) / n_cells
                x[r] = x[r, np.searchsorted(ends, marks)]
            log_w = np.zeros_like(x)
    return x, np.exp(log_w)


def compare(days: tuple[float, ...], *, seed: int, n_repeats: int, n_cells: int) -> pd.DataFrame:
    r"""Mean, exact mean, spread over repeats, and effective cells by days and way.

    Effective cells are :math:`(\sum w)^2 / \sum w^2`: as many equal ones would say as much.
    """
    rows = {}
    for length in days:
        for way, every in WAYS.items():
            size = {"seed": seed, "n_repeats": n_repeats, "n_cells": n_cells}
            x, w = run_cells(length, every=every, **size)
            means = (w * x).sum(1) / w.sum(1)
            effective = (w.sum(1) ** 2 / (w**2).sum(1)).mean()
            rows[length, way] = (means.mean(), 1 - np.exp(-length / 2), means.std(), effective)
    columns = ["mean", "exact", "spread", "effective cells"]
    return pd.DataFrame(rows, index=columns).T.rename_axis(["days", "way"])
