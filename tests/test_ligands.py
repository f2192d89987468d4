import hashlib

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from scimf import datasets, paths, registry
from scimf.interpret import untrained
from scimf.ligands import (
    STEP,
    _mixed_of_additive,
    _mixed_of_snapshot,
    gene_directions,
    load_pairs,
    matched_random,
    mixed_derivative,
    pair_scores,
    pairs_against_random,
)
from scimf.preprocess import fit_space, hold_out
from scimf.sde import SDEConfig
from scimf.train import fit

GENES = [f"g{k}" for k in range(12)]
RECEPTOR, LIGAND, TARGET, MARKER = 3, 7, 0, 1


class Picked(nn.Module):
    """Answer ``column`` (times ``factor``, if given) in place ``where`` of ``width``."""

    def __init__(self, column, width, where=0, factor=None):
        super().__init__()
        self.column, self.width, self.where, self.factor = column, width, where, factor

    def forward(self, x):
        value = x[..., self.column] * (1 if self.factor is None else x[..., self.factor])
        return nn.functional.one_hot(torch.tensor(self.where), self.width).to(x) * value[..., None]


@pytest.fixture(scope="module")
def made():
    """Cells of 12 genes in two populations, and a model whose message is receptor x marker x mean ligand."""
    rng, n = np.random.default_rng(0), 60
    obs = pd.DataFrame({"time": np.tile([0.0, 1.0, 3.0], n // 3)}, index=[f"c{k}" for k in range(n)])
    obs["population"] = np.repeat(["a", "b"], n // 2)
    obs["density"] = np.repeat([1.0, 2.0], n // 2)
    x = rng.normal(1, np.linspace(0.5, 1.5, 12), size=(n, 12)).astype(np.float32)
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=GENES))
    adata.uns["scimf"] = {"form": "state"}
    split = hold_out(adata)
    config = SDEConfig(hidden=(8,), hidden_interaction=8, rank=1, steps=1, dt=0.5)
    model = fit(adata, split, fit_space(adata, split), config=config, progress=False)
    return adata, spoken(model, Picked(RECEPTOR, 12, TARGET), Picked(LIGAND, 1))


def spoken(model, receive, send):
    """Return the same model with a message that is known."""
    model = untrained(model)
    model.sde.interaction[0].receive, model.sde.interaction[0].send = receive, send
    return model


def in_snapshot(adata):
    return adata[((adata.obs["population"] == "b") & (adata.obs["time"] == 1)).to_numpy()].copy()


# --- the score of a pair


def test_the_true_pair_and_nothing_else(made):
    adata, model = made
    scores = pair_scores(model, adata, GENES, GENES)
    sd, mean_density = adata.X.std(0), 1.5
    expected = sd[LIGAND] * sd[RECEPTOR] * mean_density * model.clock.rate(0.0) / model.units.scale
    assert scores.loc["g3", "g7"] == pytest.approx(expected, rel=1e-3)
    assert scores.drop(index="g3").max(axis=None) < 1e-4 and scores.drop(columns="g7").max(axis=None) < 1e-4


def test_another_ligand_in_the_message_takes_the_score_away(made):
    adata, model = made
    other = pair_scores(spoken(model, Picked(RECEPTOR, 12, TARGET), Picked(8, 1)), adata, GENES, GENES)
    assert other.loc["g3", "g7"] < 1e-4 and other.stack().idxmax() == ("g3", "g8")


def test_masks_say_who_hears_and_who_speaks(made):
    adata, model = made
    one = in_snapshot(adata)
    model = spoken(model, Picked(RECEPTOR, 12, TARGET, factor=MARKER), Picked(LIGAND, 1))
    some = np.arange(len(one)) < 3
    marker = model.units.enter(one.obsm["X_scimf"])[:, MARKER].numpy()
    rate = 2 * model.clock.rate(1.0) / model.units.scale
    found = mixed_derivative(model, one, receivers=some, senders=~some)[TARGET, RECEPTOR, LIGAND]
    assert found == pytest.approx(rate * marker[some].mean() * (~some).mean(), rel=1e-3)
    everybody = mixed_derivative(model, one)[TARGET, RECEPTOR, LIGAND]
    assert everybody == pytest.approx(rate * marker.mean(), rel=1e-3)


def test_times_are_those_asked_for(made):
    adata, model = made
    model = spoken(model, Picked(RECEPTOR, 12, TARGET, factor=MARKER), Picked(LIGAND, 1))
    late = adata[(adata.obs["time"] == 3.0).to_numpy()].copy()
    np.testing.assert_allclose(mixed_derivative(model, adata, times=[3.0]), mixed_derivative(model, late), rtol=1e-5)
    with pytest.raises(ValueError, match=r"no snapshot at times \[7\.0\]"):
        mixed_derivative(model, adata, times=[7.0])
    early = (adata.obs["time"] == 0.0).to_numpy()
    with pytest.raises(ValueError, match="receivers, senders"):
        mixed_derivative(model, adata, receivers=early, senders=~early)


@pytest.mark.parametrize("interaction", ["additive", "occupancy", "attention"])
def test_mixed_derivative_is_the_difference_of_differences(made, interaction):
    """Every form, in double precision; the attention has kinks, so the step along the senders is the same."""
    one = in_snapshot(made[0])
    config = SDEConfig(interaction=interaction, hidden=(8,), hidden_interaction=8, rank=2, steps=1, dt=0.5)
    split = hold_out(made[0])
    model = fit(made[0], split, fit_space(made[0], split), config=config, progress=False)
    found = mixed_derivative(model, one)[..., LIGAND]
    x, density = model.units.enter(one.obsm["X_scimf"]).double(), torch.full((2,), 2.0, dtype=torch.double)
    ligand, tiny = STEP * torch.eye(12, dtype=torch.double)[LIGAND], 1e-5 * torch.eye(12, dtype=torch.double)
    sde = model.sde.double()

    def heard(at_receiver, at_senders):
        both = torch.stack([x + at_receiver, x + at_senders])
        return sde.heard(both, density=density, hears=torch.tensor([1, 1]))[0].mean(0).detach().numpy()

    def slope(at_senders):
        return np.stack([(heard(h, at_senders) - heard(-h, at_senders)) / 2e-5 for h in tiny], -1)

    expected = (slope(ligand) - slope(-ligand)) / (2 * STEP) * model.clock.rate(1.0) / model.units.scale
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.002 * np.abs(expected).max())


def test_the_short_way_of_the_additive_form_is_the_long_one(made):
    one = in_snapshot(made[0])
    split = hold_out(made[0])
    config = SDEConfig(hidden=(8,), hidden_interaction=8, rank=3, steps=1, dt=0.5)
    model = fit(made[0], split, fit_space(made[0], split), config=config, progress=False)
    x = model.units.enter(one.obsm["X_scimf"]).double()
    hears, says = torch.arange(len(x)) < 4, torch.arange(len(x)) > 2
    sde, masks = model.sde.double(), (hears.double(), says.double())
    short, long = (way(sde, x, 2.0, *masks).numpy() for way in (_mixed_of_additive, _mixed_of_snapshot))
    np.testing.assert_allclose(short, long, rtol=0.01, atol=0.002 * np.abs(long).max())  # long: a difference


# --- genes


def test_a_direction_raises_a_gene_by_one_sd_and_a_complex_is_the_mean(made):
    adata, model = made
    (step,) = gene_directions(model.space, adata, ["g5"])
    assert step[5] == pytest.approx(adata.X[:, 5].std()) and not np.delete(step, 5).any()
    both = gene_directions(model.space, adata, ["g5", "g6", "g5_g6"])
    np.testing.assert_allclose(both[2], both[:2].mean(0))
    with pytest.raises(KeyError, match=r"g5_g99.*\['g99'\] not among the 12"):
        gene_directions(model.space, adata, ["g5_g99"])


def test_a_direction_is_that_of_the_principal_components(made):
    adata = made[0].copy()
    adata.X = np.abs(adata.X)
    adata.uns["scimf"] = {"form": "lognorm"}
    split = hold_out(adata)
    space = fit_space(adata, split, n_pcs=4)
    raised = adata.copy()
    raised.X[:, 5] += raised.X[:, 5].std()
    moved = space.encode(raised) - space.encode(adata)
    np.testing.assert_allclose(moved, np.tile(gene_directions(space, adata, ["g5"]), (adata.n_obs, 1)), atol=1e-5)


# --- against random pairs


def test_the_true_pair_is_found_among_listed_ones_that_do_nothing(made):
    adata, model = made
    pairs = pd.DataFrame({"ligand": ["g2", "g7", "g9_g10"], "receptor": ["g4", "g3", "g5"]})
    table = pairs_against_random(model, adata, pairs, n_random=200)
    assert table.loc[0, ["ligand", "receptor"]].tolist() == ["g7", "g3"]
    assert table.loc[0, "p"] == pytest.approx(1 / 201) and table.loc[0, "q"] == pytest.approx(3 / 201)
    assert table["p"][1:].min() > 0.05 and table.attrs["found"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="at least one"):
        pairs_against_random(model, adata, pairs[:0])
    with pytest.raises(KeyError, match="g99"):
        pairs_against_random(model, adata, pairs.assign(ligand="g99"))


def test_an_untrained_model_is_at_chance(made):
    adata, model = made
    rng = np.random.default_rng(2)
    genes = np.array([rng.permutation(12)[:2] for _ in range(12)])
    pairs = pd.DataFrame({"ligand": [GENES[a] for a, _ in genes], "receptor": [GENES[b] for _, b in genes]})
    found = [pairs_against_random(untrained(model, seed=k), adata, pairs, n_random=100) for k in range(8)]
    assert np.mean([table.attrs["auroc"] for table in found]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([table["p"].mean() for table in found]) == pytest.approx(0.5, abs=0.1)


def test_random_pairs_are_alike_and_never_listed():
    order = np.random.default_rng(3).permutation(200)
    rank = np.argsort(order)
    neighbours = order[60:70].tolist()
    listed = [([a], [b]) for a in neighbours for b in neighbours if a != b] + [([order[65]], [order[100], order[101]])]
    ligands, receptors = matched_random(listed[0], listed, order, 500, np.random.default_rng(4))
    assert ligands.shape == receptors.shape == (500, 1) and (ligands != receptors).all()
    assert not {(a, b) for (a,), (b,) in zip(ligands, receptors, strict=True)} & {(a[0], b[0]) for a, b in listed[:-1]}
    assert np.abs(rank[ligands] - rank[listed[0][0]]).max() == 25  # and all of that reach is used
    ligands, receptors = matched_random(listed[-1], listed, order, 500, np.random.default_rng(4))
    assert receptors.shape == (500, 2) and all(len({*a, *b}) == 3 for a, b in zip(ligands, receptors, strict=True))
    with pytest.raises(ValueError, match="unlisted"):
        matched_random(([0], [1]), [([0], [1]), ([1], [0])], np.arange(2), 5, np.random.default_rng(0))


# --- tables of pairs


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Register a generated file of the layout of the real ones."""
    text = ",0,1,2,3\n0,TGFB1,TGFBR1_TGFBR2,TGFb,Secreted Signaling\n1,IL6,IL6R,nan,Secreted Signaling\n"
    text += "2,CDH1,CDH1,CDH,Cell-Cell Contact\n3,NAN,IL6R,nan,Secreted Signaling\n4,Il6,IL6R,nan,Secreted Signaling\n"
    (tmp_path / "pairs.csv").write_text(text)
    row = {"file": "pairs.csv", "url": "https://nowhere", "sha256": hashlib.sha256(text.encode()).hexdigest()}
    monkeypatch.setattr(registry, "entries", lambda: {"toy": {"form": "pairs", "files": [row]}, "emt": {"form": "pcs"}})
    monkeypatch.setattr(paths, "DATA", tmp_path)


def test_pairs_are_kept_if_all_subunits_are_there(table):
    pairs = load_pairs("toy", ["Tgfb1", "Tgfbr1", "Tgfbr2", "Il6", "IL6", "Il6r", "Cdh1"])
    expected = [("Tgfb1", "Tgfbr1_Tgfbr2"), ("IL6", "Il6r"), ("Il6", "Il6r")]  # letter case decides only if it must
    assert list(zip(pairs["ligand"], pairs["receptor"], strict=True)) == expected
    assert set(pairs["kind"]) == {"Secreted Signaling"}
    assert pairs.attrs["n_table"] == 5 and "approximation" in pairs.attrs["matching"]
    assert load_pairs("toy", ["Tgfb1", "Tgfbr1", "Nan", "Il6r"])["ligand"].tolist() == ["Nan"]
    assert load_pairs("toy", ["Tgfb1", "Tgfbr1"]).empty


def test_other_names_are_refused(table):
    with pytest.raises(ValueError, match=r"'emt' is not a table of ligand-receptor pairs, expected one of \['toy'\]"):
        load_pairs("emt", [])


@pytest.mark.parametrize(("name", "genes", "n"), [
    ("cellphonedb", "reprogramming_cut", 39),
    ("cellchatdb_mouse", "reprogramming_cut", 58),
    ("cellphonedb", "larry_clones", 119),
    ("cellchatdb_mouse", "larry_clones", 107),
])  # fmt: skip
def test_real_tables(name, genes, n):
    if not (registry.available(name) and registry.available(genes)):
        pytest.skip(f"{name} or {genes} is not in the cache")
    names = datasets.load(genes).var_names
    pairs = load_pairs(name, names)
    parts = {part for column in ("ligand", "receptor") for side in pairs[column] for part in side.split("_")}
    assert len(pairs) == n and parts <= set(names)


def test_zebrafish_and_human_tables_are_read():
    for name in ("cellchatdb_zebrafish", "cellchatdb_human"):
        if registry.available(name):
            assert len(load_pairs(name, ["wnt5a", "fzd1"])) == 1
