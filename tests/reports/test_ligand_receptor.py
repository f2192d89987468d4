import hashlib
import sys
from types import ModuleType

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from cached import available
from evidence.ligand_receptor import expressed, load_pairs

from scimf.core import paths
from scimf.data import load, registry

COLUMNS = ["ligand", "receptor"]
TABLE = """\
,0,1,2,3
0,TGFB1,TGFBR1_TGFBR2,TGFb,Secreted Signaling
1,IL6,IL6R,nan,Secreted Signaling
2,CDH1,CDH1,CDH,Cell-Cell Contact
3,NAN,IL6R,nan,Secreted Signaling
4,Il6,IL6R,nan,Secreted Signaling
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Register a generated file of the layout of the real ones."""
    (tmp_path / "pairs.csv").write_text(TABLE)
    sha256 = hashlib.sha256(TABLE.encode()).hexdigest()
    row = {"file": "pairs.csv", "url": "https://nowhere", "sha256": sha256}
    entries = {"toy": {"form": "pairs", "files": [row]}, "emt": {"form": "pcs"}}
    monkeypatch.setattr(registry, "entries", lambda: entries)
    monkeypatch.setattr(paths, "DATA", tmp_path)


def test_pairs_are_kept_if_all_subunits_are_there(table):
    pairs = load_pairs("toy", ["Tgfb1", "Tgfbr1", "Tgfbr2", "Il6", "IL6", "Il6r", "Cdh1"])
    # Letter case decides only if it must.
    expected = [("Tgfb1", "Tgfbr1_Tgfbr2"), ("IL6", "Il6r"), ("Il6", "Il6r")]
    assert list(zip(pairs["ligand"], pairs["receptor"], strict=True)) == expected
    assert pairs.attrs["n_table"] == 5
    assert "approximation" in pairs.attrs["matching"]
    assert load_pairs("toy", ["Tgfb1", "Tgfbr1", "Nan", "Il6r"])["ligand"].tolist() == ["Nan"]
    assert load_pairs("toy", ["Tgfb1", "Tgfbr1"]).empty


def test_a_resource_of_liana_is_a_table_where_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "liana", None)
    with pytest.raises(
        registry.DataUnavailable, match=r"LIANA\+ is not installed: pip install liana"
    ):
        load_pairs("liana:consensus", ["LGALS9"])
    resource = ModuleType("liana.resource")
    rows = {"consensus": [("LGALS9", "PTPRC"), ("TGFB1", "TGFBR1_TGFBR2")]}
    resource.select_resource = lambda name: pd.DataFrame(rows[name], columns=COLUMNS)
    monkeypatch.setitem(sys.modules, "liana", ModuleType("liana"))
    monkeypatch.setitem(sys.modules, "liana.resource", resource)
    pairs = load_pairs("liana:consensus", ["Lgals9", "Ptprc"])
    assert pairs.to_numpy().tolist() == [["Lgals9", "Ptprc"]]
    assert pairs.attrs["n_table"] == 2


def test_pairs_are_expressed_in_some_type_and_complexes_as_a_whole():
    x = np.zeros((40, 4))
    x[:3, 0] = x[20:23, 1] = 1  # of one type each, in 3 of 20 cells
    x[0, 2] = 1
    x[:3, 3] = x[20:23, 3] = 1
    obs = pd.DataFrame({"cell_type": np.repeat(["a", "b"], 20)}, index=map(str, range(40)))
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=list("LRST")))
    pairs = [("L", "R"), ("L", "S"), ("L", "T_R"), ("L_R", "T")]
    kept = expressed(adata, pd.DataFrame(pairs, columns=COLUMNS))
    assert kept.to_numpy().tolist() == [["L", "R"], ["L", "T_R"]]


def test_ids_against_a_table_of_symbols_are_refused(table):
    says = r"toy: nothing matched: none of its symbols, such as '\w+', .*such as 'ENSG00000105329'"
    with pytest.raises(ValueError, match=says):
        load_pairs("toy", ["ENSG00000105329", "ENSG00000106799"])


def test_other_names_are_refused(table):
    expected = r"'emt' is not a table of ligand-receptor pairs, expected one of \['toy'\], or liana"
    with pytest.raises(ValueError, match=expected):
        load_pairs("emt", [])


@pytest.mark.parametrize(("name", "genes", "n"), [
    ("cellphonedb", "reprogramming_cut", 39),
    ("cellchatdb_mouse", "reprogramming_cut", 58),
    ("cellphonedb", "larry_clones", 119),
    ("cellchatdb_mouse", "larry_clones", 107),
])  # fmt: skip
def test_real_tables(name, genes, n):
    if not (available(name) and available(genes)):
        pytest.skip(f"{name} or {genes} is not in the cache")
    names = load.load(genes).var_names
    pairs = load_pairs(name, names)
    parts = set("_".join([*pairs["ligand"], *pairs["receptor"]]).split("_"))
    assert len(pairs) == n
    assert parts <= set(names)


def test_zebrafish_and_human_tables_are_read():
    for name in ("cellchatdb_zebrafish", "cellchatdb_human"):
        if available(name):
            assert len(load_pairs(name, ["wnt5a", "fzd1"])) == 1
