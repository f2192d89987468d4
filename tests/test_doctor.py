import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scimf import datasets, fit_space, hold_out
from scimf.doctor import cost, examine
from scimf.report import write_report
from scimf.sde import SDEConfig


def stranger(cells, *, seed=0, depth=None, **obs):
    """Counts of 30 genes with ``cells`` cells at times 0, 1, 2, ...; ``obs`` per time, or a function of the times."""
    time = np.repeat(np.arange(len(cells), dtype=float), cells)
    rate = np.ones(len(cells)) if depth is None else np.array(depth)
    x = np.random.default_rng(seed).poisson(2.0 * np.repeat(rate, cells)[:, None], (len(time), 30)).astype(np.float32)
    columns = {key: np.repeat(np.array(values, dtype=object), cells) for key, values in obs.items()}
    adata = ad.AnnData(
        sparse.csr_matrix(x), obs=pd.DataFrame({"time": time, **columns}).set_index(np.arange(len(time)).astype(str))
    )
    adata.uns["scimf"] = {
        "form": "counts",
        "time_unit": "day",
        "detected": "Took X as counts.",
        "warnings": ["Beware."],
    }
    return adata


def doubts(adata):
    table = examine(adata, hold_out(adata, times=[1.0] if adata.obs["time"].nunique() > 2 else []))
    assert list(table.columns) == ["part", "what", "says"] and set(table["part"]) == {
        "found",
        "will be done",
        "doubtful",
    }
    return table[table["part"] == "doubtful"].set_index("what")["says"]


HEALTHY = {"cells": [200, 200, 200], "cell_type": ["a", "a", "a"], "batch": ["p", "p", "p"]}


def test_a_healthy_design_of_one_population_raises_one_doubt_besides_its_warnings():
    assert list(doubts(stranger(**HEALTHY)).index) == ["interaction", "as loaded"]


@pytest.mark.parametrize(
    ("change", "what", "says"),
    [
        ({"cells": [200, 40, 200]}, "few cells", r"at 1 \(40\)"),
        ({"cells": [200, 200], "cell_type": ["a", "a"], "batch": ["p", "p"]}, "few times", "no prediction"),
        ({"cells": [200, 400, 400]}, "growth or death", "200 to 400 from 0 to 1"),
        ({"batch": ["p", "q", "q"]}, "batch and time", r"p \(at 0\) with q \(at 1, 2\)"),
        ({"depth": [1.0, 1.0, 0.3]}, "depth", r"from \d+ \(time 2\)"),
        ({"cell_type": ["a", "b", "c"]}, "types", "one time only"),
    ],
)
def test_each_doubt_is_raised_by_what_causes_it(change, what, says):
    found = doubts(stranger(**(HEALTHY | change)))
    assert what in found.index and what not in doubts(stranger(**HEALTHY)).index
    assert pd.Series(found[what]).str.contains(says).all(), found[what]


def test_batches_joined_by_a_time_are_not_doubted():
    adata = stranger(**HEALTHY)
    adata.obs["batch"] = np.where((adata.obs["time"] == 2) | (np.arange(adata.n_obs) % 400 > 300), "q", "p")
    assert "batch and time" not in doubts(adata).index


def test_uneven_times_rare_types_and_empty_cells():
    adata = stranger(**HEALTHY)
    adata.obs["time"] = adata.obs["time"].replace({2.0: 9.0})
    adata.obs["cell_type"] = np.where(np.arange(adata.n_obs) % 60 == 0, "rare", "a")
    x = adata.X.toarray()
    x[:3] = 0
    adata.X = sparse.csr_matrix(x)
    found = doubts(adata)
    assert (
        "from 1 to 8" in found["uneven times"] and "rare" in found["rare types"] and "3 cells" in found["empty cells"]
    )


def test_no_types_no_doubt_about_interaction_with_many_populations():
    adata = datasets.load("typed", n_populations=8, n_cells=30)
    del adata.obs["cell_type"]
    found = doubts(adata)
    assert "interaction" not in found.index and "No cell types" in found["types"]


def test_cost_counts_steps_and_seeds():
    adata = datasets.load("typed", n_populations=2, n_cells=20)
    split = hold_out(adata)
    fit_space(adata, split)
    configs = {"a": SDEConfig(steps=10, batch_cells=16, target_cells=16)}
    one, many = cost(adata, split, configs=configs, n_seeds=1), cost(adata, split, configs=configs, n_seeds=50)
    assert 0 < one["seconds"] < many["seconds"] and one["peak_mebibytes"] > 50


def test_a_page_holds_text_tables_and_pictures(tmp_path):
    from matplotlib.figure import Figure

    fig = Figure(figsize=(1, 1))
    fig.savefig(tmp_path / "a.png")
    parts = {"Text & more": "1 < 2\nnext", "Table": pd.DataFrame({"x": [1.23456]}), "Picture": tmp_path / "a.png"}
    page = write_report(tmp_path / "report.html", title="Mine", parts=parts).read_text()
    for wanted in (
        "<h1>Mine</h1>",
        "Text &amp; more",
        "<p>1 &lt; 2</p><p>next</p>",
        "1.23<",
        "data:image/png;base64,iVBOR",
    ):
        assert wanted in page
    with pytest.raises(FileNotFoundError):
        write_report(tmp_path / "other.html", title="Mine", parts={"Picture": tmp_path / "no.png"})
    assert not (tmp_path / "other.html").exists()
