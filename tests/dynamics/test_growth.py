"""Cells that divide and die: weights beside the paths, in the loss, in samples and velocities."""

import numpy as np
import pytest
import torch
from beside.growing import growing

from scimf.counts.saved_models import load_model
from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit
from scimf.dynamics.fitted import velocity
from scimf.dynamics.integrate import Groups, roll_out
from scimf.dynamics.interactions import AdditiveInteraction, CellAttention, OccupancyInteraction
from scimf.dynamics.losses import LOSSES
from scimf.dynamics.model import InteractingSDE
from scimf.dynamics.snapshots import Snapshots
from scimf.dynamics.training_data import Batch, TrainingData
from scimf.evaluation.held_out import Scoring, evaluate

SMALL = {"hidden": (16,), "hidden_interaction": 8, "rank": 2, "batch_cells": 64}


@pytest.fixture(scope="module")
def grown():
    adata = growing(seed=0, n_populations=6, n_cells=200, n_types=3, dim=3)
    split = hold_out(adata, times=[3.0])
    return adata, split, fit_space(adata, split)


def test_a_weight_is_the_exponential_of_what_a_cell_grows():
    sde = InteractingSDE(2, SDEConfig(growth="type", interaction="none", **SMALL), n_types=2)
    rates = torch.tensor([0.5, -1.0])
    with torch.no_grad():
        sde.growth.rate.copy_(rates)
    kind = torch.tensor([[0, 1, 1]])
    gaps = torch.tensor([[1.0], [2.0]])
    paths = roll_out(sde, torch.zeros(1, 3, 2), gaps, dt=0.1, groups=Groups(kind=kind))
    expected = torch.stack([(rates * t).exp()[kind] for t in (1.0, 3.0)])
    torch.testing.assert_close(paths.weight, expected)
    constant = rates[kind] * (expected[-1] - 1)  # integral of g^2 w for a constant rate
    torch.testing.assert_close(paths.growth[-1], constant, rtol=0.05, atol=0.01)


def test_cells_that_make_each_other_divide_stay_numbers():
    sde = InteractingSDE(2, SDEConfig(growth="heard", interaction="none", **SMALL))
    with torch.no_grad():
        for parameter in sde.growth.heard.parameters():
            parameter.fill_(1.0)
    paths = roll_out(sde, torch.ones(1, 4, 2), torch.tensor([[5.0]]), dt=0.1)
    assert paths.weight.isfinite().all() and paths.weight.min() > 1e4
    (paths.weight.log().sum() + paths.growth.sum()).backward()
    assert all(p.grad.isfinite().all() for p in sde.growth.parameters())


def test_growth_is_priced_from_what_is_known():
    sde = InteractingSDE(2, SDEConfig(growth="type", interaction="none", **SMALL), n_types=2)
    rates = torch.tensor([0.5, -1.0])
    with torch.no_grad():
        sde.growth.rate.copy_(rates)
    kind = torch.tensor([[0, 1, 1]])
    options = {"x": torch.zeros(1, 3, 2), "gaps": torch.tensor([[1.0]]), "dt": 0.1}
    known = Groups(kind=kind, known_growth=rates[kind])
    assert not roll_out(sde, groups=known, **options).growth.any()
    other = Groups(kind=kind, known_growth=torch.zeros(1, 3))
    plain = roll_out(sde, groups=Groups(kind=kind), **options)
    torch.testing.assert_close(roll_out(sde, groups=other, **options).growth, plain.growth)


def test_rates_that_are_known_reach_the_loss_in_model_time(grown):
    adata, split, _ = grown
    adata = adata.copy()
    adata.obs["time"] *= 7.0  # days of a week
    split = hold_out(adata, times=[21.0])
    known = np.where(adata.obs["cell_type"] == "A", 0.3, np.nan)
    config = SDEConfig(growth="state", **SMALL)
    adata.obs["known_growth"] = known
    train = Snapshots.of(adata, split.train_mask(adata))
    data = TrainingData.of(train, split, config)
    per_step = 0.3 / data.time_scale.rate(0.0)
    found = torch.cat([rates.unique() for rates in data.known_growth.values()]).unique()
    torch.testing.assert_close(found, torch.tensor([0.0, per_step], dtype=found.dtype))
    batch = Batch.draw(data, config, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert batch.groups.known_growth.shape == batch.start.shape[:2]
    adata.obs["known_growth"] = np.where(known > 0, np.inf, known)
    with pytest.raises(ValueError, match="known_growth"):
        Snapshots.of(adata, split.train_mask(adata))


def test_the_loss_of_weighted_cells_has_the_right_gradient():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 7, 3, generator=rng, dtype=torch.double)
    y = torch.randn(2, 5, 3, generator=rng, dtype=torch.double)
    weight = torch.rand(2, 7, generator=rng, dtype=torch.double) + 0.5
    for tensor in (x, weight):
        tensor.requires_grad_()
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False

    def loss(x, weight):
        return LOSSES["energy"](x, y, mask, None, weight)

    assert torch.autograd.gradcheck(loss, (x, weight))
    plain = LOSSES["energy"](x, y, mask)
    torch.testing.assert_close(loss(x, 3.0 * torch.ones_like(weight)), plain)
    twice = torch.cat([x, x], 1)
    half = torch.cat([weight, torch.zeros_like(weight)], 1)
    both = torch.cat([mask, mask], 1)
    one = LOSSES["energy"](twice, y, both, None, half)
    torch.testing.assert_close(one, loss(x, weight))  # a cell that stands for nobody


