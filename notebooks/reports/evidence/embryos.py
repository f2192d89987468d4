"""Shares of cell types in embryos that grow: a stage that was left out, two genes at once.

Cells were counted after sequencing, so that only **shares** can be told, and of growth only how
much faster one type grows than another: a constant rate for each type is a straight line in the
logarithm of its share. An embryo is one observation: its counts vary by more than draws of cells
would (:func:`overdispersion`). Stages are foretold within one experiment, because experiments cover
different stages and differ by more than neighbouring stages do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scimf.data import registry
from scipy.sparse import csc_matrix

from evidence.over_units import Number, mean_of
from evidence.r_files import read_rda

LEAST_CELLS = 100  #: of an embryo
SMALL = 1e-4  #: added to shares before their logarithm
COMMON = 1e-3  #: share above which a type's variance is looked at
METHODS = ("copy", "mixture", "growth between neighbours", "one rate for each type")
EARLIER, LATER = "copy", "copy of the later"


class Embryos(NamedTuple):
    """Cells of every type in every embryo, and what the embryos are."""

    counts: np.ndarray  #: (embryos, types)
    about: pd.DataFrame  #: by embryo: stage (hours), target, experiment
    types: list[str]

    def where(self, chosen: np.ndarray) -> "Embryos":
        """Keep some embryos."""
        chosen = np.asarray(chosen)
        return Embryos(self.counts[chosen], self.about[chosen].reset_index(drop=True), self.types)


def read_embryos(name: str = "zscape_embryo_counts") -> dict[str, Embryos]:
    """Read "controls" and "perturbed" (with their own controls); small embryos are left out.

    See also :func:`scimf.data.registry.fetch`.
    """
    controls, perturbed = (_embryos(read_rda(file)) for file in registry.fetch(name))
    return {"controls": controls, "perturbed": perturbed}


def _embryos(saved: dict) -> Embryos:
    columns = saved["colData"]["listData"]
    named = dict(zip(columns["names"]["values"], columns["values"], strict=True))
    about = pd.DataFrame(
        {
            "stage": np.array(_texts(named["timepoint"]), dtype=float),
            "target": _texts(named["gene_target"]),
            "experiment": [label.split(".")[0] for label in _texts(named["embryo"])],
        }
    )
    (matrix,) = saved["assays"]["data"]["listData"]["values"]
    parts = [matrix[key]["values"] for key in ("x", "i", "p")]
    counts = csc_matrix(tuple(parts), shape=tuple(matrix["Dim"]["values"])).T.toarray()
    found = Embryos(counts, about, matrix["Dimnames"]["values"][0]["values"])
    return found.where(counts.sum(axis=1) >= LEAST_CELLS)


def _texts(found: dict) -> list[str]:
    if "levels" in found:
        return [found["levels"]["values"][code - 1] for code in found["values"]]
    return found["values"]


def shares(counts: np.ndarray) -> np.ndarray:
    """Of all cells of these embryos together, by type."""
    return counts.sum(axis=0) / counts.sum()


def overdispersion(embryos: Embryos, by: Sequence[str] = ("stage",)) -> Number:
    """Variance between embryos over that of draws of cells, common types, mean over groups."""
    ratios, sizes = [], []
    for rows in embryos.about.groupby([*by]).indices.values():
        counts = embryos.counts[rows]
        share = shares(counts)
        common = share > COMMON
        expected = np.outer(counts.sum(axis=1), share[common])
        chi = ((counts[:, common] - expected) ** 2 / expected).sum(axis=0) / (len(rows) - 1)
        ratios.append((chi / (1 - share[common])).mean())
        sizes.append(len(rows))
    weights = np.asarray(sizes) / np.mean(sizes)
    return mean_of(np.asarray(ratios) * weights)


# --------------------------------------------------------------------------------- held-out stage


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared distance of square roots of shares, whose noise is the same for all types."""
    return float(((np.sqrt(first) - np.sqrt(second)) ** 2).sum())


