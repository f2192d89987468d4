from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from beside.counterfactual import (
    Change,
    Simulation,
    _Cells,
    simulated_means,
    what_if,
)

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.simulate import systems

ASK = {"population": "p01", "times": [1.0, 2.0], "simulation": Simulation(n=60, draws=1)}


def model_of(tiny, interaction, seed=0):
    settings = {"hidden": (16,), "hidden_interaction": 16, "steps": 4, "dt": 0.5}
    config = SDEConfig(interaction=interaction, **settings)
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


def drawn(kinds, amount, n, offset):
    return _Cells(np.zeros((len(kinds), 1)), kinds, amount, time=0.0).draw(n, offset)


def test_cells_are_drawn_in_proportion_to_their_amounts_from_any_offset():
    kinds = np.array(["A"] * 30 + ["B"] * 60 + ["C"] * 10)
    amount = np.select([kinds == "A", kinds == "B"], [0.0, 1.0], 2.0)
    for offset in (0.0, 0.4, 0.999):
        found = kinds[drawn(kinds, amount, 400, offset)]
        assert (found == "A").sum() == 0
        assert (found == "C").mean() == pytest.approx(20 / 80, abs=1 / 400)
    only = np.r_[np.zeros(99), 1.0]
    assert set(drawn(kinds, only, 7, 0.999)) == {99}
    assert set(drawn(kinds, only[::-1], 7, 0.999)) == {0}


def test_nothing_changes_if_nothing_is_changed_or_nothing_is_received(tiny, model, kind):
    same = what_if(model, tiny[0], change=Change(factors={kind: 1.0}), **ASK)
    assert same["shift"].max() == 0
    assert (same["moved"] > 0).all()
    removed = Change(factors={kind: 0.0})
    assert what_if(model, tiny[0], change=removed, **ASK)["shift"].min() > 0
    independent = model_of(tiny, "none")
    assert what_if(independent, tiny[0], change=removed, **ASK)["shift"].max() == 0


def test_removed_cells_are_missing_and_nobody_takes_their_place(tiny, model, labels):
    """Every type halved is half the density: the same cells, of which half as much is received."""
    density = model.starts.density["p01"]
    half = dict.fromkeys(labels, 0.5)
    halved = what_if(model, tiny[0], change=Change(factors=half), **ASK)
    sparse = what_if(model, tiny[0], change=Change(density=density / 2), **ASK)
    np.testing.assert_allclose(halved["shift"], sparse["shift"], rtol=1e-5)
    assert halved["shift"].min() > 0
    replaced = what_if(model, tiny[0], change=Change(factors=half, density=density), **ASK)
    assert replaced["shift"].max() == pytest.approx(0, abs=1e-6)


