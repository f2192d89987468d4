import anndata as ad
import numpy as np
import pandas as pd
import pytest
from beside.diagnose import examine
from scipy import sparse

from scimf import hold_out
from scimf.data import load


def stranger(cells, *, depth=None, **obs):
    """Counts of 30 genes; ``cells`` cells at times 0, 1, 2, ...; ``depth``, ``obs`` per time."""
    columns = {"time": np.repeat(np.arange(len(cells), dtype=float), cells)}
    for key, values in obs.items():
        columns[key] = np.repeat(np.array(values, dtype=object), cells)
    rate = np.ones(len(cells)) if depth is None else np.array(depth)
    mean = 2.0 * np.repeat(rate, cells)[:, None]
    x = np.random.default_rng(0).poisson(mean, (sum(cells), 30)).astype(np.float32)
    obs = pd.DataFrame(columns, index=np.arange(sum(cells)).astype(str))
    adata = ad.AnnData(sparse.csr_matrix(x), obs=obs)
    about = {"form": "counts", "time_unit": "day"}
    adata.uns["scimf"] = about | {"detected": "Took X as counts.", "warnings": ["Beware."]}
    return adata


def doubts(adata):
    held = [1.0] if adata.obs["time"].nunique() > 2 else []
    table = examine(adata, hold_out(adata, times=held))
    assert list(table.columns) == ["part", "what", "says"]
    assert set(table["part"]) == {"found", "will be done", "doubtful"}
    return table[table["part"] == "doubtful"].set_index("what")["says"]


HEALTHY = {"cells": [200, 200, 200], "cell_type": ["a", "a", "a"], "batch": ["p", "p", "p"]}


def test_a_healthy_design_of_one_population_raises_one_doubt_besides_its_warnings():
    assert list(doubts(stranger(**HEALTHY)).index) == ["interaction", "as loaded"]


@pytest.mark.parametrize(
    ("change", "what", "says"),
    [
        ({"cells": [200, 40, 200]}, "few cells", r"at 1 \(40\)"),
        (
            {"cells": [200, 200], "cell_type": ["a", "a"], "batch": ["p", "p"]},
            "few times",
            "no prediction",
        ),
        ({"cells": [200, 400, 400]}, "growth or death", "200 to 400 from 0 to 1"),
        ({"batch": ["p", "q", "q"]}, "batch and time", r"p \(at 0\) with q \(at 1, 2\)"),
        ({"depth": [1.0, 1.0, 0.3]}, "depth", r"from \d+ \(time 2\)"),
        ({"cell_type": ["a", "b", "c"]}, "types", "one time only"),
    ],
)
def test_each_doubt_is_raised_by_what_causes_it(change, what, says):
    found = doubts(stranger(**(HEALTHY | change)))
    assert what in found.index
    assert what not in doubts(stranger(**HEALTHY)).index
    assert pd.Series(found[what]).str.contains(says).all(), found[what]


def test_batches_joined_by_a_time_are_not_doubted():
    adata = stranger(**HEALTHY)
    second = (adata.obs["time"] == 2) | (np.arange(adata.n_obs) % 400 > 300)
    adata.obs["batch"] = np.where(second, "q", "p")
    assert "batch and time" not in doubts(adata).index


def test_uneven_times_rare_types_and_empty_cells():
    adata = stranger(**HEALTHY)
    adata.obs["time"] = adata.obs["time"].replace({2.0: 9.0})
    adata.obs["cell_type"] = np.where(np.arange(adata.n_obs) % 60 == 0, "rare", "a")
    x = adata.X.toarray()
    x[:3] = 0
    adata.X = sparse.csr_matrix(x)
    found = doubts(adata)
    assert "from 1 to 8" in found["uneven times"]
    assert "rare" in found["rare types"]
    assert "3 cells" in found["empty cells"]


def test_no_types_no_doubt_about_interaction_with_many_populations():
    adata = load.load("typed", n_populations=8, n_cells=30)
    del adata.obs["cell_type"]
    found = doubts(adata)
    assert "interaction" not in found.index
    assert "No cell types" in found["types"]
