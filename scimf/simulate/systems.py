"""Populations whose interaction is known: the ground truth, and the table of all systems.

Every system is an interacting particle SDE, see ``scimf.simulate.particles``. Cells are destroyed
when they are measured, so each snapshot is a different random part of one simulated population. The
two drifts of each cell are in ``obsm["drift_intrinsic"]`` and ``obsm["drift_interaction"]``,
everything else that is true in ``uns["scimf"]["truth"]``.

All take ``seed``, ``n_populations``, ``n_cells`` (observed per population and time, out of
``n_cells * len(times)`` simulated ones) and ``times``; where they have them, ``dim`` is the number
of coordinates, ``n_types`` of cell types, ``density_range`` what the relative density is drawn from
(log-uniform), ``sigma`` the noise per square root of time and ``step`` the Euler-Maruyama step.
"""

from collections.abc import Callable

from anndata import AnnData

from scimf.core.identity import by_name
from scimf.simulate.typed import null, typed
from scimf.simulate.untyped import linear

#: Simulated systems by name, each ``f(*, seed, **options) -> AnnData``.
SYSTEMS: dict[str, Callable[..., AnnData]] = by_name(
    {
        "null": null,
        "linear": linear,
        "typed": typed,
    }
)
__all__ = ["SYSTEMS", *SYSTEMS]