def floor_of(counts: np.ndarray, *, draws: int = 10, seed: int = 0) -> float:
    """Distance that the true shares would have, from halves of the embryos."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        order = rng.permutation(len(counts))
        half = len(counts) // 2
        found.append(distance(shares(counts[order[:half]]), shares(counts[order[half:]])) / 4)
    return float(np.mean(found))


def foretell_stage(times: np.ndarray, known: np.ndarray, at: float) -> dict[str, np.ndarray]:
    """Shares at a time between others; ``known`` (times, types), ``times`` in order."""
    after = int(np.searchsorted(times, at))
    before = after - 1
    way = (at - times[before]) / (times[after] - times[before])
    logs = np.log(known + SMALL)
    slopes, starts = np.polyfit(times - at, logs, 1)
    found = {
        EARLIER: known[before],
        LATER: known[after],
        "mixture": (1 - way) * known[before] + way * known[after],
        "growth between neighbours": np.exp((1 - way) * logs[before] + way * logs[after]),
        "one rate for each type": np.exp(starts),
    }
    return {method: share / share.sum() for method, share in found.items()}


def held_out_stages(embryos: Embryos) -> pd.DataFrame:
    """Distance of every method, by experiment and stage between others, and ``floor``."""
    rows = {}
    for experiment, places in embryos.about.groupby("experiment").indices.items():
        here = embryos.where(np.isin(np.arange(len(embryos.about)), places))
        stage = here.about["stage"].to_numpy()
        times = np.unique(stage)
        known = np.array([shares(here.counts[stage == time]) for time in times])
        for k in range(1, len(times) - 1):
            rest = np.arange(len(times)) != k
            found = foretell_stage(times[rest], known[rest], times[k])
            row = {method: distance(share, known[k]) for method, share in found.items()}
            row["floor"] = floor_of(here.counts[stage == times[k]])
            rows[experiment, times[k]] = row
    return pd.DataFrame(rows).T.rename_axis(["experiment", "stage"])


# ------------------------------------------------------------------------------ two genes at once


def log_ratios(counts: np.ndarray, controls: np.ndarray) -> np.ndarray:
    """Logarithm of shares over those of controls, by type."""
    logs = []
    for part in (counts, controls):
        cells = part.sum(axis=0) + 0.5
        logs.append(np.log(cells / cells.sum()))
    return logs[0] - logs[1]


def two_at_once(
    embryos: Embryos,
    singles: tuple[str, str],
    double: str,
    stage: float,
    *,
    least_cells: int = 50,
    draws: int = 200,
    seed: int = 0,
) -> dict[str, Number]:
    """Correlate the effect of two genes at once with what single effects say, over types.

    Every draw takes embryos anew, and splits the controls: one part for the double, another for
    the singles; with the same controls on both sides their noise alone would correlate.

    Returns
    -------
    dict
        Correlations with "adding", with each single, and "halves": of the double's own halves.
    """
    at = embryos.where(embryos.about["stage"].to_numpy() == stage)
    target = at.about["target"]
    controls = at.counts[target.str.startswith("ctrl").to_numpy()]
    group = {name: at.counts[(target == name).to_numpy()] for name in (*singles, double)}
    common = controls.sum(axis=0) >= least_cells
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {name: [] for name in ("adding", *singles, "halves")}
    drawn: dict[str, list[float]] = {name: [] for name in found}
    for anew in (False, True):
        for _ in range(draws):
            order = rng.permutation(len(controls))
            parts = [controls[order[0::2]], controls[order[1::2]]]
            one = {name: rows[rng.permutation(len(rows))] for name, rows in group.items()}
            if anew:
                parts = [_anew(rows, rng) for rows in parts]
                one = {name: _anew(rows, rng) for name, rows in one.items()}
            both = log_ratios(one[double], parts[0])[common]
            apart = {name: log_ratios(one[name], parts[1])[common] for name in singles}
            halves = [log_ratios(one[double][k::2], parts[k])[common] for k in (0, 1)]
            values = {"adding": apart[singles[0]] + apart[singles[1]], **apart}
            kept = drawn if anew else found
            for name, value in values.items():
                kept[name].append(np.corrcoef(both, value)[0, 1])
            kept["halves"].append(np.corrcoef(*halves)[0, 1])
    limits = {name: np.quantile(values, [0.025, 0.975]) for name, values in drawn.items()}
    return {name: Number(float(np.mean(found[name])), *map(float, limits[name])) for name in found}


def _anew(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rows[rng.integers(len(rows), size=len(rows))]
