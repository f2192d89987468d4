r"""From who moves whom to which genes: ligand-receptor pairs that a model agrees with.

A ligand matters through its receptor only if the message depends on both **together**. So the score
of a pair (l, r) is the length of the mixed derivative of the interaction drift: raise ligand l in
the senders and receptor r in the receiver,

.. math:: D_{lr} = s_l s_r \Bigl\langle
          \frac{\partial^2 f_\text{interaction}(x_i, \mu)}{\partial \lambda_l\, \partial \rho_r}
          \Bigr\rangle_i ,

a vector of coordinates per unit of real time; :math:`s` is the s.d. of the gene, so that genes
compare. Genes are reached through the loadings of the space: with few components, genes that vary
together cannot be told apart. A score therefore means nothing by itself; it stands beside random
pairs matched in expression, and those beside the same numbers of an untrained model
(:func:`scimf.interaction.influence.untrained`).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scimf.data import registry
from scimf.dynamics.fitted import FittedSDE
from scimf.dynamics.snapshots import KEY, contexts
from scipy.stats import false_discovery_control
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from anndata import AnnData
    from scimf.data.space import Space
    from scimf.dynamics.model import InteractingSDE

STEP = 0.05  #: of the difference quotient along the senders, in network units (s.d. of the cells)
REACH = 25  #: ranks of mean expression within which a random gene counts as alike
SIGNIFICANT = 0.05  #: false discovery rate at which a pair counts as found
#: Subunits of a ligand and of a receptor, as positions among the genes of the space.
Pair = tuple[list[int], list[int]]


# -------------------------------------------------------------------------------------------- pairs


def load_pairs(name: str = "cellphonedb", genes: Iterable[str] = ()) -> pd.DataFrame:
    """Read a registered table of ligand-receptor pairs; keep those made of ``genes``.

    Symbols are matched exactly, else **by letter case only** (human ``TGFB1`` to mouse ``Tgfb1``).
    That is an approximation of orthology: genes whose names differ otherwise between species are
    lost. Pairs with a gene on both sides (homophilic) are left out: who sends receives.

    Returns
    -------
    DataFrame
        ``ligand, receptor, kind``; symbols as in ``genes``, subunits of a complex joined by ``_``.
        ``attrs``: ``source``, ``matching`` and ``n_table`` (pairs before any was dropped).

    Raises
    ------
    ValueError
        If ``name`` is not a table of pairs, or if none of its symbols is among ``genes``; see also
        :func:`scimf.data.registry.fetch`.
    """
    tables = [key for key, entry in registry.entries().items() if entry["form"] == "pairs"]
    if name not in tables:
        expected = f"expected one of {tables}"
        raise ValueError(f"{name!r} is not a table of ligand-receptor pairs, {expected}")
    table = pd.read_csv(registry.fetch(name)[0], index_col=0, dtype=str, keep_default_na=False)
    genes = list(genes)
    known = {gene.lower(): gene for gene in reversed(genes)}
    known |= {gene: gene for gene in genes}
    symbols = "_".join([*table["0"], *table["1"]]).split("_")
    if genes and not any(symbol in known or symbol.lower() in known for symbol in symbols):
        raise ValueError(
            f"{name}: nothing matched: none of its symbols, such as {symbols[0]!r}, is among the "
            f"{len(genes)} genes, such as {genes[0]!r}; expected gene symbols as names of genes"
        )
    found = []
    for ligand, receptor, kind in table[["0", "1", "3"]].itertuples(index=False):
        sends = _known_subunits(ligand, known)
        receives = _known_subunits(receptor, known)
        if sends and receives and not set(sends) & set(receives):
            found.append(("_".join(sends), "_".join(receives), kind))
    pairs = pd.DataFrame(found, columns=["ligand", "receptor", "kind"])
    pairs = pairs.drop_duplicates(["ligand", "receptor"], ignore_index=True)
    matching = "symbols matched exactly, else by letter case only: an approximation of orthology"
    pairs.attrs = {"source": name, "matching": matching, "n_table": len(table)}
    return pairs


def _known_subunits(side: str, known: dict[str, str]) -> list[str]:
    """Genes of one side of a pair as the data write them; none if one of them is not there."""
    found = []
    for symbol in side.split("_"):
        gene = known.get(symbol, known.get(symbol.lower()))
        if gene is None:
            return []
        found.append(gene)
    return found


# -------------------------------------------------------------------------------------------- genes


def _subunits(space: "Space", genes: Iterable[str]) -> list[list[int]]:
    """Positions of the subunits of each gene or complex among the genes of the space."""
    index = pd.Index(space.names)
    found = []
    for gene in genes:
        parts = [gene] if gene in index else gene.split("_")
        if missing := [part for part in parts if part not in index]:
            raise KeyError(f"{gene!r}: {missing} not among the {len(index)} genes of the space")
        found.append(index.get_indexer(parts).tolist())
    return found


def _gene_directions(
    space: "Space", adata: "AnnData", genes: Iterable[str]
) -> np.ndarray:  # (genes, dim)
    """How the coordinates move when a gene rises by one s.d. of its expression in ``adata``.

    A complex ``A_B`` is the mean of its subunits.
    """
    parts = _subunits(space, genes)
    loadings = np.eye(len(space.names))
    if len(space.components):
        loadings = space.components.T / space.scale[:, None]
    each = loadings * space.expression(adata).std(0)[:, None]
    return np.array([each[rows].mean(0) for rows in parts])


# ----------------------------------------------------------------------------- the mixed derivative


def _mixed_derivative(
    model: FittedSDE,
    adata: "AnnData",
    *,
    receivers: np.ndarray | None = None,
    senders: np.ndarray | None = None,
    times: Iterable[float] | None = None,
    snapshots: int = 20,
    seed: int = 0,
) -> np.ndarray:  # (dim, dim of the receiver, dim of the senders)
    """Mean mixed derivative of the interaction drift, data coordinates per unit of real time.

    Exact for the additive form. Else an exact derivative along the receiver, a difference over 0.05
    s.d. along the senders (the published attention has kinks, where that matters). Senders move
    together, whatever their share: rare senders count for little. A receiver receives from all
    cells, its own copy among them. Arguments as for :func:`pair_scores`.
    """
    everybody = np.ones(adata.n_obs, bool)
    receives = everybody if receivers is None else np.asarray(receivers, bool)
    sends = everybody if senders is None else np.asarray(senders, bool)
    time = adata.obs["time"].to_numpy(float)
    wanted = np.unique(time).tolist() if times is None else [float(t) for t in times]
    groups = []
    for rows, density in contexts(adata):
        holds_both = receives[rows].any() and sends[rows].any()
        if holds_both and len(rows) > 1 and time[rows[0]] in wanted:
            groups.append((rows, density))
    if not groups:
        raise ValueError(f"receivers, senders: no snapshot at times {wanted} holds both")
    additive = model.config.interaction == "additive"
    derive = _mixed_of_additive if additive else _mixed_of_any
    total = 0.0
    chosen = np.random.default_rng(seed).permutation(len(groups))[:snapshots]
    for k in chosen:
        rows, density = groups[k]
        x = model.standardiser.transform(np.asarray(adata.obsm[KEY])[rows]).to(model.device)
        receiving = torch.as_tensor(receives[rows]).to(x)
        sending = torch.as_tensor(sends[rows]).to(x)
        part = derive(model.sde, x, density, receiving, sending).cpu().numpy()
        total = total + part * model.time_scale.rate(time[rows[0]]) / model.standardiser.scale
    return total / len(chosen)


def _mixed_of_any(
    sde: "InteractingSDE", x: Tensor, density: float, receives: Tensor, sends: Tensor
) -> Tensor:  # (dim, dim of the receiver, dim of the senders), network units
    """Differentiate in one snapshot x (cells, dim); ``receives``, ``sends`` (cells,) are 0 or 1."""
    dense = x.new_full((2,), density)
    context = torch.tensor([1, 1], device=x.device)  # from the second group, whose senders move

    def message(at_receiver: Tensor, at_senders: Tensor) -> Tensor:
        both = torch.stack([x + at_receiver, x + sends[:, None] * at_senders])
        drift = sde.interaction_drift(both, density=dense, context=context)[0]
        return receives @ drift / receives.sum()  # (dim,)

    # Only one derivative: a second forward derivative of SiLU does not exist in torch 2.13.
    slope = torch.func.jacfwd(message, 0)
    zero = x.new_zeros(x.shape[1])
    found = []
    # The fused kernels of attention have no forward derivative.
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        for step in STEP * torch.eye(x.shape[1]).to(x):
            found.append((slope(zero, step) - slope(zero, -step)) / (2 * STEP))
    return torch.stack(found, -1)


def _mixed_of_additive(
    sde: "InteractingSDE", x: Tensor, density: float, receives: Tensor, sends: Tensor
) -> Tensor:  # (dim, dim of the receiver, dim of the senders), network units
    r"""Exactly :math:`s \sum_r \langle\partial q_r\rangle \langle\partial v_r\rangle`."""
    (form,) = sde.interaction

    def mean_slope(network: torch.nn.Module, weight: Tensor) -> Tensor:
        def weighted(shift: Tensor) -> Tensor:  # (dim,) -> (outputs,)
            return weight @ network(x + shift)

        return torch.func.jacfwd(weighted)(x.new_zeros(x.shape[1]))  # (outputs, dim)

    with torch.no_grad():
        receiving = mean_slope(form.receive, receives / receives.sum())
        sending = mean_slope(form.send, sends / len(x))  # (rank, dim)
    receiving = receiving.unflatten(0, (form.rank, -1))  # (rank, dim, dim)
    return density * torch.einsum("kdr,ks->drs", receiving, sending)


def pair_scores(
    model: FittedSDE, adata: "AnnData", ligands: Iterable[str], receptors: Iterable[str], **options
) -> pd.DataFrame:
    """Length of :math:`D_{lr}` for all ligands (columns) and receptors (rows).

    A complex ``A_B`` is the mean of its subunits.

    Parameters
    ----------
    **options
        What the derivative is averaged over. ``receivers, senders``: (cells,) booleans, whose drift
        and whose coordinates (all by default; the others stay in the snapshot and send as they
        are); ``times``: real times (all by default); ``snapshots=20``: at most so many with both
        receivers and senders, drawn with ``seed=0``.

    Raises
    ------
    KeyError, ValueError
        If a gene is not among those of the space; if no snapshot has both receivers and senders.
    """
    ligands = list(ligands)
    receptors = list(receptors)
    at_senders = _gene_directions(model.space, adata, ligands)
    at_receiver = _gene_directions(model.space, adata, receptors)
    mixed = _mixed_derivative(model, adata, **options)
    moved = np.einsum("drs,ar,bs->abd", mixed, at_receiver, at_senders, optimize=True)
    return pd.DataFrame(np.linalg.norm(moved, axis=-1), index=receptors, columns=ligands)


# ----------------------------------------------------------------------------------- against chance


def pairs_against_random(
    model: FittedSDE,
    adata: "AnnData",
    pairs: pd.DataFrame,
    *,
    n_random: int = 2000,
    seed: int = 0,
    **options,
) -> pd.DataFrame:
    """Score listed pairs, each beside random pairs of genes that are expressed alike.

    Every subunit is replaced by a gene within 25 ranks of its mean expression. A random pair is no
    listed pair and has no gene twice.

    Parameters
    ----------
    pairs
        Columns ``ligand`` and ``receptor``, as from :func:`load_pairs`.
    n_random, seed
        Random pairs for each listed pair, and their choice: the smallest p is 1 / (n_random + 1).
    **options
        Of :func:`pair_scores`.

    Returns
    -------
    DataFrame
        ``ligand, receptor, score, p, q``, highest score first. ``p``: share of its own random
        pairs, itself counted in, with at least that score; ``q``: false discovery rate
        (Benjamini-Hochberg). ``attrs``: ``auroc``, all listed against all random pairs (chance is
        0.5), and ``found``, the share of listed pairs with q of at most 0.05.

    Raises
    ------
    KeyError, ValueError
        As :func:`pair_scores`; if there is no pair, or no unlisted one of genes expressed alike.
    """
    if not len(pairs):
        raise ValueError("pairs: expected at least one ligand-receptor pair")
    space = model.space
    ligands = _subunits(space, pairs["ligand"])
    listed = list(zip(ligands, _subunits(space, pairs["receptor"]), strict=True))
    directions = _gene_directions(space, adata, space.names)
    order = np.argsort(space.expression(adata).mean(0), kind="stable")
    mixed = _mixed_derivative(model, adata, seed=seed, **options)
    rng = np.random.default_rng(seed)
    scores = []
    null = []
    for pair in listed:
        itself = [np.array([rows]) for rows in pair]
        scores.append(_lengths(mixed, directions, *itself)[0])
        alike = _matched_random(pair, listed, order, n_random, rng)
        null.append(_lengths(mixed, directions, *alike))
    return _table(pairs, np.array(scores), np.array(null))


def _lengths(
    mixed: np.ndarray, directions: np.ndarray, ligands: np.ndarray, receptors: np.ndarray
) -> np.ndarray:  # (pairs,)
    """Length of :math:`D_{lr}` of pairs given as positions of genes, (pairs, subunits) each."""
    at_senders = directions[ligands].mean(1)  # (pairs, dim)
    at_receiver = directions[receptors].mean(1)
    along_receiver = np.einsum("drs,ar->ads", mixed, at_receiver, optimize=True)
    moved = np.einsum("ads,as->ad", along_receiver, at_senders)
    return np.linalg.norm(moved, axis=-1)


def _table(pairs: pd.DataFrame, scores: np.ndarray, null: np.ndarray) -> pd.DataFrame:
    """Scores (pairs,) beside those of their random pairs (pairs, n_random)."""
    from sklearn.metrics import roc_auc_score

    p = (1 + (null >= scores[:, None]).sum(1)) / (null.shape[1] + 1)
    q = false_discovery_control(p)
    table = pairs[["ligand", "receptor"]].assign(score=scores, p=p, q=q)
    table = table.sort_values("score", ascending=False, ignore_index=True)
    is_listed = np.repeat([1, 0], [len(scores), null.size])
    auroc = float(roc_auc_score(is_listed, np.concatenate([scores, null.ravel()])))
    found = float((q <= SIGNIFICANT).mean())
    table.attrs = {**pairs.attrs, "auroc": auroc, "found": found}
    return table


def _matched_random(
    pair: Pair, listed: Sequence[Pair], order: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` random pairs like ``pair``: (n, subunits) ligands and receptors.

    ``order``: positions of genes by rising mean expression; ``listed``: pairs that must not be
    drawn.
    """
    forbidden = {(frozenset(ligand), frozenset(receptor)) for ligand, receptor in listed}
    cut = len(pair[0])
    centre = np.argsort(order)[[*pair[0], *pair[1]]]  # ranks of all subunits
    low = np.maximum(centre - REACH, 0)
    high = np.minimum(centre + REACH + 1, len(order))
    kept = []
    for _ in range(100):
        for genes in order[rng.integers(low, high, size=(n, len(centre)))].tolist():
            drawn = (frozenset(genes[:cut]), frozenset(genes[cut:]))
            if len(set(genes)) == len(genes) and drawn not in forbidden:
                kept.append(genes)
        if len(kept) >= n:
            found = np.array(kept[:n])
            return found[:, :cut], found[:, cut:]
    reach = f"of the {len(order)} genes within {REACH} ranks of expression"
    raise ValueError(f"pairs: too few unlisted pairs {reach}")
