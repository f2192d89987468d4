import numpy as np
import pytest
from evidence import gap_closure
from evidence.gap_closure import Spread

HOURS = (12, 30, 48)


def pictures(motility, rate=0.03, n_wells=4, seed=0):
    """Cells beside a gap that jump and divide one by one; the picture's edges reflect."""
    rng = np.random.default_rng(seed)
    width, height = gap_closure.PICTURE
    found = {}
    for well in range(n_wells):
        y = height * rng.random(900)
        y = y[(y < 700) | (y > 1300)]
        for before, hour in zip((12, *HOURS[:-1]), HOURS, strict=True):
            hours = hour - before
            y = np.repeat(y, 1 + rng.poisson(np.expm1(rate * hours), len(y)))
            y = np.abs(y + np.sqrt(2 * motility * hours) * rng.standard_normal(len(y)))
            y = height - np.abs(height - y)
            found[str(well), hour] = np.column_stack([width * rng.random(len(y)), y])
    return found


def test_diffusion_and_growth_are_found_where_cells_spread():
    counts = gap_closure.bands(pictures(motility=300))
    forms = ("growth", "growth, blurred", "growth and diffusion")
    found = gap_closure.closure(counts, forms)
    assert found.gain("growth and diffusion", "growth").lo > 0
    assert found.gain("growth and diffusion", "growth, blurred").value > 0
    assert found.wells_better("growth and diffusion", "growth") == 4
    spread = found.whole["growth and diffusion"]
    assert spread.D == pytest.approx(300, rel=0.3)
    assert spread.rate == pytest.approx(0.03, rel=0.1)
    gap = gap_closure.cells_in_gap(counts, found)
    assert (gap["seen"] > 5 * gap["growth"]).all()


def test_where_nobody_moves_a_blur_is_as_good_as_diffusion():
    counts = gap_closure.bands(pictures(motility=1e-9))
    found = gap_closure.closure(counts, ("growth, blurred", "growth and diffusion"))
    assert found.whole["growth and diffusion"].D < 20
    assert found.gain("growth and diffusion", "growth, blurred").value < 0.02


def test_cells_stay_in_the_picture_and_crowded_ones_stop():
    first = np.array([[0.0, 0.0, 40.0, 80.0, 0.0, 10.0]])
    (spread,) = gap_closure.foretell(first, (0, 50), Spread(rate=0.0, D=200.0))
    assert spread.sum() == pytest.approx(first.sum())
    (grown,) = gap_closure.foretell(first, (0, 10), Spread(rate=0.1))
    np.testing.assert_allclose(grown, np.e * first, atol=1e-9)
    (full,) = gap_closure.foretell(first + 1, (0, 1000), Spread(rate=0.1, D=50.0, capacity=60.0))
    np.testing.assert_allclose(full, 60, rtol=1e-6)


def test_the_gap_is_the_longest_empty_stretch():
    assert gap_closure.gap_of(np.array([9, 0, 8, 0, 0, 1, 9, 9, 0])) == slice(3, 6)
