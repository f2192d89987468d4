import hashlib
import itertools

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from cached import available
from evidence.ligand_receptor import (
    STEP,
    _gene_directions,
    _matched_random,
    _mixed_derivative,
    _mixed_of_additive,
    _mixed_of_any,
    load_pairs,
    pair_scores,
    pairs_against_random,
)
from torch import nn

from scimf.core import paths
from scimf.data import load, registry
from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit

GENES = [f"g{k}" for k in range(12)]
RECEPTOR, LIGAND, TARGET, MARKER = 3, 7, 0, 1


class Picked(nn.Module):
    """Answer ``column`` (times ``factor``, if given) in place ``where`` of ``width``."""

    def __init__(self, column, width, where=0, factor=None):
        super().__init__()
        self.column = column
        self.width = width
        self.where = where
        self.factor = factor

    def forward(self, x):
        value = x[..., self.column]
        if self.factor is not None:
            value = value * x[..., self.factor]
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


def fitted(adata, **settings):
    split = hold_out(adata)
    small = {"hidden": (8,), "hidden_interaction": 8, "steps": 1, "dt": 0.5}
    config = SDEConfig(**small, **settings)
    return fit(adata, split, fit_space(adata, split), config=config, progress=False)


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


def test_masks_name_receivers_and_senders(made):
    adata, model = made
    one = in_snapshot(adata)
    model = with_message(model, Picked(RECEPTOR, 12, TARGET, factor=MARKER), Picked(LIGAND, 1))
    some = np.arange(len(one)) < 3
    marker = model.standardiser.transform(one.obsm["X_scimf"])[:, MARKER].numpy()
    rate = 2 * model.time_scale.rate(1.0) / model.standardiser.scale
    found = _mixed_derivative(model, one, receivers=some, senders=~some)[TARGET, RECEPTOR, LIGAND]
    assert found == pytest.approx(rate * marker[some].mean() * (~some).mean(), rel=1e-3)
    everybody = _mixed_derivative(model, one)[TARGET, RECEPTOR, LIGAND]
    assert everybody == pytest.approx(rate * marker.mean(), rel=1e-3)


def test_times_are_those_that_were_given(made):
    adata, model = made
    model = with_message(model, Picked(RECEPTOR, 12, TARGET, factor=MARKER), Picked(LIGAND, 1))
    late = adata[(adata.obs["time"] == 3.0).to_numpy()].copy()
    np.testing.assert_allclose(
        _mixed_derivative(model, adata, times=[3.0]), _mixed_derivative(model, late), rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"no snapshot at times \[7\.0\]"):
        _mixed_derivative(model, adata, times=[7.0])
    early = (adata.obs["time"] == 0.0).to_numpy()
    with pytest.raises(ValueError, match="receivers, senders"):
        _mixed_derivative(model, adata, receivers=early, senders=~early)


@pytest.mark.parametrize("interaction", ["additive", "occupancy", "attention"])
def test_mixed_derivative_is_the_difference_of_differences(made, interaction):
    """Every form, in double precision; the attention has kinks: the step of senders is the same."""
    one = in_snapshot(made[0])
    model = fitted(made[0], interaction=interaction, rank=2)
    found = _mixed_derivative(model, one)[..., LIGAND]
    x = model.standardiser.transform(one.obsm["X_scimf"]).double()
    density = torch.full((2,), 2.0, dtype=torch.double)
    context = torch.tensor([1, 1])
    axes = torch.eye(12, dtype=torch.double)
    ligand = STEP * axes[LIGAND]
    sde = model.sde.double()

    def message(at_receiver, at_senders):
        both = torch.stack([x + at_receiver, x + at_senders])
        drift = sde.interaction_drift(both, density=density, context=context)
        return drift[0].mean(0).detach().numpy()

    def slope(at_senders):
        columns = []
        for step in 1e-5 * axes:
            columns.append((message(step, at_senders) - message(-step, at_senders)) / 2e-5)
        return np.stack(columns, -1)

    rate = model.time_scale.rate(1.0) / model.standardiser.scale
    expected = (slope(ligand) - slope(-ligand)) / (2 * STEP) * rate
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.002 * np.abs(expected).max())


def test_the_short_way_of_the_additive_form_is_the_long_one(made):
    one = in_snapshot(made[0])
    model = fitted(made[0], rank=3)
    x = model.standardiser.transform(one.obsm["X_scimf"]).double()
    receives = (torch.arange(len(x)) < 4).double()
    sends = (torch.arange(len(x)) > 2).double()
    sde = model.sde.double()
    short = _mixed_of_additive(sde, x, 2.0, receives, sends).numpy()
    long = _mixed_of_any(sde, x, 2.0, receives, sends).numpy()  # a difference
    np.testing.assert_allclose(short, long, rtol=0.01, atol=0.002 * np.abs(long).max())


# --- genes


