from dataclasses import replace

import numpy as np
import pytest
import torch

from scimf import simulate
from scimf.counterfactual import counterfactual_error, pick, what_if
from scimf.preprocess import fit_space, hold_out
from scimf.sde import SDEConfig
from scimf.train import fit

ASK = {"population": "p01", "times": [1.0, 2.0], "n": 60, "draws": 1}


def model_of(tiny, interaction, seed=0):
    config = SDEConfig(interaction=interaction, hidden=(16,), hidden_interaction=16, steps=4, dt=0.5)
    return fit(*tiny, config=config, seed=seed, progress=False)


@pytest.fixture(scope="module")
def model(tiny):
    return model_of(tiny, "additive")


@pytest.fixture(scope="module")
def labels(tiny):
    obs = tiny[0].obs
    return obs["cell_type"][(obs["population"] == "p01") & (obs["time"] == 0)].astype(str)


@pytest.fixture(scope="module")
def kind(labels):
    return labels.value_counts().index[0]


def test_pick_meets_the_amounts_from_any_offset():
    kinds = np.array(["A"] * 30 + ["B"] * 60 + ["C"] * 10)
    amount = np.select([kinds == "A", kinds == "B"], [0.0, 1.0], 2.0)
    for offset in (0.0, 0.4, 0.999):
        share = {k: (kinds[pick(kinds, amount, 400, offset)] == k).mean() for k in "ABC"}
        assert share["A"] == 0 and share["C"] == pytest.approx(20 / 80, abs=1 / 400)
    only = np.r_[np.zeros(99), 1.0]
    assert set(pick(kinds, only, 7, 0.999)) == {99} and set(pick(kinds, only[::-1], 7, 0.999)) == {0}


def test_nothing_changes_if_nothing_is_changed_or_nobody_listens(tiny, model, kind):
    same = what_if(model, tiny[0], factors={kind: 1.0}, **ASK)
    assert same["shift"].max() == 0 and (same["moved"] > 0).all()
    assert what_if(model, tiny[0], factors={kind: 0.0}, **ASK)["shift"].min() > 0
    deaf = what_if(model_of(tiny, "none"), tiny[0], factors={kind: 0.0}, **ASK)
    assert deaf["shift"].max() == 0


def test_removed_cells_are_missing_and_nobody_takes_their_place(tiny, model, labels):
    """Every type halved is half the density: the same crowd, heard half as loudly."""
    halved = what_if(model, tiny[0], factors=dict.fromkeys(labels, 0.5), **ASK)
    sparse = what_if(model, tiny[0], density=model.starts.density["p01"] / 2, **ASK)
    np.testing.assert_allclose(halved["shift"], sparse["shift"], rtol=1e-5)
    replaced = what_if(model, tiny[0], factors=dict.fromkeys(labels, 0.5), density=model.starts.density["p01"], **ASK)
    assert halved["shift"].min() > 0 and replaced["shift"].max() == pytest.approx(0, abs=1e-6)


def test_shift_of_a_known_interaction(tiny, model):
    """Everybody is pushed along one axis at a rate of the density, and does nothing else."""

    class Pushed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))  # says on which device it is

        def drift(self, x, mask=None, density=None, speak=None, hears=None):
            return density[hears][:, None, None] * torch.eye(x.shape[-1])[0].expand_as(x)

        def diffusion(self, x):
            return torch.zeros_like(x)

    known = replace(model, sde=Pushed())
    axis, denser = np.eye(4)[0] * 3, 2 * model.starts.density["p01"]
    table, back = (what_if(known, tiny[0], density=denser, direction=way, **ASK) for way in (axis, -axis))
    expected = model.starts.density["p01"] * model.units.scale * table["time"] * model.clock.rate(0.0)
    np.testing.assert_allclose(table["shift"], expected, rtol=1e-4)
    np.testing.assert_allclose(table["along"], expected, rtol=1e-4)
    np.testing.assert_allclose(back["along"], -expected, rtol=1e-4)
    np.testing.assert_allclose(table["moved"], expected, rtol=1e-4)  # twice the density doubles what there was


