"""Colours and names that are the same in every figure, and the style file."""

from collections.abc import Iterable
from pathlib import Path

STYLE_FILE = "scimf.mplstyle"  #: lies beside this file

#: Okabe & Ito, in the order of the style file; then darker steps where there are more types.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
    "#7F7F7F",
    "#8C564B",
)
#: The same colour for the same method in every figure.
METHOD_COLOURS = {
    "floor": "#7F7F7F",
    "copy_previous": "#E69F00",
    "mixture": "#CC79A7",
    "ot_interpolation": "#56B4E9",
    "other_populations": "#F0E442",
    "copy_nearest": "#E69F00",
    "mixture_all": "#CC79A7",
    "mean_shift": "#E69F00",
    "last_velocity": "#E69F00",
    "schroedinger_bridge": "#56B4E9",
    "flow_matching": "#000000",
    "neural_ode": "#000000",
    "potential_sde": "#000000",
    "published": "#009E73",
    "scimf_forward": "#0072B2",
    "scimf_paced": "#0072B2",
    "no_interaction": "#D55E00",
    "scimf": "#0072B2",
    "attention": "#009E73",
    "occupancy": "#009E73",
}
#: How methods and losses are called in figures and tables.
METHOD_LABELS = {
    "floor": "floor (real vs real)",
    "copy_previous": "copy previous",
    "mixture": "neighbour mixture",
    "ot_interpolation": "OT interpolation",
    "floor_stratified": "floor, same types",
    "other_populations": "other populations",
    "copy_nearest": "copy nearest",
    "mixture_all": "mixture of all times",
    "mean_shift": "mean shift",
    "last_velocity": "last velocity",
    "schroedinger_bridge": "Schrödinger bridge",
    "flow_matching": "OT flow matching",
    "neural_ode": "neural ODE",
    "potential_sde": "potential SDE",
    "published": "scIMF published, short",
    "scimf_forward": "scIMF, forward only",
    "scimf_paced": "scIMF, paced",
    "no_interaction": "no interaction",
    "scimf": "scIMF (additive)",
    "attention": "scIMF (attention)",
    "occupancy": "scIMF (mass-aware)",
    "energy": "energy distance",
    "sinkhorn": "Sinkhorn (published)",
    "ot": "exact OT",
    "debiased_ot": "debiased OT",
}


def use_style() -> None:
    """Draw all further figures in the style of the project; ``start_notebook`` does it."""
    import matplotlib.pyplot as plt  # not only to name colours

    plt.style.use(Path(__file__).with_name(STYLE_FILE))


def type_colours(names: Iterable[str]) -> dict[str, str]:
    """One colour per cell type, decided by its sorted position."""
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(sorted(names))}