def test_a_direction_raises_a_gene_by_one_sd_and_a_complex_is_the_mean(made):
    adata, model = made
    (step,) = _gene_directions(model.space, adata, ["g5"])
    assert step[5] == pytest.approx(adata.X[:, 5].std()) and not np.delete(step, 5).any()
    both = _gene_directions(model.space, adata, ["g5", "g6", "g5_g6"])
    np.testing.assert_allclose(both[2], both[:2].mean(0))
    with pytest.raises(KeyError, match=r"g5_g99.*\['g99'\] not among the 12"):
        _gene_directions(model.space, adata, ["g5_g99"])


def test_a_direction_is_that_of_the_principal_components(made):
    adata = made[0].copy()
    adata.X = np.abs(adata.X)
    adata.uns["scimf"] = {"form": "lognorm"}
    split = hold_out(adata)
    space = fit_space(adata, split, n_pcs=4)
    raised = adata.copy()
    raised.X[:, 5] += raised.X[:, 5].std()
    moved = space.encode(raised) - space.encode(adata)
    np.testing.assert_allclose(
        moved, np.tile(_gene_directions(space, adata, ["g5"]), (adata.n_obs, 1)), atol=1e-5
    )


# --- against random pairs


def test_the_true_pair_is_found_among_listed_ones_that_do_nothing(made):
    adata, model = made
    pairs = pd.DataFrame({"ligand": ["g2", "g7", "g9_g10"], "receptor": ["g4", "g3", "g5"]})
    table = pairs_against_random(model, adata, pairs, n_random=200)
    assert table.loc[0, ["ligand", "receptor"]].tolist() == ["g7", "g3"]
    assert table.loc[0, "p"] == pytest.approx(1 / 201)
    assert table.loc[0, "q"] == pytest.approx(3 / 201)
    assert table["p"][1:].min() > 0.05
    assert table.attrs["found"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="at least one"):
        pairs_against_random(model, adata, pairs[:0])
    with pytest.raises(KeyError, match="g99"):
        pairs_against_random(model, adata, pairs.assign(ligand="g99"))


def test_an_untrained_model_is_at_chance(made):
    adata, model = made
    rng = np.random.default_rng(2)
    genes = np.array([rng.permutation(12)[:2] for _ in range(12)])
    names = np.array(GENES)
    pairs = pd.DataFrame({"ligand": names[genes[:, 0]], "receptor": names[genes[:, 1]]})
    auroc = []
    p = []
    for seed in range(8):
        table = pairs_against_random(model.untrained(seed=seed), adata, pairs, n_random=100)
        auroc.append(table.attrs["auroc"])
        p.append(table["p"].mean())
    assert np.mean(auroc) == pytest.approx(0.5, abs=0.1)
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


def neighbours_and_a_complex(order):
    """All pairs of ten genes of neighbouring ranks, and one with a complex as its receptor."""
    neighbours = order[60:70].tolist()
    listed = [([a], [b]) for a, b in itertools.permutations(neighbours, 2)]
    return [*listed, ([order[65]], [order[100], order[101]])]


def test_random_pairs_are_alike_and_never_listed():
    order = np.random.default_rng(3).permutation(200)
    rank = np.argsort(order)
    listed = neighbours_and_a_complex(order)
    ligands, receptors = _matched_random(listed[0], listed, order, 500, np.random.default_rng(4))
    assert ligands.shape == receptors.shape == (500, 1)
    assert (ligands != receptors).all()
    drawn = set(zip(ligands[:, 0], receptors[:, 0], strict=True))
    assert not drawn & {(a[0], b[0]) for a, b in listed[:-1]}
    # All of the reach is used.
    assert np.abs(rank[ligands] - rank[listed[0][0]]).max() == 25


def test_random_pairs_of_a_complex_have_no_gene_twice():
    order = np.random.default_rng(3).permutation(200)
    listed = neighbours_and_a_complex(order)
    ligands, receptors = _matched_random(listed[-1], listed, order, 500, np.random.default_rng(4))
    assert receptors.shape == (500, 2)
    for genes in np.concatenate([ligands, receptors], axis=1):
        assert len(set(genes)) == 3


def test_too_few_unlisted_pairs_are_an_error():
    listed = [([0], [1]), ([1], [0])]
    with pytest.raises(ValueError, match="unlisted"):
        _matched_random(listed[0], listed, np.arange(2), 5, np.random.default_rng(0))


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
    assert set(pairs["kind"]) == {"Secreted Signaling"}
    assert pairs.attrs["n_table"] == 5
    assert "approximation" in pairs.attrs["matching"]
    assert load_pairs("toy", ["Tgfb1", "Tgfbr1", "Nan", "Il6r"])["ligand"].tolist() == ["Nan"]
    assert load_pairs("toy", ["Tgfb1", "Tgfbr1"]).empty


def test_ids_against_a_table_of_symbols_are_refused(table):
    says = r"toy: nothing matched: none of its symbols, such as '\w+', .*such as 'ENSG00000105329'"
    with pytest.raises(ValueError, match=says):
        load_pairs("toy", ["ENSG00000105329", "ENSG00000106799"])


def test_other_names_are_refused(table):
    expected = r"'emt' is not a table of ligand-receptor pairs, expected one of \['toy'\]"
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
