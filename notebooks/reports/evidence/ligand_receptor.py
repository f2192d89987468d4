"""Tables of ligand-receptor pairs, and which of them some data express."""

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd
from scimf.data import registry

if TYPE_CHECKING:
    from anndata import AnnData

LIANA = "liana:"  #: before the name of a resource of LIANA+
EXPRESSED = 0.1  #: least share of the cells of some type in which a pair's two sides are there


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
