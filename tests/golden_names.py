"""What the golden checks call, by its present names: the one file that may follow a renaming."""

from beside.counterfactual import Change, Simulation, what_if
from beside.growing import growing
from beside.simulated_counts import factorial
from evidence.boards import BOARDS
from evidence.circuit import circuit
from evidence.morse import morse
from evidence.paracrine import paracrine
from evidence.predictions import Training
from evidence.quorum import quorum
from evidence.scores import Sizes, score_board
from evidence.staged import staged

from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import fit_counts
from scimf.counts.fit_flow import fit_flow
from scimf.counts.flow import FlowConfig
from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.interaction.influence import influence
from scimf.simulate import systems

SYSTEMS = {
    **systems.SYSTEMS,
    "circuit": circuit,
    "growing": growing,
    "morse": morse,
    "paracrine": paracrine,
    "quorum": quorum,
    "staged": staged,
}
#: Terms of its loss whose names differ from those in the checks.
TERMS = {"heard": "interaction"}
#: Settings of an SDE whose names differ from those in the checks.
SETTINGS = {"interaction_weight": "interaction_weight", "interaction_decay": "interaction_decay"}


def sde_config(**settings):
    """Recommended settings with changes."""
    return SDEConfig(**{SETTINGS.get(key, key): value for key, value in settings.items()})


def paper_config(**settings):
    """Published settings with changes."""
    return SDEConfig.paper(**settings)


def fit_sde(adata, split, space, config, seed):
    """Fit and return the model, its network and its history."""
    model = fit(adata, split, space, config=config, seed=seed, device="cpu", progress=False)
    return (
        model,
        model.sde,
        {TERMS.get(name, name): values for name, values in model.history.items()},
    )


def fit_autoencoder(adata, config, seed):
    """Fit to all cells and all genes; return the fit, its network and its history."""
    fitted = fit_counts(
        adata, genes=list(adata.var_names), config=config, seed=seed, device="cpu", progress=False
    )
    return fitted, fitted.model, fitted.history


def fit_latent_flow(autoencoder, adata, conditions, config, seed):
    """Fit a flow to the latents of all cells; return the fit, its network and its history."""
    flow = fit_flow(
        autoencoder, adata, conditions=conditions, config=config, seed=seed, progress=False
    )
    return flow, flow.model, flow.history


def what_if_halved(model, adata, population, time, kind):
    """What changes if one type of a population is halved."""
    change = Change(factors={kind: 0.5})
    simulation = Simulation(n=40, draws=1)
    options = {"population": population, "times": [time], "change": change}
    return what_if(model, adata, simulation=simulation, **options)


def toy_scores(folder):
    """Scores of the smallest board: board, setup, method, metric and value."""
    board = BOARDS["toy"]
    adata = SYSTEMS[board.dataset](**board.options)
    sizes = Sizes(n=board.n, draws=2, transport_n=20, paired_draws=2)
    options = {"cache": folder, "workers": 1, "device": "cpu"}
    return score_board(board, adata, Training(steps=4), sizes, **options)["scores"]


__all__ = [
    "SYSTEMS",
    "CountConfig",
    "FlowConfig",
    "factorial",
    "fit_space",
    "hold_out",
    "influence",
]
