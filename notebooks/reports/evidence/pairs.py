r"""Ligand-receptor pairs in closed form: one regression for each gene that is neither.

Receivers of type :math:`a` in population :math:`p`, with density :math:`s_p` and the mean ligand
:math:`\bar L_{pk}` of the population, pooled over times, take in

.. math::

    F_k(a, p, t) = \Bigl\langle \frac{z_{ik}}{1 + z_{ik}} \Bigr\rangle_{i \in a}, \quad
    z_{ik} = R_{ik}\, s_p \bar L_{pk}; \qquad
    \Delta m_g = c_{ag}\,\Delta t - \theta_{ag} \int m_g + \sum_k \beta_{kg} \int F_k ,

a change between means of :math:`n` and :math:`n'` cells weighted by :math:`1 / (1/n + 1/n')`. A
pair is scored by the sum of its two largest positive t over genes. Its p-value: populations
exchange :math:`s_p \bar L_{pk}` of this pair alone, given what all other pairs do. (With the bare
product in place of the saturation, what the true pairs do is fitted less well, and the p-values of
others are too small.)
"""

import time
from typing import NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
from scimf.dynamics.snapshots import KEY
from scimf.interaction.regression import LEAST
from scimf.interaction.type_means import TypeSnapshots
from scipy.stats import false_discovery_control
from sklearn.metrics import average_precision_score

from evidence.paracrine import paracrine

UNPENALISED = 1e-6  #: penalty of the own drift
PENALTY = 5e-5  #: of what other pairs do, for each of them
FALSE_DISCOVERIES = 0.1  #: rate of false pairs among those found that is asked for
TARGETS = 2  #: genes whose t are added up


class _Rows(NamedTuple):
    """Changes of the means of all genes, weighted, of all receivers and populations."""

    gap: np.ndarray  #: (rows, types), of each interval, in the column of the receiver
    place: np.ndarray  #: (rows, genes), integral of the mean
    change: np.ndarray  #: (rows, genes)
    taken: np.ndarray  #: (rows, populations, pairs), integral, with the ligands of each population
    population: np.ndarray  #: (rows,)


def pairs_in_closed_form(
    adata: ad.AnnData, pairs: pd.DataFrame, *, permutations: int = 999, seed: int = 0
) -> pd.DataFrame:
    """Score ligand-receptor pairs by what they do to all other genes.

    Parameters
    ----------
    adata
        Genes in ``X``; ``obs``: time, cell_type, population and where known density.
    pairs
        Columns ``ligand`` and ``receptor``; of a complex ``A_B`` the rarer subunit counts, cell by
        cell.

    Returns
    -------
    DataFrame
        ``ligand, receptor, score, p, q`` in the order of ``pairs``; ``q``: Benjamini and Hochberg.
    """
    genes = adata.to_df()
    ligands = _expression(genes, pairs["ligand"])
    receptors = _expression(genes, pairs["receptor"])
    members = set("_".join([*pairs["ligand"], *pairs["receptor"]]).split("_"))
    others = [gene for gene in genes if gene not in members]
    state = ad.AnnData(obs=adata.obs, obsm={KEY: genes[others].to_numpy()})
    snapshots = TypeSnapshots.of(state)
    sent = _sent(snapshots, ligands[snapshots.rows])
    rows = _rows(snapshots, receptors[snapshots.rows], sent)
    rng = np.random.default_rng(seed)
    n = len(sent)
    orders = np.stack([np.arange(n), *(rng.permutation(n) for _ in range(permutations))])
    t = _t_values(rows, orders)  # (pairs, orders, genes)
    scores = np.sort(np.maximum(t, 0), axis=2)[..., -TARGETS:].sum(2)
    reached = scores[:, 1:] >= scores[:, :1] * (1 - 1e-12)
    p = (1 + reached.sum(1)) / len(orders)
    table = pairs[["ligand", "receptor"]].reset_index(drop=True)
    return table.assign(score=scores[:, 0], p=p, q=false_discovery_control(p))


def _expression(genes: pd.DataFrame, names: pd.Series) -> np.ndarray:  # (cells, names)
    """Of a gene, or of the rarer subunit of a complex; not below 0."""
    values = [genes[name.split("_")].min(axis=1) for name in names]
    return np.maximum(np.stack(values, axis=1), 0)


def _sent(snapshots: TypeSnapshots, ligands: np.ndarray) -> np.ndarray:  # (populations, pairs)
    """Density times the mean ligand (cells, pairs) of a population; times count alike."""
    bounds = snapshots.start[:: len(snapshots.types)]  # of whole snapshots
    each = [cells.mean(0) for cells in np.split(ligands, bounds[1:-1]) if len(cells)]
    where = np.flatnonzero(np.diff(bounds)) % len(snapshots.populations)
    mean = pd.DataFrame(each).groupby(where).mean().to_numpy()
    return snapshots.density[:, None] * mean