@pytest.mark.parametrize(
    "layer", [CellAttention(4), AdditiveInteraction(4), OccupancyInteraction(4)], ids=lambda x: ""
)
def test_a_cell_that_stands_for_two_is_heard_as_two(layer):
    torch.manual_seed(0)
    layer.eval()
    x = torch.randn(1, 6, 4)
    doubled = torch.cat([x, x[:, -1:]], 1)
    weight = torch.ones(1, 6)
    weight[0, -1] = 2.0
    # Density is relative to the number of simulated cells.
    heard = layer(x, density=torch.tensor([1.0]), weight=weight)
    expected = layer(doubled, density=torch.tensor([6 / 5]))
    torch.testing.assert_close(heard[:, :5], expected[:, :5], atol=1e-5, rtol=1e-4)


def test_rates_by_type_are_found_and_shares_follow(grown, tmp_path):
    adata, split, space = grown
    config = SDEConfig(growth="type", interaction="none", steps=150, lr=1e-2, **SMALL)
    model = fit(adata, split, space, config=config, progress=False)
    velocity(model, adata)
    found = adata.obs.groupby("cell_type", observed=True)["growth_rate"].mean()
    true = adata.uns["scimf"]["truth"]["rates"]
    np.testing.assert_allclose(found, true, atol=0.15)
    model.save(tmp_path / "model.pt")
    again = load_model(tmp_path / "model.pt")
    late = split.held_times[0]
    for one in (model, again):
        cells = one.sample([late])
        share = cells.obs.groupby("cell_type", observed=True)["weight"].sum()
        here = (adata.obs["time"] == late).to_numpy()
        seen = adata.obs["cell_type"][here].value_counts()[share.index]
        np.testing.assert_allclose(share / share.sum(), seen / seen.sum(), atol=0.05)


@pytest.mark.parametrize("growth", ["state", "heard"])
def test_growth_by_state_starts_from_zero_and_is_learned(grown, growth):
    adata, split, space = grown
    config = SDEConfig(growth=growth, steps=20, **SMALL)
    model = fit(adata, split, space, config=config, progress=False)
    assert np.abs(model.untrained().growth_rate(adata)).max() == 0
    assert np.abs(model.growth_rate(adata)).max() > 0
    assert set(model.history) >= {"data", "growth", "mass"}
    weight = model.sample([split.held_times[0]]).obs["weight"]
    assert (weight > 0).all()


def test_growth_by_type_needs_types(grown):
    adata, split, space = grown
    bare = adata.copy()
    del bare.obs["cell_type"]
    with pytest.raises(KeyError, match="growth by type"):
        fit(bare, split, space, config=SDEConfig(growth="type"), progress=False)


@pytest.mark.parametrize("changes", [{"loss": "sinkhorn"}, {"warm_steps": 5}], ids=str)
def test_what_growth_cannot_be_combined_with(changes):
    with pytest.raises(ValueError, match="growth"):
        SDEConfig(growth="state", **changes)


def test_shares_of_a_growing_population_are_scored_by_weight(grown):
    adata, split, space = grown
    config = SDEConfig(growth="type", interaction="none", steps=150, lr=1e-2, **SMALL)
    model = fit(adata, split, space, config=config, progress=False)
    cells = model.sample(split.held_times)
    unweighted = cells.copy()
    del unweighted.obs["weight"]
    metrics = ("energy_distance", "share_error", "total_error")
    scoring = Scoring(draws=2, metrics=metrics)
    samples = {"growth": cells, "none": unweighted}
    table = evaluate(samples, adata, split, scoring=scoring)
    error = table.pivot_table(index="method", columns="metric", values="value")
    assert error["share_error"]["growth"] < 0.6 * error["share_error"]["copy_previous"]
    assert error["share_error"]["none"] == pytest.approx(
        error["share_error"]["copy_previous"], abs=0.03
    )
    assert error["energy_distance"]["growth"] < error["energy_distance"]["none"]
    total = table[table["metric"] == "total_error"].set_index(["population", "method"])["value"]
    mass = adata.obs.groupby(["population", "time"], observed=True)["mass"].first()
    said = cells.obs.groupby("population", observed=True)["mass"].first()
    for population in said.index:
        now, before, after = (mass[population, t] for t in (3.0, 2.0, 4.0))
        expected = abs(np.log(said[population] / now))
        assert total[population, "growth"] == pytest.approx(expected)
        assert total[population, "copy_previous"] == pytest.approx(abs(np.log(before / now)))
        line = abs(np.log(before * after) / 2 - np.log(now))
        assert total[population, "log_linear"] == pytest.approx(line)
    assert total.unstack()["growth"].mean() < total.unstack()["copy_previous"].mean()
    del cells.obs["mass"], unweighted.obs["mass"]
    with pytest.raises(ValueError, match="total_error.*mass"):
        evaluate({"growth": cells}, adata, split, scoring=scoring)


@pytest.mark.parametrize("weight", [-1.0, np.nan, 0.0])
def test_weights_that_are_none_are_refused(grown, weight):
    adata, split, _ = grown
    cells = adata[(adata.obs["time"] == 3.0).to_numpy()].copy()
    cells.obs["weight"] = weight
    with pytest.raises(ValueError, match="weight"):
        evaluate({"cells": cells}, adata, split, scoring=Scoring(draws=1))


def test_growth_is_trained_where_numbers_of_cells_are_not_known(grown):
    """Shares alone teach rates relative to each other; an unknown total has no gradient."""
    adata, split, space = grown
    part = adata.copy()
    del part.obs["mass"]
    config = SDEConfig(growth="type", interaction="none", steps=2, **SMALL)
    model = fit(part, split, space, config=config, progress=False)
    assert model.sde.growth.rate.isfinite().all()
    assert model.sde.growth.rate.any()