class Pushed(torch.nn.Module):
    """Everybody is pushed along one axis at a rate of the density, and does nothing else."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))  # says on which device it is

    def drift(self, x, mask=None, density=None, sender_weight=None, context=None):
        return density[context][:, None, None] * torch.eye(x.shape[-1])[0].expand_as(x)

    def diffusion(self, x):
        return torch.zeros_like(x)


def test_shift_of_a_known_interaction(tiny, model):
    known = replace(model, sde=Pushed())
    density = model.starts.density["p01"]
    axis = np.eye(4)[0] * 3
    denser = Change(density=2 * density)
    table = what_if(known, tiny[0], change=denser, direction=axis, **ASK)
    back = what_if(known, tiny[0], change=denser, direction=-axis, **ASK)
    speed = density * model.standardiser.scale * model.time_scale.rate(0.0)
    expected = speed * table["time"]
    np.testing.assert_allclose(table["shift"], expected, rtol=1e-4)
    np.testing.assert_allclose(table["along"], expected, rtol=1e-4)
    np.testing.assert_allclose(back["along"], -expected, rtol=1e-4)
    # Twice the density doubles what there was.
    np.testing.assert_allclose(table["moved"], expected, rtol=1e-4)


def test_two_populations_mixed(tiny, model):
    shifts = []
    for share in (0.0, 0.2, 0.9):
        change = Change(mix_with="p02", share=share)
        shifts.append(what_if(model, tiny[0], change=change, **ASK)["shift"])
    none_of_it, some, much = shifts
    assert none_of_it.max() == pytest.approx(0, abs=1e-6)
    assert 0 < some.mean() < much.mean()
    with pytest.raises(ValueError, match="share: expected"):
        Change(mix_with="p02", share=2.0)
    with pytest.raises(ValueError, match="another population than 'p01'"):
        what_if(model, tiny[0], change=Change(mix_with="p01"), **ASK)


def test_several_models_give_intervals_and_agreement(tiny, model, kind):
    models = [model, model_of(tiny, "additive", seed=1), model_of(tiny, "additive", seed=2)]
    options = ASK | {"change": Change(factors={kind: 0.0}), "direction": np.ones(4)}
    table = what_if(models, tiny[0], **options)
    singles = [what_if(m, tiny[0], **options) for m in models]
    np.testing.assert_allclose(table["along"], np.mean([s["along"] for s in singles], axis=0))
    assert (table["shift_lo"] < table["shift"]).all()
    assert (table["shift"] < table["shift_hi"]).all()
    assert (table["n_seeds"] == 3).all()
    assert table["cosine"].between(-0.5, 1).all()
    twice = what_if([model, model], tiny[0], change=Change(factors={kind: 0.0}), **ASK)
    np.testing.assert_allclose(twice["cosine"], 1)
    assert not {"cosine", "shift_lo"} & set(singles[0].columns)


def test_leaving_the_training_range_is_warned_of(tiny, model, kind):
    assert what_if(model, tiny[0], **ASK).attrs["warning"] == ""
    many = Change(factors={kind: 50.0})
    warning = what_if(model, tiny[0], change=many, **ASK).attrs["warning"]
    assert kind in warning
    assert "density" in warning
    held = tiny[0].copy()  # a held-out population widens no range
    held.obs.loc[held.obs["population"] == "p04", "cell_type"] = kind
    assert what_if(model, held, change=many, **ASK).attrs["warning"] == warning


def test_what_is_not_there_is_named(tiny, model):
    nothing = Change(factors=dict.fromkeys("ABC", 0.0))
    with pytest.raises(ValueError, match="not measured at time 9"):
        what_if(model, tiny[0], start=9.0, **ASK)
    with pytest.raises(ValueError, match="'p99' is unknown"):
        what_if(model, tiny[0], **ASK | {"population": "p99"})
    with pytest.raises(ValueError, match="leave some cells"):
        what_if(model, tiny[0], change=nothing, **ASK)
    with pytest.raises(ValueError, match="'D'"):
        what_if(model, tiny[0], change=Change(factors={"D": 1.0}), **ASK)
    with pytest.raises(ValueError, match="increasing times after 0"):
        what_if(model, tiny[0], **ASK | {"times": [1.0, 1.0]})


def test_simulated_means_are_those_of_which_the_table_tells(tiny, model, kind):
    models = [model, model_of(tiny, "additive", seed=1)]
    ask = ASK | {"change": Change(factors={kind: 0.0})}
    table = what_if(models, tiny[0], **ask)
    types, means = simulated_means(models, tiny[0], **ask)
    assert means.shape == (2, 2, 3, len(types), 4)
    assert list(table["cell_type"]) == types * 2
    shift = np.linalg.norm(means[:, 1, 1:] - means[:, 0, 1:], axis=-1).mean(0)
    np.testing.assert_allclose(table["shift"], shift.ravel())
    # At the start cells are those of the population as it was, whatever is changed.
    np.testing.assert_array_equal(means[:, 0, 0], means[:, 1, 0])


def mean_errors(model, adata, real, removed, simulation):
    """Mean distance of predicted from true means of types, over populations and later times."""
    target = type_means(real)
    seen = type_means(adata)
    assert removed not in {kind for _, _, kind in target}
    rows = []
    for population in np.unique(adata.obs["population"]):
        change = Change(factors={removed: 0.0}, density=density_of(real, population))
        ask = {"population": population, "change": change, "simulation": simulation}
        types, means = simulated_means(model, adata, times=[1.0, 2.0, 3.0, 4.0], **ask)
        for time in (1, 2, 3, 4):
            for kind, before, after in zip(types, *means[0, :, time], strict=True):
                key = (population, float(time), kind)
                if key in seen and key in target:
                    guesses = {"changed": after, "as_it_was": before, "observed": seen[key]}
                    guesses["observed_and_shift"] = seen[key] + after - before
                    rows.append({m: np.linalg.norm(x - target[key]) for m, x in guesses.items()})
    return pd.DataFrame(rows).mean()


def density_of(adata, population):
    return adata.obs.loc[adata.obs["population"] == population, "density"].iloc[0]


def type_means(adata):
    """Mean of each type of at least five cells, by population, time and type."""
    x = pd.DataFrame(np.asarray(adata.obsm["X_scimf"], float), index=adata.obs_names)
    groups = adata.obs.groupby(["population", "time", "cell_type"], observed=True)
    return {key: x.loc[rows.index].mean() for key, rows in groups if len(rows) >= 5}


def test_removed_type_is_foreseen_better_than_without_interaction():
    """The true system is simulated without the type; the others take its share, at one density."""
    options = {"seed": 0, "n_populations": 16, "n_types": 3, "dim": 4}
    adata = systems.typed(n_cells=60, **options)
    split = hold_out(adata)
    space = fit_space(adata, split)
    truth = adata.uns["scimf"]["truth"]
    removed = int(np.abs(truth["type_matrix"]).sum(0).argmax())
    name = truth["types"][removed]
    left = truth["composition"].copy()
    left[:, removed] = 0
    left = left / left.sum(1, keepdims=True)
    real = systems.typed(n_cells=80, replicate=1, compositions=left, **options)
    real.obsm["X_scimf"] = space.encode(real)
    network = {"rank": 4, "hidden_interaction": 32, "hidden": (32, 32)}
    training = {"batch_cells": 60, "target_cells": 60, "lr": 1e-2, "steps": 150}
    simulation = Simulation(n=200, draws=1)
    means = {}
    for interaction in ("additive", "none"):
        config = SDEConfig(interaction=interaction, **network, **training)
        model = fit(adata, split, space, config=config, progress=False)
        means[interaction] = mean_errors(model, adata, real, name, simulation)
    additive = means["additive"]
    none = means["none"]
    assert none["changed"] == none["as_it_was"]
    assert none["observed"] == pytest.approx(none["observed_and_shift"])
    assert additive["changed"] < 0.9 * none["changed"], means
    assert additive["observed_and_shift"] < 0.9 * additive["observed"], means


def grows(tiny, growth):
    """Return an untrained model in which cells divide, faster or slower by whom they hear."""
    settings = {"hidden": (8,), "hidden_interaction": 8, "steps": 1, "dt": 0.1}
    config = SDEConfig(interaction="none", growth=growth, **settings)
    model = fit(*tiny, config=config, progress=False)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.sde.growth.parameters():
            weights.copy_(torch.randn(weights.shape, generator=noise) / 2)
    return model


@pytest.fixture(scope="module")
def by_type(tiny):
    return grows(tiny, "type")


@pytest.fixture(scope="module")
def heard(tiny):
    return grows(tiny, "heard")


def test_numbers_grow_at_the_rate_of_their_type(tiny, by_type, labels, kind):
    """A rate of one's own is nobody's doing: twice as many cells become twice as many."""
    table = what_if(by_type, tiny[0], change=Change(factors={kind: 2.0}), **ASK)
    rate = pd.Series(by_type.sde.growth.rate.detach().numpy(), by_type.types)
    share = labels.value_counts(normalize=True)
    for row in table.itertuples():
        gap = by_type.time_scale(row.time) - by_type.time_scale(0.0)
        number = share[row.cell_type] * np.exp(rate[row.cell_type] * gap)
        assert row.number == pytest.approx(number, rel=1e-4)
        factor = 2 if row.cell_type == kind else 1
        assert row.number_changed == pytest.approx(factor * number, rel=1e-4)


def test_who_is_missing_changes_the_numbers_of_others_only_where_growth_is_heard(
    tiny, heard, by_type, kind
):
    removed = Change(factors={kind: 0.0})
    for model, changes in ((heard, True), (by_type, False)):
        table = what_if(model, tiny[0], change=removed, **ASK).set_index("cell_type")
        assert (table.loc[kind, "number_changed"] == 0).all()
        others = table.drop(kind)
        same = np.isclose(others["number"], others["number_changed"], rtol=1e-5)
        assert (~same).all() if changes else same.all()
    nothing = what_if(heard, tiny[0], **ASK)
    pd.testing.assert_series_equal(
        nothing["number"], nothing["number_changed"], check_names=False, rtol=1e-6
    )


def test_growth_is_heard_from_the_population_that_is_named(heard):
    """Receivers that hear another population grow as its own cells do in it."""
    x = torch.randn(2, 6, heard.sde.dim, generator=torch.Generator().manual_seed(1))
    context = torch.tensor([1, 1])
    found = heard.sde.growth(x, density=torch.ones(2), context=context)
    louder = heard.sde.growth(x * torch.tensor([1.0, 3.0])[:, None, None], context=context)
    assert not torch.allclose(found[0], louder[0])
    alone = heard.sde.growth(x, density=torch.ones(2))
    assert not torch.allclose(found[0], alone[0])


def test_a_model_that_does_not_grow_has_no_numbers(tiny, model):
    assert not {"number", "number_changed"} & set(what_if(model, tiny[0], **ASK))
