"""A paracrine wave in one composition: dendritic cells make interferon beta, and answer it.

All cells of a dish hear the same, and what they hear changes with the time, as does what they do by
themselves. So nothing in these files tells the two apart without an assumption; what can be said is
who makes the signal, when the answer comes, and whether those who do not make it answer as well.
"""

from itertools import permutations

import anndata as ad
import numpy as np
import pandas as pd
from scimf.data import registry
from scipy import stats

from evidence.r_files import read_rda

SIGNAL, ANSWER = "Ifnb1", "Ifit1"
LEAST_READS = 10  #: of the signal's gene, in a cell that makes it
PER_CELL = 1e4  #: reads that every cell is scaled to
START = "Unstimulated Rep"  #: the other unstimulated cells run the late antiviral programme
STIMULI = ("LPS", "PIC", "PAM")


def read_dishes(name: str = "shalek_dc") -> ad.AnnData:
    """Read all genes: reads in ``layers["reads"]``, log1p of 10,000 reads a cell in ``X``.

    ``obs``: ``stimulus, time`` (hours), and as there is one dish a stimulus, ``population``;
    ``cell_type``. Replicate batches are left out. See also :func:`scimf.data.registry.fetch`.
    """
    expression, kinds = (read_rda(file) for file in registry.fetch(name))
    counts = expression["exprdata"]
    genes, cells = (part["values"] for part in counts["dimnames"]["values"])
    reads = counts["values"].reshape(len(cells), len(genes))  # R: one cell after the other
    label = pd.Series(_texts(kinds["celltype"]), index=cells).str.strip()
    obs = label.str.extract(r"^(?P<time>\d)h (?P<stimulus>\w+)$").astype({"time": float})
    obs.loc[label == START, ["stimulus", "time"]] = ["none", 0.0]
    obs["population"] = obs["stimulus"]
    obs["cell_type"] = "dendritic cell"
    scaled = np.log1p(PER_CELL * reads / reads.sum(axis=1, keepdims=True))
    var = pd.DataFrame(index=genes)
    found = ad.AnnData(scaled, obs=obs, var=var, layers={"reads": reads})
    return found[obs["stimulus"].notna().to_numpy()].copy()


def read_wave(name: str = "shalek_dc") -> pd.DataFrame:
    """Read, by cell: ``stimulus, time`` (hours), ``makes`` (the signal), ``answer`` (log1p reads).

    Cells are those of :func:`read_dishes`.
    """
    dishes = read_dishes(name)
    found = dishes.obs[["stimulus", "time"]].copy()
    found["makes"] = dishes.to_df("reads")[SIGNAL] >= LEAST_READS
    found["answer"] = dishes.to_df()[ANSWER]
    return found


def _texts(found: dict) -> list[str]:
    """Labels of a factor, or texts as they are."""
    if "levels" in found:
        return [found["levels"]["values"][code - 1] for code in found["values"]]
    return found["values"]


def wave_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Tell, by stimulus and time: ``n``, share of ``makers``, mean answer of all and of silent."""
    rows = {}
    for key, part in cells.groupby(["stimulus", "time"]):
        silent = part.loc[~part["makes"], "answer"]
        makers, answer = part["makes"].mean(), part["answer"].mean()
        rows[key] = {"n": len(part), "makers": makers, "answer": answer, "silent": silent.mean()}
    return pd.DataFrame(rows).T.rename_axis(["stimulus", "time"]).astype({"n": int})


def makers_against_silent(cells: pd.DataFrame, *, stimulus: str, time: float) -> dict[str, float]:
    """Answer of cells that make the signal minus that of those that do not, at one time.

    Returns
    -------
    dict
        ``difference, lo, hi`` (95 % Welch interval) and ``smallest``, the difference that 80 % of
        such experiments would have told apart from none. Cells are the units: of one dish.
    """
    part = cells[(cells["stimulus"] == stimulus) & (cells["time"] == time)]
    makes = part["makes"].to_numpy(bool)
    answer = part["answer"].to_numpy()
    test = stats.ttest_ind(answer[makes], answer[~makes], equal_var=False)
    limits = test.confidence_interval()
    difference = answer[makes].mean() - answer[~makes].mean()
    se = difference / test.statistic
    t = stats.t(test.df)
    smallest = (t.ppf(0.975) + t.ppf(0.8)) * se
    found = {"difference": difference, "lo": limits.low, "hi": limits.high, "smallest": smallest}
    return {key: float(value) for key, value in found.items()}


def p_of_stimuli(table: pd.DataFrame, *, early: float = 2.0, late: float = 4.0) -> dict[str, float]:
    """Ask whether more signal early means more answer late, with the **stimulus** as unit.

    Returns
    -------
    dict
        ``correlation, p`` (one-sided, all exchanges of stimuli) and ``floor``.
    """
    signal = np.array([table.loc[(name, early), "makers"] for name in STIMULI])
    answer = np.array([table.loc[(name, late), "answer"] for name in STIMULI])
    seen = np.corrcoef(signal, answer)[0, 1]
    orders = [np.corrcoef(signal[list(order)], answer)[0, 1] for order in permutations(range(3))]
    p = float(np.mean(np.array(orders) >= seen - 1e-12))
    return {"correlation": float(seen), "p": p, "floor": 1 / len(orders)}
