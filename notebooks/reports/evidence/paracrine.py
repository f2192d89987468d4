"""A simulated system for one report: genes, among them ligands, receptors and many decoys."""

from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
from scimf.simulate.particles import SIMULATED, TYPE_NAMES, Sampling

N_TYPES = 4
N_ACTIVE = 3  #: pairs that signal
N_DECOYS = 20  #: pairs that do not
N_DECOYS_HARDER = 200
TREND = 0.3  #: s.d. of the rate at which a ligand rises or falls in a population, if it does
TIMES = (0.0, 0.5, 1.0, 1.5, 2.0)
DECAY = 0.7  #: rate at which genes relax to their level, per unit of time
STRENGTH = 3.0  #: of a signal that saturates
BETWEEN_CELLS = 0.5  #: s.d. of the logarithm of what a cell expresses of a ligand or receptor
DENSITIES = (0.5, 2.0)  #: range of the relative density of a population, log-uniform
SIGMA = 0.1  #: noise per square root of time
STEP = 0.1  #: largest Euler-Maruyama step


def paracrine(
    *, seed: int = 0, n_populations: int = 48, n_cells: int = 100, harder: bool = False
) -> ad.AnnData:
    r"""Genes, ligands and receptors: a few pairs signal, many more are expressed and do nothing.

    Intrinsic drift: every gene relaxes to its level in that cell, :math:`\gamma(\ell_{ig} - x_g)`,
    and a target pushes one programme gene (Hill). Interaction drift: with
    :math:`\bar L_i = s \cdot` mean ligand of the other cells, the two targets of an active pair get
    :math:`\text{strength} \cdot z^2 / (1 + z^2)`, :math:`z = R_i \bar L_i`. How decoys can be told
    from active pairs is in :class:`_Network` and :func:`_draw_levels`.

    Parameters
    ----------
    harder
        Ten times as many decoys; the first active pair needs a second receptor, that of the first
        decoy (the rarer of the two counts); every active receptor is listed with a decoy's ligand,
        too; and ligands rise or fall with time, in each population at rates of its own.

    Returns
    -------
    AnnData
        ``X`` (cells, genes): ``lig0...``, ``rec0...`` (pair k is ``lig{k}``, ``rec{k}``),
        ``tgt...``, ``prog...``; truth: ``active`` (pairs,), ``targets`` (gene names, active pairs x
        2), ``type_matrix`` (number of active pairs that the type of the column sends and that of
        the row receives); if ``harder`` also ``listed``, the ligand and the receptor of each pair.
    """
    rng = np.random.default_rng(seed)
    n_total = n_cells * len(TIMES)
    network = _Network.draw(rng, N_DECOYS_HARDER if harder else N_DECOYS)
    composition = rng.dirichlet(np.ones(N_TYPES), size=n_populations)
    density = np.exp(rng.uniform(*np.log(DENSITIES), size=n_populations))
    kind = np.stack([rng.choice(N_TYPES, size=n_total, p=p) for p in composition])
    level = _draw_levels(rng, network, kind)
    x = _draw_start(rng, network, level)
    trend = np.zeros((n_populations, 1, len(network.ligand)))
    if harder:
        network = replace(network, second=network.receptor[np.flatnonzero(~network.active)[0]])
        trend = rng.normal(0, TREND, trend.shape)

    def drift(x: np.ndarray, kind: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        now = level
        if harder:
            now = level.copy()
            now[..., network.ligand] *= np.exp(trend * t)
        return network.intrinsic_drift(x, now), network.interaction_drift(x, density)

    sampling = Sampling(sigma=SIGMA, step=STEP, times=TIMES, n_cells=n_cells)
    adata = sampling.measure(x, drift, rng=rng, kind=kind, density=density)
    adata.var_names = network.names
    truth = network.truth()
    adata.uns["scimf"] = {
        **SIMULATED,
        "name": "paracrine",
        "title": "Simulated gene network with ligands, receptors and decoys",
        "truth": {**truth, "composition": composition, "density": density, "sigma": SIGMA},
    }
    return adata


@dataclass(frozen=True)
class _Network:
    """Genes of :func:`paracrine`: which there are, which signal, and which type expresses them.

    A ligand or receptor is on in some types: patterns of a few types alone cannot tell active pairs
    from decoys, so levels differ from cell to cell, too.
    """

    names: list[str]
    ligand: np.ndarray  # (pairs,), columns of the state; so are the next three
    receptor: np.ndarray  # (pairs,)
    target: np.ndarray  # (2 x active pairs,)
    programme: np.ndarray  # (2 x types,)
    active: np.ndarray  # (pairs,) bool
    level: np.ndarray  # (types, genes)
    pushed: np.ndarray  # (2 x active pairs,), the programme gene that each target pushes
    second: int | None = None  # receptor that the first active pair needs, too

    @classmethod
    def draw(cls, rng: np.random.Generator, n_decoys: int) -> "_Network":
        n_pairs = N_ACTIVE + n_decoys
        names = []
        for kind, n in (("lig", n_pairs), ("rec", n_pairs), ("tgt", 2 * N_ACTIVE)):
            names += [f"{kind}{k}" for k in range(n)]
        programme = len(names) + np.arange(2 * N_TYPES)
        names += [f"prog{k}" for k in range(2 * N_TYPES)]
        active = np.zeros(n_pairs, dtype=bool)
        active[rng.choice(n_pairs, N_ACTIVE, replace=False)] = True
        level = np.full((N_TYPES, len(names)), 0.1)
        for gene in range(2 * n_pairs):  # ligands and receptors: on in one to all but one types
            on = rng.choice(N_TYPES, rng.integers(1, N_TYPES), replace=False)
            level[on, gene] = rng.uniform(1.0, 2.0, size=len(on))
        level[np.repeat(np.arange(N_TYPES), 2), programme] = 2.0
        return cls(
            names=names,
            ligand=np.arange(n_pairs),
            receptor=n_pairs + np.arange(n_pairs),
            target=2 * n_pairs + np.arange(2 * N_ACTIVE),
            programme=programme,
            active=active,
            level=level,
            pushed=rng.choice(programme, size=2 * N_ACTIVE),
        )

    def intrinsic_drift(self, x: np.ndarray, level: np.ndarray) -> np.ndarray:
        positive = np.maximum(x, 0)
        drift = DECAY * (level - x)
        for gene, pushed in zip(self.target, self.pushed, strict=True):
            squared = positive[..., gene] ** 2
            drift[..., pushed] += 0.3 * squared / (1 + squared)
        return drift

    def interaction_drift(self, x: np.ndarray, density: np.ndarray) -> np.ndarray:
        positive = np.maximum(x, 0)
        sent = positive[..., self.ligand[self.active]]  # (populations, cells, active pairs)
        of_others = sent.sum(1, keepdims=True) - sent
        around = density[:, None, None] * of_others / (x.shape[1] - 1)
        bound = (self.received_by(positive) * around) ** 2
        drift = np.zeros_like(x)
        drift[..., self.target] = np.repeat(STRENGTH * bound / (1 + bound), 2, axis=-1)
        return drift

    def received_by(self, expression: np.ndarray) -> np.ndarray:  # (..., active pairs)
        """Receptor of each active pair; of a complex the rarer subunit."""
        receptor = expression[..., self.receptor[self.active]]
        if self.second is not None:
            receptor[..., 0] = np.minimum(receptor[..., 0], expression[..., self.second])
        return receptor

    def listed(self) -> np.ndarray:  # (pairs, 2), names of ligand and receptor
        """Pairs with their complex, and active receptors once more with the ligands of decoys."""
        names = np.array(self.names, dtype=object)
        receptor = names[self.receptor]
        active = np.flatnonzero(self.active)
        receptor[active[0]] += f"_{self.names[self.second]}"
        decoys = np.flatnonzero(~self.active)[1 : 1 + len(active)]
        ligands = [*names[self.ligand], *names[self.ligand[decoys]]]
        return np.array([ligands, [*receptor, *receptor[active]]], dtype=str).T

    def truth(self) -> dict[str, np.ndarray]:
        """Which pairs signal to which genes, and from which type to which."""
        sends = self.level[:, self.ligand[self.active]] > 0.5  # (types, active pairs)
        receives = self.received_by(self.level) > 0.5
        targets = np.array([self.names[gene] for gene in self.target])
        more = {"active": self.active}
        if self.second is not None:
            more = {"active": np.append(self.active, np.zeros(N_ACTIVE, dtype=bool))}
            more["listed"] = self.listed()
        return more | {
            "targets": targets.reshape(-1, 2),
            "type_matrix": receives.astype(float) @ sends.T,
            "types": np.array(TYPE_NAMES[: len(self.level)]),
        }


def _draw_levels(
    rng: np.random.Generator, network: _Network, kind: np.ndarray
) -> np.ndarray:  # (populations, cells, genes)
    """Draw the level that each gene relaxes to in each cell.

    Ligands and receptors differ from cell to cell (log-normal, s.d. ``BETWEEN_CELLS``), and of the
    cells that could send a ligand a share does that each population draws anew (uniform; the others
    are at a tenth): what a cell sends hardly tells what it receives.
    """
    n_pairs = len(network.active)
    factor = np.ones((*kind.shape, len(network.names)))  # of each cell, for good
    varied = np.concatenate([network.ligand, network.receptor])
    spread = rng.standard_normal((*kind.shape, 2 * n_pairs))
    factor[..., varied] = np.exp(BETWEEN_CELLS * spread)
    share = rng.uniform(size=(len(kind), 1, n_pairs))
    sends = rng.random((*kind.shape, n_pairs)) < share
    factor[..., network.ligand] *= np.where(sends, 1.0, 0.1)
    return factor * network.level[kind]


def _draw_start(
    rng: np.random.Generator, network: _Network, level: np.ndarray
) -> np.ndarray:  # (populations, cells, genes)
    """Draw the first state of all cells.

    Targets begin anywhere in their range and are measured before they settle: at rest a target
    shows the signal itself, and whatever a state shows can pass for intrinsic drift.
    """
    begin = level.copy()
    begin[..., network.programme] *= 0.7
    size = (*level.shape[:2], len(network.target))
    begin[..., network.target] = rng.uniform(0, STRENGTH / DECAY, size=size)
    return np.maximum(begin + 0.1 * rng.standard_normal(level.shape), 0)
