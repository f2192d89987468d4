import numpy as np
import pytest

from scimf.interaction.design_check import cannot_be_told, smallest_p, strata
from scimf.simulate import systems


def typed(**options):
    return systems.typed(**{"seed": 0, "n_populations": 8, "n_cells": 12, "dim": 3} | options)


def test_replicates_of_one_composition_and_density_cannot_tell():
    same_composition = {"compositions": np.full((8, 5), 0.2), "n_cells": 60}
    same_density = {"density_range": (1.0, 1.0), "n_cells": 60}
    alike = typed(**same_composition | same_density)
    assert "one composition" in cannot_be_told(alike)
    assert cannot_be_told(typed(**same_composition)) == ""
    assert cannot_be_told(typed(**same_density)) == ""
    del alike.obs["cell_type"]
    assert cannot_be_told(alike) == ""  # nobody knows


def test_replicates_within_each_batch_cannot_tell():
    two = np.repeat([[0.6, 0.1, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]], 4, axis=0)
    adata = typed(compositions=two, density_range=(1.0, 1.0), n_cells=60)
    assert cannot_be_told(adata) == ""
    adata.obs["batch"] = np.where(adata.obs["population"].astype(str) < "p04", "a", "b")
    assert "one composition" in cannot_be_told(adata)


def test_populations_seen_at_other_times_are_compared_among_themselves():
    adata = typed()
    late = (adata.obs["population"].astype(str) < "p03") & (adata.obs["time"] == 1.0)
    adata = adata[~late.to_numpy()].copy()
    assert strata(adata).tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert cannot_be_told(adata) == ""


def test_batches_that_run_through_populations_do_not_count():
    adata = typed()
    adata.obs["batch"] = adata.obs["time"].astype(str)
    assert set(strata(adata)) == {0}


@pytest.mark.parametrize(
    ("groups", "smallest"),
    [([0] * 8, 1 / 1000), ([0, 0, 1, 1, 2, 2], 1 / 8), (range(6), 1.0), ([0] * 6, 1 / 720)],
    ids=["all", "pairs", "alone", "six"],
)
def test_smallest_p_counts_the_orders(groups, smallest):
    assert smallest_p(np.array(groups)) == smallest
