import re
import shutil
from collections import namedtuple

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from beside import diagnose
from beside.diagnose import examine
from scipy import sparse

from scimf import hold_out
from scimf.data import load
from scimf.evaluation.held_out import evaluate


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


def test_growth_that_is_known_is_no_doubt_but_said():
    adata = stranger(**(HEALTHY | {"cells": [200, 400, 400]}))
    adata.obs["mass"] = adata.obs["time"].map({0: 1.0, 1: 2.0, 2: 2.0}).astype(float)
    assert "lets cells multiply" in doubts(adata)["growth or death"]


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


@pytest.mark.parametrize(
    ("n_populations", "n_cells", "says"),
    [
        (1, 100, "0 of 20 pairs.* With 11 populations of as many cells, .* 4 times as frequent"),
        (8, 15, "of 20 pairs.* more cells are needed of A"),
    ],
)
def test_what_can_be_told_and_what_to_add(n_populations, n_cells, says):
    found = doubts(load.load("typed", n_populations=n_populations, n_cells=n_cells))
    assert re.search(says, found["who moves whom"]), found["who moves whom"]


def test_nothing_to_add_where_every_pair_can_be_told():
    assert "who moves whom" not in doubts(load.load("typed")).index


# ----------------------------------------------------------- what would stop the work at its end


def refusal(adata, times, **options):
    adata.uns["scimf"]["files"] = ["my.h5ad"]
    with pytest.raises(ValueError, match=r"^my\.h5ad: ") as refused:
        examine(adata, hold_out(adata, times=times), **options)
    return str(refused.value)


@pytest.mark.parametrize("n", [3, 4])
def test_a_held_out_time_is_refused_exactly_if_it_cannot_be_scored(n):
    adata = stranger([50, n, 50, 60])
    adata.obsm["X_scimf"] = adata.X.toarray()
    split = hold_out(adata, times=[1.0])
    if n >= diagnose.LEAST_HELD:
        examine(adata, split)
        evaluate(adata.obsm["X_scimf"][50 : 50 + n], adata, split)
        return
    with pytest.raises(ValueError, match="3 held-out cells"):
        evaluate(adata.obsm["X_scimf"][50 : 50 + n], adata, split)
    assert "3 cells at held-out time 1" in refusal(adata, [1.0])
    assert "hold out another time, of 2, 3" in refusal(adata, [1.0])


def test_cells_of_each_population_are_counted():
    adata = stranger([50, 52, 50])
    adata.obs["population"] = "a"
    adata.obs.loc[adata.obs_names[[0, 1, 50, 51, 102, 103]], "population"] = "b"
    said = refusal(adata, [1.0])
    assert "2 cells at held-out time 1 of population 'b'" in said
    assert said.endswith("; take more cells")


def test_the_output_is_tried_and_what_is_there_stays(tmp_path):
    adata = stranger(**HEALTHY)
    output = tmp_path / "new" / "done.h5ad"
    table = examine(adata, hold_out(adata, times=[1.0]), output=output).set_index("what")["says"]
    assert table["results"].startswith("done.h5ad, ")
    assert not list(output.parent.iterdir())
    output.write_text("of yesterday")
    table = examine(adata, hold_out(adata, times=[1.0]), output=output).set_index("what")["says"]
    assert table["earlier results"] == "done.h5ad is there and will be replaced."
    assert [path.read_text() for path in output.parent.iterdir()] == ["of yesterday"]


def test_what_cannot_be_written_is_refused_by_name(tmp_path):
    adata = stranger(**HEALTHY)
    adata.obs["odd"] = [{}] * adata.n_obs
    said = refusal(adata, [1.0], output=tmp_path / "done.h5ad")
    assert "what was read cannot be written to done.h5ad" in said
    assert "key 'odd'" in said
    assert "\n" not in said
    (tmp_path / "file").touch()
    said = refusal(stranger(**HEALTHY), [1.0], output=tmp_path / "file" / "done.h5ad")
    assert "make room on the disk, or choose another one" in said


@pytest.mark.parametrize(("free", "what"), [(0.5, None), (1.5, "memory"), (2.5, "nothing")])
def test_memory_is_refused_or_doubted(free, what, monkeypatch):
    adata = stranger(**HEALTHY)
    needed = 8 * 400 * 30  # training cells, genes
    monkeypatch.setattr(diagnose, "_free_memory", lambda: free * needed)
    if what is None:
        assert "need about 0 MiB of memory" in refusal(adata, [1.0])
    else:
        assert ("memory" in doubts(adata).index) == (what == "memory")


@pytest.mark.parametrize(("free", "doubted"), [(0.5, None), (1.5, True), (2.5, False)])
def test_room_on_the_disk_is_refused_or_doubted(free, doubted, tmp_path, monkeypatch):
    adata = stranger(**HEALTHY)
    output = tmp_path / "done.h5ad"
    usage = namedtuple("usage", "free")(free * diagnose.BESIDE_CELLS)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    if doubted is None:
        assert "make room first" in refusal(adata, [1.0], output=output)
    else:
        table = examine(adata, hold_out(adata, times=[1.0]), output=output)
        assert ("disk" in set(table["what"])) == doubted


def test_the_system_tells_how_much_memory_is_free():
    free = diagnose._free_memory()
    assert free is None or free > diagnose.MEBIBYTE
