r"""From who moves whom to which genes: ligand-receptor pairs that agree with what the model hears.

A ligand matters through its receptor only if the message depends on both **together**. So the score of a pair (l, r) is
the length of the mixed derivative of the heard drift: raise ligand l in the senders and receptor r in the receiver,

.. math:: D_{lr} = s_l s_r \Bigl\langle \frac{\partial^2 f_\text{heard}(x_i, \mu)}{\partial \lambda_l\, \partial \rho_r}
          \Bigr\rangle_i ,

a vector of coordinates per unit of real time; :math:`s` is the s.d. of the gene, so that genes compare. Genes are
reached through the loadings of the space: with few components, genes that vary together cannot be told apart. A score
therefore means nothing by itself; it stands beside random pairs matched in expression, and those beside the same
numbers of an untrained model (:func:`scimf.interpret.untrained`).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy.stats import false_discovery_control
from torch.nn.attention import SDPBackend, sdpa_kernel

from scimf import registry
from scimf.fitted import FittedSDE
from scimf.snapshots import KEY, contexts

if TYPE_CHECKING:
    from anndata import AnnData

    from scimf.preprocess import Space
    from scimf.sde import InteractingSDE

STEP = 0.05  #: of the difference quotient along the senders, in network units (s.d. of the cells)
REACH = 25  #: ranks of mean expression within which a random gene counts as alike
SIGNIFICANT = 0.05  #: false discovery rate at which a pair counts as found


# -------------------------------------------------------------------------------------- pairs and genes


def load_pairs(name: str = "cellphonedb", genes: Iterable[str] = ()) -> pd.DataFrame:
    """Read a registered table of ligand-receptor pairs and keep those all of whose subunits are among ``genes``.

    Symbols are matched exactly, else **by letter case only** (human ``TGFB1`` to mouse ``Tgfb1``). That is an
    approximation of orthology: genes whose names differ otherwise between species are lost. Pairs with a gene on both
    sides (homophilic) are left out, because no matched random pair is like them.

    Returns
    -------
    DataFrame
        ``ligand, receptor, kind``; symbols as in ``genes``, subunits of a complex joined by ``_``. ``attrs``:
        ``source``, ``matching`` and ``n_table`` (pairs before any was dropped).

    Raises
    ------
    ValueError
        If ``name`` is not a table of pairs; see also :func:`scimf.registry.fetch`.
    """
    tables = [key for key, entry in registry.entries().items() if entry["form"] == "pairs"]
    if name not in tables:
        raise ValueError(f"{name!r} is not a table of ligand-receptor pairs, expected one of {tables}")
    table = pd.read_csv(registry.fetch(name)[0], index_col=0, dtype=str, keep_default_na=False)
    genes = list(genes)
    known = {gene.lower(): gene for gene in reversed(genes)} | {gene: gene for gene in genes}

    found = []
    for ligand, receptor, kind in table[["0", "1", "3"]].itertuples(index=False):
        sides = [[known.get(part, known.get(part.lower())) for part in side.split("_")] for side in (ligand, receptor)]
        if None not in sides[0] + sides[1] and not set(sides[0]) & set(sides[1]):
            found.append(("_".join(sides[0]), "_".join(sides[1]), kind))
    pairs = pd.DataFrame(found, columns=["ligand", "receptor", "kind"])
    pairs = pairs.drop_duplicates(["ligand", "receptor"], ignore_index=True)
    matching = "symbols matched exactly, else by letter case only: an approximation of orthology"
    pairs.attrs = {"source": name, "matching": matching, "n_table": len(table)}
    return pairs


def _subunits(space: "Space", genes: Iterable[str]) -> list[list[int]]:  # positions among the genes of the space
    index, found = pd.Index(space.names), []
    for gene in genes:
        parts = [gene] if gene in index else gene.split("_")
        if missing := [part for part in parts if part not in index]:
            raise KeyError(f"{gene!r}: {missing} not among the {len(index)} genes of the space")
        found.append(index.get_indexer(parts).tolist())
    return found


def gene_directions(space: "Space", adata: "AnnData", genes: Iterable[str]) -> np.ndarray:  # (genes, dim)
    """How the coordinates move when a gene rises by one s.d. of its expression in ``adata``.

    A complex ``A_B`` is the mean of its subunits.

    Raises
    ------
    KeyError
        If a gene is not among those of the space.
    """
    parts = _subunits(space, genes)
    loadings = space.components.T / space.scale[:, None] if len(space.components) else np.eye(len(space.names))
    each = loadings * space.expression(adata).std(0)[:, None]
    return np.array([each[rows].mean(0) for rows in parts])


# -------------------------------------------------------------------------------------- what the model hears


def mixed_derivative(
    model: FittedSDE,
    adata: "AnnData",
    *,
    receivers: np.ndarray | None = None,
    senders: np.ndarray | None = None,
    times: Iterable[float] | None = None,
    snapshots: int = 20,
    seed: int = 0,
) -> np.ndarray:  # (dim, dim of the receiver, dim of the senders)
    """Mean mixed derivative of the heard drift, data coordinates per unit of real time.

    Exact for the additive form. Else an exact derivative along the receiver, a difference over 0.05 s.d. along the
    senders (the published attention has kinks, where that matters). Senders move together, whatever their share: rare
    senders count for little. A receiver hears all cells, its own copy among them.

    Parameters
    ----------
    receivers, senders
        (cells,) booleans: whose drift is averaged, and whose coordinates move; all cells by default. The others stay
        in the snapshot and are heard as they are.
    times
        Real times; all by default.
    snapshots
        At most so many snapshots with both receivers and senders, drawn with ``seed``.

    Raises
    ------
    ValueError
        If no snapshot has both.
    """
    hears = np.ones(adata.n_obs, bool) if receivers is None else np.asarray(receivers, bool)
    says = np.ones(adata.n_obs, bool) if senders is None else np.asarray(senders, bool)
    time = adata.obs["time"].to_numpy(float)
    wanted = np.unique(time).tolist() if times is None else [float(t) for t in times]
    groups = [
        (rows, density)
        for rows, density in contexts(adata)
        if time[rows[0]] in wanted and len(rows) > 1 and hears[rows].any() and says[rows].any()
    ]
    if not groups:
        raise ValueError(f"receivers, senders: no snapshot at times {wanted} holds both")
    chosen = np.random.default_rng(seed).permutation(len(groups))[:snapshots]
    of_snapshot, total = _mixed_of_additive if model.config.interaction == "additive" else _mixed_of_snapshot, 0.0
    for rows, density in (groups[k] for k in chosen):
        x = model.units.enter(np.asarray(adata.obsm[KEY])[rows]).to(model.device)
        part = of_snapshot(model.sde, x, density, *(torch.as_tensor(m[rows]).to(x) for m in (hears, says)))
        total = total + part.cpu().numpy() * model.clock.rate(time[rows[0]]) / model.units.scale
    return total / len(chosen)


def _mixed_of_snapshot(
    sde: "InteractingSDE", x: torch.Tensor, density: float, hears: torch.Tensor, says: torch.Tensor
) -> torch.Tensor:  # (dim, dim, dim), network units
    """As :func:`mixed_derivative`; ``hears`` and ``says`` (cells,) are 0 or 1."""
    dense = x.new_full((2,), density)
    home = torch.tensor([1, 1], device=x.device)  # both groups hear the second, whose senders are shifted

    def heard(at_receiver: torch.Tensor, at_senders: torch.Tensor) -> torch.Tensor:
        both = torch.stack([x + at_receiver, x + says[:, None] * at_senders])
        return hears @ sde.heard(both, density=dense, hears=home)[0] / hears.sum()

    slope = torch.func.jacfwd(heard, 0)  # a second forward derivative of SiLU does not exist in torch 2.13
    zero, steps = x.new_zeros(x.shape[1]), STEP * torch.eye(x.shape[1]).to(x)
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():  # the fused kernels have no forward derivative
        return torch.stack([(slope(zero, h) - slope(zero, -h)) / (2 * STEP) for h in steps], -1)


def _mixed_of_additive(
    sde: "InteractingSDE", x: torch.Tensor, density: float, hears: torch.Tensor, says: torch.Tensor
) -> torch.Tensor:  # (dim, dim, dim), network units
    r"""Do the same for the additive form: :math:`s \sum_r \langle\partial q_r\rangle \langle\partial v_r\rangle`."""
    (form,) = sde.interaction

    def mean_slope(network: torch.nn.Module, weight: torch.Tensor) -> torch.Tensor:  # (outputs, dim)
        return torch.func.jacfwd(lambda shift: weight @ network(x + shift))(x.new_zeros(x.shape[1]))

    with torch.no_grad():
        receive = mean_slope(form.receive, hears / hears.sum()).unflatten(0, (form.rank, -1))
        return density * torch.einsum("kdr,ks->drs", receive, mean_slope(form.send, says / len(x)))


def pair_scores(
    model: FittedSDE, adata: "AnnData", ligands: Iterable[str], receptors: Iterable[str], **options
) -> pd.DataFrame:
    """Length of :math:`D_{lr}` for all ligands (columns) and receptors (rows); options of :func:`mixed_derivative`."""
    ligands, receptors = list(ligands), list(receptors)
    at_senders, at_receiver = (gene_directions(model.space, adata, genes) for genes in (ligands, receptors))
    mixed = mixed_derivative(model, adata, **options)
    moved = np.einsum("drs,ar,bs->abd", mixed, at_receiver, at_senders, optimize=True)
    return pd.DataFrame(np.linalg.norm(moved, axis=-1), index=receptors, columns=ligands)


# -------------------------------------------------------------------------------------- against chance


def pairs_against_random(
    model: FittedSDE, adata: "AnnData", pairs: pd.DataFrame, *, n_random: int = 2000, seed: int = 0, **options
) -> pd.DataFrame:
    """Score listed pairs, each beside random pairs of genes that are expressed alike.

    Every subunit is replaced by a gene within 25 ranks of its mean expression. A random pair is no listed pair and has
    no gene twice.

    Parameters
    ----------
    pairs
        Columns ``ligand`` and ``receptor``, as from :func:`load_pairs`.
    n_random
        Random pairs for each listed pair: the smallest p is 1 / (n_random + 1).
    **options
        Of :func:`mixed_derivative`.

    Returns
    -------
    DataFrame
        ``ligand, receptor, score, p, q``, highest score first. ``p``: share of its own random pairs, itself counted
        in, with at least that score; ``q``: false discovery rate (Benjamini-Hochberg). ``attrs``: ``auroc``, all listed
        against all random pairs (chance is 0.5), and ``found``, the share of listed pairs with q of at most 0.05.

    Raises
    ------
    KeyError
        If a gene is not among those of the space.
    ValueError
        If there is no pair, or no unlisted pair of genes that are expressed alike.
    """
    from sklearn.metrics import roc_auc_score

    if not len(pairs):
        raise ValueError("pairs: expected at least one ligand-receptor pair")
    space, rng = model.space, np.random.default_rng(seed)
    listed = list(zip(_subunits(space, pairs["ligand"]), _subunits(space, pairs["receptor"]), strict=True))
    directions = gene_directions(space, adata, space.names)
    order = np.argsort(space.expression(adata).mean(0), kind="stable")
    mixed = mixed_derivative(model, adata, seed=seed, **options)

    def score(ligands: np.ndarray, receptors: np.ndarray) -> np.ndarray:  # (pairs, subunits) each -> (pairs,)
        at_senders, at_receiver = (directions[rows].mean(1) for rows in (ligands, receptors))
        moved = np.einsum("ads,as->ad", np.einsum("drs,ar->ads", mixed, at_receiver, optimize=True), at_senders)
        return np.linalg.norm(moved, axis=-1)

    values = np.array([score(np.array([ligand]), np.array([receptor]))[0] for ligand, receptor in listed])
    null = np.array([score(*matched_random(pair, listed, order, n_random, rng)) for pair in listed])
    p = (1 + (null >= values[:, None]).sum(1)) / (n_random + 1)
    found = pairs[["ligand", "receptor"]].assign(score=values, p=p, q=false_discovery_control(p))
    found = found.sort_values("score", ascending=False, ignore_index=True)
    is_listed = np.repeat([1, 0], [len(values), null.size])
    auroc = roc_auc_score(is_listed, np.concatenate([values, null.ravel()]))
    found.attrs = {**pairs.attrs, "auroc": float(auroc), "found": float((found["q"] <= SIGNIFICANT).mean())}
    return found


def matched_random(
    pair: tuple[list[int], list[int]], listed: Sequence[tuple], order: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` random pairs like ``pair``: (n, subunits) ligands and receptors, as positions of genes.

    ``order``: positions by rising mean expression; ``listed``: pairs that must not be drawn.
    """
    rank, forbidden = np.argsort(order), {(frozenset(a), frozenset(b)) for a, b in listed}
    centre, cut, kept = rank[[*pair[0], *pair[1]]], len(pair[0]), []
    low, high = np.maximum(centre - REACH, 0), np.minimum(centre + REACH + 1, len(order))
    for _ in range(100):
        for genes in order[rng.integers(low, high, size=(n, len(centre)))].tolist():
            once = len(set(genes)) == len(genes)
            if once and (frozenset(genes[:cut]), frozenset(genes[cut:])) not in forbidden:
                kept.append(genes)
        if len(kept) >= n:
            drawn = np.array(kept[:n])
            return drawn[:, :cut], drawn[:, cut:]
    raise ValueError(f"pairs: too few unlisted pairs of the {len(order)} genes within {REACH} ranks of expression")
