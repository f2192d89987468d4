"""Single readers on small files of the published layout, and which of them a name reaches."""

import h5py
import numpy as np
import pytest

from scimf.core.reached import Reached
from scimf.data.readers import READERS


def test_qpcr_is_turned_into_expression_and_empty_lines_are_dropped(tmp_path):
    file = tmp_path / "ct.csv"
    file.write_text("GATA4,NANOG,h\n25,18.5,0\n20,25,24\n,,\n,,\n")
    adata = READERS["cardiomyocyte_qpcr"]([file], max_ct=25.0)
    assert adata.X.tolist() == [[0, 6.5], [5, 0]]
    assert list(adata.var_names) == ["GATA4", "NANOG"]
    assert adata.obs["time"].tolist() == [0, 24]


def test_panel_of_counts_is_transposed_and_its_stimulus_left_out(tmp_path):
    file = tmp_path / "panel.txt"
    file.write_text("0\t0\t0\t6\n0\t0\t0\t1\n1\t3\t0\t2\n2\t1\t0\t7\n")
    adata = READERS["mes_retinoic_acid"]([file])
    assert adata.X.tolist() == [[3, 1], [0, 0], [2, 7]]
    assert adata.obs["time"].tolist() == [0, 0, 6]


def test_labelled_counts_have_types_and_no_time(tmp_path):
    with h5py.File(tmp_path / "counts.h5", "w") as file:
        file["X"] = np.array([[0, 2.0], [1, 0]])
        file["Y"] = np.array([3.0, 1.0])
    adata = READERS["counts_pbmc"]([tmp_path / "counts.h5"])
    assert adata.X.toarray().tolist() == [[0, 2], [1, 0]]
    assert "time" not in adata.obs
    assert adata.obs["cell_type"].tolist() == ["type 3", "type 1"]


# What a result depends on: a change in one reader makes no result of another set due.
@pytest.mark.parametrize(
    ("name", "readers"),
    [
        ("emt", ["_read_labelled"]),
        ("cite_hspc", ["_read_snapshots"]),
        ("zebrafish", ["_read_zebrafish"]),
        ("hlca", ["_read_conditions", "_read_part"]),
    ],
)
def test_loading_a_set_reaches_its_reader_and_no_other(name, readers):
    found = Reached()
    found.add_texts([name])
    found.add("scimf.data.load", "load")
    found.digest()
    reached = [function for module, function in found.places if module == "scimf.data.readers"]
    assert sorted(name for name in reached if name.startswith("_read_")) == sorted(readers)
    assert "registry.toml" in [path.name for path in found._files]