def _rows(snapshots: TypeSnapshots, receptors: np.ndarray, sent: np.ndarray) -> _Rows:
    mean = snapshots.mean()
    n_times, n_populations, n_types = snapshots.count.shape
    found = []
    for a in range(n_types):
        count = snapshots.count[:, :, a]
        for p in np.flatnonzero((count >= LEAST).sum(0) > 1):
            seen = np.flatnonzero(count[:, p] >= LEAST)
            taken = []
            for t in seen:
                group = np.ravel_multi_index((t, p, a), snapshots.count.shape)
                here = receptors[snapshots.start[group] : snapshots.start[group + 1]]
                z = here[:, None] * sent  # (cells, populations, pairs)
                taken.append((z / (1 + z)).mean(0))
            taken = np.stack(taken)
            place = mean[seen, p, a]
            n = count[seen, p]
            weight = 1 / np.sqrt(1 / n[:-1] + 1 / n[1:])[:, None]
            gap = weight * np.diff(snapshots.times[seen])[:, None]
            rows = _Rows(
                gap=gap * np.eye(n_types)[a],
                place=gap * (place[1:] + place[:-1]) / 2,
                change=weight * np.diff(place, axis=0),
                taken=gap[..., None] * (taken[1:] + taken[:-1]) / 2,
                population=np.full(len(gap), p),
            )
            found.append(rows)
    return _Rows(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _t_values(rows: _Rows, orders: np.ndarray) -> np.ndarray:  # (pairs, orders, genes)
    """Give the t of each pair, order and gene, given what all other pairs really do."""
    n_rows, n_populations, n_pairs = rows.taken.shape
    real = rows.taken[np.arange(n_rows), rows.population]  # (rows, pairs)
    real = real / _size(real)
    exchanged = np.eye(n_populations)[orders].reshape(len(orders), -1)  # by (to, from)

    def summed(products: np.ndarray) -> np.ndarray:  # (orders, columns)
        """Sum of products (rows, populations, columns) over rows, with exchanged ligands."""
        of = [products[rows.population == p].sum(0) for p in range(n_populations)]
        return exchanged @ np.concatenate(of)

    found = np.zeros((n_pairs, len(orders), rows.change.shape[1]))
    for k in range(n_pairs):
        x = rows.taken[:, :, k, None]  # (rows, populations, 1)
        others = np.delete(real, k, axis=1)
        squares = summed(x**2)[:, 0]
        with_others = summed(x * others[:, None])
        for g in range(rows.change.shape[1]):
            own = np.c_[rows.gap, -rows.place[:, g, None] * (rows.gap != 0)]
            own = own / _size(own)
            z = np.c_[own, others]
            penalties = np.repeat([UNPENALISED, PENALTY * n_pairs], [own.shape[1], n_pairs - 1])
            inverse = np.linalg.inv(z.T @ z + n_rows * np.diag(penalties))
            y = rows.change[:, g]
            residual = y - z @ inverse @ (z.T @ y)
            moved_and_own = summed(x * np.c_[residual, own][:, None])
            crossed = np.c_[moved_and_own[:, 1:], with_others]  # (orders, columns of z)
            size = squares - ((crossed @ inverse) * crossed).sum(1)
            along = moved_and_own[:, 0] / np.sqrt(np.maximum(size, 1e-12))
            left = np.maximum(y @ residual - along**2, 1e-12)  # with the pair, too
            found[k, :, g] = along / np.sqrt(left / n_rows)
    return found


def _size(columns: np.ndarray) -> np.ndarray:
    return np.sqrt((columns**2).mean(0)) + 1e-12


def pairs_recovered(*, permutations: int = 999, **options) -> dict:
    """Find the pairs of :func:`evidence.paracrine.paracrine`, whose options are passed on.

    Returns
    -------
    dict
        ``auprc`` of the score; of the pairs with a false-discovery rate of at most 0.1 the share
        that is ``false`` (0 if there are none), and the share of all active pairs that is ``found``
        among them; and ``seconds``.
    """
    adata = paracrine(**options)
    truth = adata.uns["scimf"]["truth"]
    active = truth["active"]
    plain = [(f"lig{k}", f"rec{k}") for k in range(len(active))]
    pairs = pd.DataFrame(truth.get("listed", plain), columns=["ligand", "receptor"])
    start = time.process_time()
    table = pairs_in_closed_form(adata, pairs, permutations=permutations)
    seconds = time.process_time() - start
    told = (table["q"] <= FALSE_DISCOVERIES).to_numpy()
    return {
        "auprc": float(average_precision_score(active, table["score"])),
        "false": float((told & ~active).sum() / max(told.sum(), 1)),
        "found": float(told[active].mean()),
        "seconds": seconds,
    }