def test_two_populations_mixed(tiny, model):
    none_of_it = what_if(model, tiny[0], mix_with="p02", share=0.0, **ASK)
    some, much = (what_if(model, tiny[0], mix_with="p02", share=s, **ASK)["shift"].mean() for s in (0.2, 0.9))
    assert none_of_it["shift"].max() == pytest.approx(0, abs=1e-6) and 0 < some < much
    with pytest.raises(ValueError, match="share: expected"):
        what_if(model, tiny[0], mix_with="p02", share=2.0, **ASK)
    with pytest.raises(ValueError, match="another population than 'p01'"):
        what_if(model, tiny[0], mix_with="p01", **ASK)


def test_several_models_give_intervals_and_agreement(tiny, model, kind):
    models = [model, model_of(tiny, "additive", seed=1), model_of(tiny, "additive", seed=2)]
    table = what_if(models, tiny[0], factors={kind: 0.0}, direction=np.ones(4), **ASK)
    singles = [what_if(m, tiny[0], factors={kind: 0.0}, direction=np.ones(4), **ASK) for m in models]
    np.testing.assert_allclose(table["along"], np.mean([s["along"] for s in singles], axis=0))
    assert ((table["shift_lo"] < table["shift"]) & (table["shift"] < table["shift_hi"])).all()
    assert (table["n_seeds"] == 3).all() and table["cosine"].between(-0.5, 1).all()
    twice = what_if([model, model], tiny[0], factors={kind: 0.0}, **ASK)
    np.testing.assert_allclose(twice["cosine"], 1)
    assert not {"cosine", "shift_lo"} & set(singles[0].columns)


def test_leaving_the_training_range_is_said(tiny, model, kind):
    assert what_if(model, tiny[0], **ASK).attrs["warning"] == ""
    said = what_if(model, tiny[0], factors={kind: 50.0}, **ASK).attrs["warning"]
    assert kind in said and "density" in said
    held = tiny[0].copy()  # a held-out population widens no range
    held.obs.loc[held.obs["population"] == "p04", "cell_type"] = kind
    assert what_if(model, held, factors={kind: 50.0}, **ASK).attrs["warning"] == said


def test_what_is_not_there_is_named(tiny, model, kind):
    with pytest.raises(ValueError, match="not measured at time 9"):
        what_if(model, tiny[0], start=9.0, **ASK)
    with pytest.raises(ValueError, match="'p99' is unknown"):
        what_if(model, tiny[0], **ASK | {"population": "p99"})
    with pytest.raises(ValueError, match="leave some cells"):
        what_if(model, tiny[0], factors=dict.fromkeys("ABC", 0.0), **ASK | {"population": "p01"})
    with pytest.raises(ValueError, match="'D'"):
        what_if(model, tiny[0], factors={"D": 1.0}, **ASK)
    with pytest.raises(ValueError, match="increasing times after 0"):
        what_if(model, tiny[0], **ASK | {"times": [1.0, 1.0]})


def test_removed_type_is_foreseen_better_than_without_interaction():
    """The true system is simulated with the type left out; its share is taken by the others, at the same density."""
    options = {"seed": 0, "n_populations": 16, "n_types": 3, "dim": 4}
    adata = simulate.typed(n_cells=60, **options)
    split = hold_out(adata)
    space = fit_space(adata, split)
    truth = adata.uns["scimf"]["truth"]
    removed = int(np.abs(truth["type_matrix"]).sum(0).argmax())
    left = truth["composition"].copy()
    left[:, removed] = 0
    real = simulate.typed(n_cells=80, replicate=1, compositions=left / left.sum(1, keepdims=True), **options)
    real.obsm["X_scimf"] = space.encode(real)
    settings = {"rank": 4, "hidden_interaction": 32, "hidden": (32, 32), "batch_cells": 60, "target_cells": 60}
    means = {}
    for interaction in ("additive", "none"):
        config = SDEConfig(interaction=interaction, lr=1e-2, steps=150, **settings)
        model = fit(adata, split, space, config=config, progress=False)
        ask = {"factors": {truth["types"][removed]: 0.0}, "times": [1.0, 2.0, 3.0, 4.0], "n": 200}
        table = counterfactual_error(model, adata, real, **ask)
        assert truth["types"][removed] not in set(table["cell_type"])
        means[interaction] = table.groupby("method")["error"].mean()
    assert means["none"]["changed"] == means["none"]["as_it_was"]
    assert means["none"]["observed"] == pytest.approx(means["none"]["observed_and_shift"])
    assert means["additive"]["changed"] < 0.9 * means["none"]["changed"], means
    assert means["additive"]["observed_and_shift"] < 0.9 * means["additive"]["observed"], means
