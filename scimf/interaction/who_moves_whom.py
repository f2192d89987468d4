"""Who moves whom, with certainty: strengths and signs of every pair of types, in about a second.

The closed form is :mod:`scimf.interaction.weak_form`, the p-values are those of
:mod:`scimf.interaction.permutation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scimf.dynamics.snapshots import KEY
from scimf.interaction.design_check import LEAST_POPULATIONS, strata
from scimf.interaction.permutation import edge_p_values
from scimf.interaction.type_means import TypeSnapshots, pair_table
from scimf.interaction.weak_form import FORMS, WeakForm, fit_weak_form, left_out
from scimf.interaction.who_grows_whom import Growth, who_multiplies_whom

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.data.space import Space

FRACTIONS = (1 / 6, 1 / 3, 2 / 3, 4 / 3)  #: kernel widths, of the median distance of two cells
MOST_CELLS = 1000  #: whose distances give that median


@dataclass(frozen=True)
class Interactions:
    """Who moves whom.

    Attributes
    ----------
    table
        One row for each ordered pair of types: ``receiver, sender, strength`` (above 0: pulled
        towards the sender, as a multiple of density times share times displacement), ``lo, hi`` (95
        % interval) and ``se`` (jackknife over populations), and ``p`` and ``q`` of the permutation
        test (Benjamini and Hochberg); NaN with fewer than six populations. Snapshots count as small
        parts of their populations: shares of types are known no better than by the cells measured.
    errors
        Error of populations left out by form of the interaction; the smallest was taken.
    kernels
        How strongly a sender pulls at a distance: one column per pair, ``receiver <- sender``.
    widths_from
        How the kernel widths were chosen, in words.
    growth
        Who makes whom divide or die, where the numbers of cells are known: ``obs["mass"]``. Where
        these multiply many-fold between two times, strengths can be far off.
    """

    table: pd.DataFrame
    errors: pd.Series
    kernels: pd.DataFrame = field(repr=False)
    widths_from: str
    model: WeakForm = field(repr=False)
    growth: Growth | None = field(repr=False, default=None)

    def matrix(self, column: str = "strength") -> pd.DataFrame:
        """Column of the table as a matrix, receivers by senders."""
        names = list(self.model.snapshots.types)
        square = self.table.pivot(index="receiver", columns="sender", values=column)
        return square.reindex(index=names, columns=names)

    def drift(self, adata: "AnnData") -> tuple[np.ndarray, np.ndarray]:
        """Own and interaction drift of each cell of the data it was fitted to, (cells, dim) each.

        The own drift is that of the cell's type at the place of the cell; what it receives is that
        of its type and snapshot.
        """
        model = self.model
        snapshots = model.snapshots
        constant, matrix = model.own()
        groups = np.arange(snapshots.count.size).repeat(np.diff(snapshots.start))
        kind = groups % len(snapshots.types)
        own = constant[kind] - np.einsum("nde,ne->nd", matrix[kind], snapshots.cells)
        received = model.received().sum(3).reshape(snapshots.count.size, -1)[groups]
        intrinsic, interaction = np.empty_like(own), np.empty_like(received)
        intrinsic[snapshots.rows] = own
        interaction[snapshots.rows] = received
        return intrinsic, interaction

    def moved_genes(self, space: "Space") -> pd.DataFrame:  # (pairs, genes)
        """Return what each sender does to the genes of a receiver, through the loadings.

        Mean over the observed receivers, in log-normalised expression per unit of time; ``space``
        is that of the coordinates. Of ready-made coordinates the columns are these.
        """
        snapshots = self.model.snapshots
        weight = snapshots.count / np.maximum(snapshots.count.sum((0, 1)), 1)
        moved = np.einsum("tpabd,tpa->abd", self.model.received(), weight)
        pairs = pd.MultiIndex.from_product([snapshots.types] * 2, names=["receiver", "sender"])
        flat = moved.reshape(len(pairs), -1)
        genes = space.decode(flat) - space.decode(np.zeros_like(flat))
        return pd.DataFrame(genes, index=pairs, columns=list(space.names))


def who_moves_whom(
    adata: "AnnData",
    *,
    form: str = "best",
    widths: Sequence[float] | None = None,
    permutations: int = 999,
    seed: int = 0,
    key: str = KEY,
) -> Interactions:
    """Read who moves whom from snapshots of several populations.

    Parameters
    ----------
    adata
        ``obs``: time, cell_type, population, and where known density (relative, one for each
        population) and mass (cells of a population relative to its start, one for each time; their
        density grows with it); coordinates in ``obsm[key]``: principal components, or named genes.
        Pass the cells of a window of time to read that window alone.
    form
        "towards" (the sender), "free" (each pair along a direction of its own), "count" (free, by
        the number of senders); "best": the one that predicts left-out populations best.
    widths
        Of the kernels, in the unit of the coordinates; by default fractions of the median distance
        between two cells of a snapshot.
    permutations, seed
        Of the p-values.

    Raises
    ------
    ValueError
        If there is one population only, or a type that is too rare; for an unknown form.
    """
    from scipy.stats import false_discovery_control, t

    if form not in ("best", *FORMS):
        raise ValueError(f"form={form!r}, expected 'best' or one of {FORMS}")
    snapshots = TypeSnapshots.of(adata, key=key)
    if len(snapshots.populations) < 2:
        raise ValueError(
            "obs['population']: there is one population, so that what a cell receives always comes "
            "together with its own drift; expected several of different composition"
        )
    growth = None
    if "mass" in adata.obs:
        growth = who_multiplies_whom(adata, permutations=permutations, seed=seed)
        snapshots = replace(snapshots, share=growth.snapshots.share)  # without their noise
    widths, widths_from = _widths(snapshots, widths)
    forms = FORMS if form == "best" else (form,)
    models = {name: fit_weak_form(snapshots, form=name, widths=widths) for name in forms}
    errors = pd.Series({name: model.error for name, model in models.items()}, name="error")
    model = models[errors.idxmin()]
    strength = model.strengths()
    se = _standard_errors(model)
    half = t.ppf(0.975, len(snapshots.populations) - 1) * se  # a t interval over populations
    p = np.full(strength.shape, np.nan)
    if len(snapshots.populations) >= LEAST_POPULATIONS:
        p = edge_p_values(snapshots, strata=strata(adata), n=permutations, seed=seed)
    columns = {"strength": strength, "lo": strength - half, "hi": strength + half, "se": se, "p": p}
    table = pair_table(snapshots.types, **columns)
    table["q"] = np.nan
    if np.isfinite(table["p"]).all():
        table["q"] = false_discovery_control(table["p"])
    return Interactions(table, errors, _kernels(model), widths_from, model, growth)


def _widths(
    snapshots: TypeSnapshots, widths: Sequence[float] | None
) -> tuple[tuple[float, ...], str]:
    if widths is not None:
        return tuple(map(float, widths)), "as given"
    bounds = snapshots.start[:: len(snapshots.types)]
    largest = int(np.argmax(np.diff(bounds)))
    cells = snapshots.cells[bounds[largest] : bounds[largest + 1]]
    cells = cells[:: max(1, len(cells) // MOST_CELLS)]
    from scipy.spatial.distance import pdist

    median = float(np.median(pdist(cells)))
    fractions = ", ".join(f"{fraction:.2g}" for fraction in FRACTIONS)
    words = f"{fractions} of {median:.3g}, the median distance of two cells of the largest snapshot"
    return tuple(fraction * median for fraction in FRACTIONS), words


def _standard_errors(model: WeakForm) -> np.ndarray:  # (receiver, sender)
    """Jackknife: every population is left out once."""
    n = len(model.snapshots.populations)
    each = left_out(model.equations, model.penalties, n)
    return np.sqrt((n - 1) * np.var([model.strengths(found) for found in each], axis=0))


def _kernels(model: WeakForm, n: int = 50) -> pd.DataFrame:
    """Pull of each sender at each distance; empty unless the form is "towards"."""
    if model.form != "towards":
        return pd.DataFrame()
    distance = np.linspace(0, 2 * max(model.widths), n)
    values = [np.ones(n), *(np.exp(-(distance**2) / (2 * width**2)) for width in model.widths)]
    types = model.snapshots.types
    beta = model.interaction(model.coefficients).reshape(len(types), len(types), -1)
    columns = {}
    for a, receiver in enumerate(types):
        for b, sender in enumerate(types):
            if a != b:
                columns[f"{receiver} <- {sender}"] = beta[a, b] @ np.stack(values)
    return pd.DataFrame(columns, index=pd.Index(distance, name="distance"))
