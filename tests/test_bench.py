"""The benchmark runs at a small size and compares like with like."""

import pytest

from scimf import bench


@pytest.fixture(scope="module")
def step():
    return bench.step_costs([40, 50, 60], rounds=1, device="cpu", dim=8, cells=24)


def test_the_published_step_and_ours_have_the_same_loss_and_gradient(step):
    assert step["loss_relative_difference"] < 0.01 and step["gradient_cosine"] > 0.99
    assert step["cells_observed"] == 150 and step["euler_steps"] == 20
    for name in ("engine_speedup", "total_speedup"):
        assert 0 < step[name]["min"] <= step[name]["median"] <= step[name]["max"]


def test_the_sizes_are_those_that_were_published():
    assert sum(bench.ZEBRAFISH) == 38_731 and len(bench.ZEBRAFISH) == 12 and sum(bench.CITE) == 31_240
    assert [len(c) for c in bench.snapshots_of((3, 5))] == [3, 5]


def test_a_published_step_crosses_gaps_of_their_own_length(monkeypatch):
    asked, sdeint = [], bench.torchsde.sdeint
    monkeypatch.setattr(bench.torchsde, "sdeint", lambda *a, **kw: asked.append(a[2]) or sdeint(*a, **kw))
    sde = bench.InteractingSDE(4, bench.published(dropout=0.0))
    clouds = bench.snapshots_of((6, 6, 6), 4)
    bench.published_step(sde, clouds[0], clouds[1:], 0, [1, 2])
    once = [p.grad.clone() for p in sde.parameters() if p.grad is not None]
    bench.published_step(sde, clouds[0], clouds[1:], 0, [1, 2])
    assert asked[0].tolist() == [0, 10, 30]
    twice = [p.grad for p in sde.parameters() if p.grad is not None]
    assert all(bench.torch.allclose(b, 2 * a, rtol=1e-3, atol=1e-7) for a, b in zip(once, twice, strict=True))


def test_growth_of_a_step_is_by_times_and_by_dimensions(monkeypatch):
    asked = []

    def measured(call, times, dim, form):
        asked.append((times, dim, form))
        return {"seconds": times * dim**2, "peak_gib": times}

    monkeypatch.setattr(bench, "peak", measured)
    rows = bench.growth_of_steps((2, 4), (8, 16))
    assert rows["engine.times.time_exponent"] == pytest.approx(1) == rows["engine.times.memory_exponent"]
    assert rows["recommended.dim.time_exponent"] == pytest.approx(2) and (4, 8, "engine") in asked
    assert all(bench.evaluate_step(times=2, dim=4, form=form)["seconds"] > 0 for form in ("engine", "recommended"))


def test_growth_knows_the_largest_population_that_fits(monkeypatch):
    monkeypatch.setattr(bench, "peak", lambda call, cells, form: {"seconds": cells**2, "peak_gib": cells / 1e5})
    rows = bench.growth((10_000, 100_000), many=10**6)
    assert rows["attention.time_exponent"] == pytest.approx(2) and rows["attention.memory_exponent"] == pytest.approx(1)
    assert rows["attention.cells_exact_4gib"] == 100_000 and "1000000" in rows["additive"]


def test_operations_are_counted():
    config = bench.published(dropout=0.0)
    once, twice = (bench.drift_flops(n, 50, config) for n in (512, 1024))
    assert 2 < twice / once < 4 and bench.drift_flops(1024, 50, bench.recommended()) == 2 * bench.drift_flops(
        512, 50, bench.recommended()
    )


def test_larger_companies_are_closer():
    errors = bench.approximation(256, (16, 64), dim=8)
    assert errors["attention.error_64"] < errors["attention.error_16"]
