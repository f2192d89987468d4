import hashlib
import sys
from types import ModuleType

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from cached import available
from evidence.ligand_receptor import (
    _gene_directions,
    _mixed_of_additive,
    expressed,
    load_pairs,
    pair_scores,
)
from torch import nn

from scimf.core import paths
from scimf.data import load, registry
from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit

GENES = [f"g{k}" for k in range(12)]
RECEPTOR, LIGAND, TARGET = 3, 7, 0
COLUMNS = ["ligand", "receptor"]


class Picked(nn.Module):
    """Answer ``column`` in place ``where`` of ``width``."""

    def __init__(self, column, width, where=0):
        super().__init__()
        self.column = column
        self.width = width
        self.where = where

    def forward(self, x):
        value = x[..., self.column]
        return nn.functional.one_hot(torch.tensor(self.where), self.width).to(x) * value[..., None]


@pytest.fixture(scope="module")
def made():
    """Cells of 12 genes in two populations; a model whose message is receptor x mean ligand."""
    rng = np.random.default_rng(0)
    n = 60
    time = np.tile([0.0, 1.0, 3.0], n // 3)
    obs = pd.DataFrame({"time": time}, index=[f"c{k}" for k in range(n)])
    obs["population"] = np.repeat(["a", "b"], n // 2)
    obs["density"] = np.repeat([1.0, 2.0], n // 2)
    x = rng.normal(1, np.linspace(0.5, 1.5, 12), size=(n, 12)).astype(np.float32)
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=GENES))
    adata.uns["scimf"] = {"form": "state"}
    model = fitted(adata, rank=1)
    return adata, with_message(model, Picked(RECEPTOR, 12, TARGET), Picked(LIGAND, 1))


def with_message(model, receive, send):
    """Return the same model with a message that is known."""
    model = model.untrained()
    model.sde.interaction[0].receive = receive
    model.sde.interaction[0].send = send
    return model


def in_snapshot(adata):
    rows = (adata.obs["population"] == "b") & (adata.obs["time"] == 1)
    return adata[rows.to_numpy()].copy()


def fitted(adata, space=None, **settings):
    split = hold_out(adata)
    space = space or fit_space(adata, split)
    small = {"hidden": (8,), "hidden_interaction": 8, "steps": 1, "dt": 0.5}
    config = SDEConfig(**small, **settings)
    return fit(adata, split, space, config=config, progress=False)


# --- the score of a pair


def test_the_true_pair_and_nothing_else(made):
    adata, model = made
    scores = pair_scores(model, adata, GENES, GENES)
    sd = adata.X.std(0)
    mean_density = 1.5
    rate = mean_density * model.time_scale.rate(0.0) / model.standardiser.scale
    assert scores.loc["g3", "g7"] == pytest.approx(sd[LIGAND] * sd[RECEPTOR] * rate, rel=1e-3)
    assert scores.drop(index="g3").max(axis=None) < 1e-4
    assert scores.drop(columns="g7").max(axis=None) < 1e-4


def test_another_ligand_in_the_message_takes_the_score_away(made):
    adata, model = made
    other = with_message(model, Picked(RECEPTOR, 12, TARGET), Picked(8, 1))
    scores = pair_scores(other, adata, GENES, GENES)
    assert scores.loc["g3", "g7"] < 1e-4
    assert scores.stack().idxmax() == ("g3", "g8")


def test_the_mixed_derivative_is_the_difference_of_differences(made):
    """In double precision, of a network that was not made by hand."""
    one = in_snapshot(made[0])
    model = fitted(made[0], rank=2)
    x = model.standardiser.transform(one.obsm["X_scimf"]).double()
    sde = model.sde.double()
    found = 2.0 * _mixed_of_additive(sde, x)[..., LIGAND].numpy()
    density = torch.full((2,), 2.0, dtype=torch.double)
    context = torch.tensor([1, 1])
    axes = torch.eye(12, dtype=torch.double)

    def message(at_receiver, at_senders):
        both = torch.stack([x + at_receiver, x + at_senders])
        drift = sde.interaction_drift(both, density=density, context=context)
        return drift[0].mean(0).detach().numpy()

    def slope(at_senders):
        columns = []
        for step in 1e-4 * axes:
            columns.append((message(step, at_senders) - message(-step, at_senders)) / 2e-4)
        return np.stack(columns, -1)

    step = 1e-4 * axes[LIGAND]
    expected = (slope(step) - slope(-step)) / 2e-4
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.002 * np.abs(expected).max())


# --- genes


def test_a_direction_raises_a_gene_by_one_sd(made):
    adata, model = made
    (step,) = _gene_directions(model, adata, ["g5"])
    assert step[5] == pytest.approx(adata.X[:, 5].std()) and not np.delete(step, 5).any()
    with pytest.raises(KeyError, match=r"\['g99'\] not among the 12"):
        _gene_directions(model, adata, ["g5", "g99"])


def test_a_direction_is_that_of_the_principal_components(made):
    adata = made[0].copy()
    adata.X = np.abs(adata.X)
    adata.uns["scimf"] = {"form": "lognorm"}
    split = hold_out(adata)
    model = fitted(adata, space=fit_space(adata, split, n_pcs=4))
    raised = adata.copy()
    raised.X[:, 5] += raised.X[:, 5].std()
    moved = model.space.encode(raised) - model.space.encode(adata)
    direction = _gene_directions(model, adata, ["g5"])
    np.testing.assert_allclose(moved, np.tile(direction, (adata.n_obs, 1)), atol=1e-5)


# --- tables of pairs


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
