r"""Populations whose interaction is known: the ground truth, and the table of all systems.

Every system is an interacting particle SDE (``scimf.simulate.particles``) with intrinsic drift
:math:`b` and interaction drift, the mean of :math:`K` over all other cells times the density of the
population. Cells are destroyed when they are measured, so each snapshot is a different random part
of one simulated population. The two drifts of each cell are in ``obsm["drift_intrinsic"]`` and
``obsm["drift_interaction"]``, everything else that is true in ``uns["scimf"]["truth"]``.

With interaction: :func:`linear` and :func:`typed`. Without: :func:`null`, and :func:`growing`,
which should fool a naive test.

All take ``seed``, ``n_populations``, ``n_cells`` (observed per population and time, out of
``n_cells * len(times)`` simulated ones) and ``times``; where they have them, ``dim`` is the number
of coordinates, ``n_types`` of cell types, ``density_range`` what the relative density is drawn from
(log-uniform), ``sigma`` the noise per square root of time and ``step`` the Euler-Maruyama step.
"""

from collections.abc import Callable

from anndata import AnnData

from scimf.core.identity import by_name
from scimf.simulate.typed import growing, null, typed
from scimf.simulate.untyped import linear, linear_moments

#: Simulated systems by name, each ``f(*, seed, **options) -> AnnData``.
SYSTEMS: dict[str, Callable[..., AnnData]] = by_name(
    {
        "null": null,
        "linear": linear,
        "typed": typed,
        "growing": growing,
    }
)
__all__ = ["SYSTEMS", "linear_moments", *SYSTEMS]
