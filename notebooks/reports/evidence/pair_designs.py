r"""What a design can tell of ligand-receptor pairs, whatever the answer.

A gene of a receiver type changes by its own drift, a constant and a decay, and by what it takes in
through a pair (:mod:`evidence.pairs`). With residual variance :math:`\sigma^2`, the intake
:math:`x` of the pair in every interval and the projector :math:`M` off the own drift,

.. math:: se(\beta) = \sigma / \sqrt{x^\top M x}, \qquad
          \beta_\text{smallest} = (t_{1 - \alpha / 2} + t_{.8})\, se(\beta) :

an effect of that size is told at level :math:`\alpha` in four of five such experiments, **if dishes
differ by chance and by their ligands only**. The unit: by how many s.d. between cells the gene
would differ, at the end, between the dish that hears most and that which hears least. But however
large an effect is, exchanging :math:`P` dishes gives no p below the floor :math:`1 / P!`.
"""

from math import factorial
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
from scimf.dynamics.snapshots import KEY
from scimf.interaction.type_means import TypeSnapshots
from scipy import stats

from evidence.ligand_receptor import expressed
from evidence.pairs import FALSE_DISCOVERIES, _expression, _Rows, _rows, _sent, pairs_in_closed_form

POWER = 0.8
LEVEL = 0.05
SAME = 1e-9  #: what is left of an intake that the own drift explains as well


class PairDesign(NamedTuple):
    """What data of some populations and times leave for pairs to be told from."""

    populations: int
    changes: int  #: of the mean of a type between two times of a population
    free: int  #: of these, beyond a constant and a decay of every type and one pair
    floor: float  #: smallest p by exchanging populations
    needed: int  #: populations with which one pair among all could be told at all


class PairAnswer(NamedTuple):
    """What a data set says of a table of pairs, and what it could have said."""

    row: dict[str, float]  #: numbers of pairs, p-values, the design, medians of ``smallest``
    design: PairDesign
    smallest: pd.DataFrame  #: (pairs, alone and among all), of the median gene


def ask(
    adata: ad.AnnData, listed: pd.DataFrame, *, n_genes: int, permutations: int, seed: int = 0
) -> PairAnswer:
    """Ask data for the pairs of a table that are expressed.

    Parameters
    ----------
    adata
        As for :func:`evidence.pairs.pairs_in_closed_form`.
    listed
        Of :func:`evidence.ligand_receptor.load_pairs`.
    n_genes
        That pairs may act on: those that vary most.
    permutations, seed
        Of the populations.
    """
    pairs = expressed(adata, listed)
    part = with_targets(adata, pairs, n_genes)
    design = pair_design(part, pairs)
    told = pairs_in_closed_form(part, pairs, permutations=permutations, seed=seed)
    levels = {"alone": LEVEL, "among all": FALSE_DISCOVERIES / len(pairs)}
    smallest = {}
    for name, level in levels.items():
        smallest[name] = smallest_effects(part, pairs, level=level).median(axis=1)
    row = {
        "in table": listed.attrs["n_table"],
        "measured": len(listed),
        "expressed": len(pairs),
        "told": int((told["q"] <= FALSE_DISCOVERIES).sum()),
        "smallest p": told["p"].min(),
        **design._asdict(),
        **{f"smallest effect {name}": effect.median() for name, effect in smallest.items()},
    }
    return PairAnswer(row, design, pd.DataFrame(smallest))


def with_targets(adata: ad.AnnData, pairs: pd.DataFrame, n: int) -> ad.AnnData:
    """Keep the genes of pairs and the ``n`` others that vary most between cells."""
    members = set("_".join([*pairs["ligand"], *pairs["receptor"]]).split("_"))
    is_member = adata.var_names.isin(members)
    spread = np.where(is_member, np.inf, adata.to_df().std().to_numpy())
    kept = np.argsort(-spread, kind="stable")[: is_member.sum() + n]
    return adata[:, np.sort(kept)].copy()


def pair_design(adata: ad.AnnData, pairs: pd.DataFrame) -> PairDesign:
    """Count what a design leaves, from cells, times and populations alone."""
    snapshots, rows = _read(adata, pairs)
    n = len(snapshots.populations)
    own = _own(rows, int(snapshots.cells.std(0).argmax()))
    free = len(own) - np.linalg.matrix_rank(own) - 1
    enough = next(k for k in range(1, 20) if 1 / factorial(k) <= FALSE_DISCOVERIES / len(pairs))
    return PairDesign(n, len(own), max(int(free), 0), 1 / factorial(n), enough)


