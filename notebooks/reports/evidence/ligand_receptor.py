r"""Tables of ligand-receptor pairs, and what a trained network makes of a pair.

A ligand matters through its receptor only if the message depends on both **together**. So the score
of a pair (l, r) in a trained model is the length of the mixed derivative of the interaction drift:
raise ligand l in the senders and receptor r in the receiver,

.. math:: D_{lr} = s_l s_r \Bigl\langle
          \frac{\partial^2 f_\text{interaction}(x_i, \mu)}{\partial \lambda_l\, \partial \rho_r}
          \Bigr\rangle_i ,

a vector of coordinates per unit of real time; :math:`s` is the s.d. of the gene, so that genes
compare. The closed form (:mod:`evidence.pairs`) has taken its place; it is kept as the number that
the closed form stands beside.
"""

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scimf.data import registry
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY, contexts
from torch import Tensor

if TYPE_CHECKING:
    from anndata import AnnData
    from scimf.dynamics.model import InteractingSDE

SNAPSHOTS = 20  #: at most so many are averaged
LIANA = "liana:"  #: before the name of a resource of LIANA+
EXPRESSED = 0.1  #: least share of the cells of some type in which a pair's two sides are there


# -------------------------------------------------------------------------------------------- pairs


def load_pairs(name: str = "cellphonedb", genes: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table of ligand-receptor pairs; keep those made of ``genes``.

    ``name``: of a registered table, or, where LIANA+ is installed, "liana:consensus" or another of
    its resources ("liana:mouseconsensus").

    Symbols are matched exactly, else **by letter case only** (human ``TGFB1`` to mouse ``Tgfb1``).
    That is an approximation of orthology: genes whose names differ otherwise between species are
    lost. Pairs with a gene on both sides (homophilic) are left out: who sends receives.

    Returns
    -------
    DataFrame
        ``ligand, receptor``; symbols as in ``genes``, subunits of a complex joined by ``_``.
        ``attrs``: ``source``, ``matching`` and ``n_table`` (pairs before any was dropped).

    Raises
    ------
    DataUnavailable
        LIANA+ is not installed; see also :func:`scimf.data.registry.fetch`.
    ValueError
        ``name`` is not a table of pairs, or none of its symbols is among ``genes``.
    """
    table = _table(name)
    genes = list(genes)
    known = {gene.lower(): gene for gene in reversed(genes)}
    known |= {gene: gene for gene in genes}
    symbols = "_".join([*table["ligand"], *table["receptor"]]).split("_")
    if genes and not any(symbol in known or symbol.lower() in known for symbol in symbols):
        raise ValueError(
            f"{name}: nothing matched: none of its symbols, such as {symbols[0]!r}, is among the "
            f"{len(genes)} genes, such as {genes[0]!r}; expected gene symbols as names of genes"
        )
    found = []
    for ligand, receptor in table[["ligand", "receptor"]].itertuples(index=False):
        sends = _known_subunits(ligand, known)
        receives = _known_subunits(receptor, known)
        if sends and receives and not set(sends) & set(receives):
            found.append(("_".join(sends), "_".join(receives)))
    pairs = pd.DataFrame(found, columns=["ligand", "receptor"])
    pairs = pairs.drop_duplicates(["ligand", "receptor"], ignore_index=True)
    matching = "symbols matched exactly, else by letter case only: an approximation of orthology"
    pairs.attrs = {"source": name, "matching": matching, "n_table": len(table)}
    return pairs


def _table(name: str) -> pd.DataFrame:
    """All pairs of a table: ``ligand, receptor``."""
    if name.startswith(LIANA):
        try:
            resource = importlib.import_module("liana.resource")
        except ImportError:
            missing = f"{name}: LIANA+ is not installed: pip install liana"
            raise registry.DataUnavailable(missing) from None
        return resource.select_resource(name.removeprefix(LIANA)).astype(str)
    tables = [key for key, entry in registry.entries().items() if entry["form"] == "pairs"]
    if name not in tables:
        expected = f"expected one of {tables}, or {LIANA}consensus"
        raise ValueError(f"{name!r} is not a table of ligand-receptor pairs, {expected}")
    table = pd.read_csv(registry.fetch(name)[0], index_col=0, dtype=str, keep_default_na=False)
    return table.rename(columns={"0": "ligand", "1": "receptor"})


def _known_subunits(side: str, known: dict[str, str]) -> list[str]:
    """Genes of one side of a pair as the data write them; none if one of them is not there."""
    found = []
    for symbol in side.split("_"):
        gene = known.get(symbol, known.get(symbol.lower()))
        if gene is None:
            return []
        found.append(gene)
    return found


def expressed(adata: "AnnData", pairs: pd.DataFrame) -> pd.DataFrame:
    """Keep pairs whose sides are both in at least a tenth of the cells of some type.

    Of a complex every subunit has to be in the cell. ``adata``: genes in ``X``, types in ``obs``.
    """
    genes = adata.to_df() > 0
    sides = {}
    for side in sorted({*pairs["ligand"], *pairs["receptor"]}):
        sides[side] = genes[side.split("_")].all(axis=1)
    kinds = adata.obs["cell_type"].astype(str).to_numpy()
    share = pd.DataFrame(sides).groupby(kinds).mean().max()
    is_there = (share[pairs["ligand"]] >= EXPRESSED).to_numpy()
    is_there &= (share[pairs["receptor"]] >= EXPRESSED).to_numpy()
    return pairs[is_there].reset_index(drop=True)


# ------------------------------------------------------------------------- in a trained network


def pair_scores(
    model: FittedSDE, adata: "AnnData", ligands: Iterable[str], receptors: Iterable[str]
) -> pd.DataFrame:
    """Length of :math:`D_{lr}` for all ligands (columns) and receptors (rows), additive form.

    All cells send and receive, a receiver from its own copy, too; at most 20 snapshots, drawn at
    random, are averaged.

    Raises
    ------
    KeyError
        If a gene is not among those of the space.
    """
    at_senders = _gene_directions(model, adata, ligands)
    at_receiver = _gene_directions(model, adata, receptors)
    mixed = _mixed_derivative(model, adata)
    moved = np.einsum("drs,ar,bs->abd", mixed, at_receiver, at_senders, optimize=True)
    lengths = np.linalg.norm(moved, axis=-1)
    return pd.DataFrame(lengths, index=list(receptors), columns=list(ligands))


def _gene_directions(
    model: FittedSDE, adata: "AnnData", genes: Iterable[str]
) -> np.ndarray:  # (genes, dim)
    """How the coordinates move when a gene rises by one s.d. of its expression in ``adata``."""
    space = model.space
    rows = pd.Index(space.names).get_indexer(list(genes))
    if (rows < 0).any():
        lost = [gene for gene, row in zip(genes, rows, strict=True) if row < 0]
        raise KeyError(f"{lost} not among the {len(space.names)} genes of the space")
    loadings = np.eye(len(space.names))
    if len(space.components):
        loadings = space.components.T / space.scale[:, None]
    return loadings[rows] * space.expression(adata).std(0)[rows, None]


def _mixed_derivative(
    model: FittedSDE, adata: "AnnData"
) -> np.ndarray:  # (dim, dim of the receiver, dim of the senders)
    """Mean mixed derivative of the interaction drift, data coordinates per unit of real time."""
    time = adata.obs["time"].to_numpy(float)
    groups = [(rows, density) for rows, density in contexts(adata) if len(rows) > 1]
    total = 0.0
    chosen = np.random.default_rng(0).permutation(len(groups))[:SNAPSHOTS]
    for k in chosen:
        rows, density = groups[k]
        x = model.standardiser.transform(np.asarray(adata.obsm[KEY])[rows]).to(model.device)
        part = density * _mixed_of_additive(model.sde, x).cpu().numpy()
        total = total + part * model.time_scale.rate(time[rows[0]]) / model.standardiser.scale
    return total / len(chosen)


def _mixed_of_additive(
    sde: "InteractingSDE", x: Tensor
) -> Tensor:  # (dim, dim of the receiver, dim of the senders), network units
    r"""Exactly :math:`\sum_r \langle\partial q_r\rangle \langle\partial v_r\rangle`."""
    (form,) = sde.interaction

    def mean_slope(network: torch.nn.Module) -> Tensor:  # (outputs, dim)
        return torch.func.jacfwd(lambda shift: network(x + shift).mean(0))(x.new_zeros(x.shape[1]))

    with torch.no_grad():
        receiving = mean_slope(form.receive).unflatten(0, (form.rank, -1))  # (rank, dim, dim)
        return torch.einsum("kdr,ks->drs", receiving, mean_slope(form.send))
