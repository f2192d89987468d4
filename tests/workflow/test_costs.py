"""The benchmark runs at a small size and compares like with like."""

import pytest
import torch

from scimf.dynamics.config import SDEConfig
from scimf.dynamics.model import InteractingSDE
from workflow.benchmarks import costs, scaling, training_steps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def step():
    return training_steps.step_costs([40, 50, 60], rounds=1, device="cpu", dim=8, cells=24)


def test_the_published_step_and_ours_have_the_same_loss_and_gradient(step):
    assert step["loss_relative_difference"] < 0.01
    assert step["gradient_cosine"] > 0.99
    assert step["cells_observed"] == 150
    assert step["euler_steps"] == 20
    for name in ("engine_speedup", "total_speedup", "growth_cost"):
        assert 0 < step[name]["min"] <= step[name]["median"] <= step[name]["max"]


def test_the_sizes_are_those_that_were_published():
    assert sum(costs.ZEBRAFISH) == 38_731
    assert len(costs.ZEBRAFISH) == 12
    assert sum(costs.CITE) == 31_240
    assert [len(cloud) for cloud in training_steps.snapshots_of((3, 5))] == [3, 5]


def test_everything_is_measured_and_named(monkeypatch):
    parts = ("step_costs", "drift_costs", "growth", "growth_of_steps", "approximation")
    for name in (*parts, "count_costs"):
        monkeypatch.setattr(costs, name, lambda *_, **__: {"n": 1})
    found = costs.measure("cpu", rounds=1)
    assert set(found) == {
        "step",
        "step_cite",
        "drift",
        "scale",
        "scale_of_steps",
        "approximation",
        "counts",
    }


def gradients_of(sde):
    return [weight.grad.clone() for weight in sde.parameters() if weight.grad is not None]


def test_a_published_step_crosses_gaps_of_their_own_length(monkeypatch):
    asked = []
    sdeint = training_steps.torchsde.sdeint

    def remembered(sde, y, ticks, **options):
        asked.append(ticks)
        return sdeint(sde, y, ticks, **options)

    monkeypatch.setattr(training_steps.torchsde, "sdeint", remembered)
    sde = InteractingSDE(4, SDEConfig.paper(dropout=0.0))
    first, *later = training_steps.snapshots_of((6, 6, 6), 4)
    training_steps.published_step(sde, first, later, 0, [1, 2])
    once = gradients_of(sde)
    training_steps.published_step(sde, first, later, 0, [1, 2])
    assert asked[0].tolist() == [0, 10, 30]
    for a, b in zip(once, gradients_of(sde), strict=True):
        assert torch.allclose(b, 2 * a, rtol=1e-3, atol=1e-7)


def test_drift_costs_name_every_form_and_size():
    found = scaling.drift_costs((32,), rounds=1, device="cpu", dim=8)
    for form in ("attention", "additive"):
        assert found[f"{form}.seconds_32"]["median"] > 0
        assert found[f"{form}.fraction_of_matmul_peak_32"]["median"] > 0


def test_growth_of_a_step_is_by_times_and_by_dimensions(monkeypatch):
    asked = []

    def measured(function, times, dim, form):
        asked.append((function, times, dim, form))
        return {"seconds": times * dim**2, "peak_gib": times}

    monkeypatch.setattr(scaling, "peak", measured)
    rows = scaling.growth_of_steps((2, 4), (8, 16))
    assert rows["engine.times.time_exponent"] == pytest.approx(1)
    assert rows["engine.times.memory_exponent"] == pytest.approx(1)
    assert rows["recommended.dim.time_exponent"] == pytest.approx(2)
    assert (scaling.evaluate_step, 4, 8, "engine") in asked
    for form in ("engine", "recommended"):
        assert scaling.evaluate_step(times=2, dim=4, form=form)["seconds"] > 0


def test_growth_knows_the_largest_population_that_fits(monkeypatch):
    def measured(function, cells, form):
        assert function is scaling.evaluate_drift
        return {"seconds": cells**2, "peak_gib": cells / 1e5}

    monkeypatch.setattr(scaling, "peak", measured)
    rows = scaling.growth((10_000, 100_000), many=10**6)
    assert rows["attention.time_exponent"] == pytest.approx(2)
    assert rows["attention.memory_exponent"] == pytest.approx(1)
    assert rows["attention.cells_exact_4gib"] == 100_000
    assert "1000000" in rows["additive"]


def test_operations_are_counted():
    published = scaling.config_of("attention")
    ours = scaling.config_of("additive")
    growth = scaling.drift_flops(1024, 50, published) / scaling.drift_flops(512, 50, published)
    assert 2 < growth < 4
    assert scaling.drift_flops(1024, 50, ours) == 2 * scaling.drift_flops(512, 50, ours)


def test_larger_groups_are_closer():
    errors = scaling.approximation(256, (16, 64), dim=8)
    assert errors["attention.error_64"] < errors["attention.error_16"]


def test_count_costs_are_cells_per_second():
    found = costs.count_costs(rounds=1, steps=2, n_genes=30, device="cpu")
    assert found["training_cells_per_second.set"]["median"] > 0
    assert found["sampling_cells_per_second.heun_20"]["median"] > 0
    assert found["sampling_error.heun_40"] <= found["sampling_error.heun_20"]