def smallest_effects(
    adata: ad.AnnData, pairs: pd.DataFrame, *, level: float = LEVEL, power: float = POWER
) -> pd.DataFrame:
    """Smallest effects that four of five such experiments would tell, s.d. between cells.

    Parameters
    ----------
    adata, pairs
        As for :func:`evidence.pairs.pairs_in_closed_form`.
    level, power
        Two-sided.

    Returns
    -------
    DataFrame
        (pairs, genes that are in no pair). Infinite where nothing is left to tell a pair from the
        own drift, or where all populations hear the same.
    """
    snapshots, rows = _read(adata, pairs)
    intake = rows.taken[np.arange(len(rows.population)), rows.population]  # (rows, pairs)
    difference = _heard_differently(rows, intake) * np.ptp(snapshots.times)
    spread = snapshots.cells.std(0)
    found = np.full((len(pairs), len(spread)), np.inf)
    for g in range(len(spread)):
        own, _ = np.linalg.qr(_own(rows, g))
        left = intake - own @ (own.T @ intake)
        size = (left**2).sum(0)
        y = rows.change[:, g] - own @ (own.T @ rows.change[:, g])
        free = len(y) - own.shape[1] - 1
        can = (size > SAME * (intake**2).sum(0)) & (difference > 0)
        if free < 1 or not can.any():
            continue
        residual = (y**2).sum() - (left[:, can].T @ y) ** 2 / size[can]
        se = np.sqrt(residual / free / size[can])
        quantiles = stats.t.ppf([1 - level / 2, power], free).sum()
        found[can, g] = quantiles * se * difference[can] / max(spread[g], SAME)
    names = [f"{ligand} to {receptor}" for ligand, receptor in pairs.to_numpy()]
    return pd.DataFrame(found, index=names)


def populations_needed(design: PairDesign, smallest: float, wanted: float, n_pairs: int) -> int:
    """Count populations like these with which an effect as small as ``wanted`` would be told.

    One pair among ``n_pairs`` at a false-discovery rate of 0.1; ``smallest`` is what the design
    tells at that level.
    """
    alone = [1 - FALSE_DISCOVERIES / n_pairs / 2, POWER]
    used = design.changes - design.free
    now = stats.t.ppf(alone, design.free).sum()
    for n in range(design.needed, 10_000):
        free = n * design.changes / design.populations - used
        shrunken = smallest * np.sqrt(design.populations / n)
        if free > 0 and shrunken * stats.t.ppf(alone, free).sum() / now <= wanted:
            return n
    raise ValueError(f"an effect of {wanted:g} is not told by 10,000 populations")


def _read(adata: ad.AnnData, pairs: pd.DataFrame) -> tuple[TypeSnapshots, _Rows]:
    """Give changes and intakes, as the test of pairs reads them."""
    genes = adata.to_df()
    members = set("_".join([*pairs["ligand"], *pairs["receptor"]]).split("_"))
    others = [gene for gene in genes if gene not in members]
    state = ad.AnnData(obs=adata.obs, obsm={KEY: genes[others].to_numpy()})
    snapshots = TypeSnapshots.of(state)
    sent = _sent(snapshots, _expression(genes, pairs["ligand"])[snapshots.rows])
    receptors = _expression(genes, pairs["receptor"])[snapshots.rows]
    return snapshots, _rows(snapshots, receptors, sent)


def _own(rows: _Rows, gene: int) -> np.ndarray:  # (rows, two of every type that is there)
    gap = rows.gap[:, rows.gap.any(0)]
    return np.c_[gap, -rows.place[:, gene, None] * (gap != 0)]


def _heard_differently(rows: _Rows, intake: np.ndarray) -> np.ndarray:  # (pairs,)
    """Mean intake where most is heard minus that where least is, of the type where it is most."""
    mean = pd.DataFrame(intake / rows.gap.sum(1)[:, None])
    by_population = mean.groupby([rows.gap.argmax(1), rows.population]).mean()
    by_type = by_population.groupby(level=0)
    return (by_type.max() - by_type.min()).max().to_numpy()


def differences_between(adata: ad.AnnData) -> pd.Series:
    """Measure, by gene, the largest difference between populations at one time, s.d. of cells.

    Part of it is the noise of few cells: something to compare a smallest effect with, and no test.
    """
    values = adata.to_df()
    keys = [adata.obs[key].to_numpy() for key in ("time", "cell_type", "population")]
    mean = values.groupby(keys).mean().groupby(level=[0, 1])
    return (mean.max() - mean.min()).max() / values.std()
