import numpy as np
import pandas as pd
import pytest
from evidence import positions
from evidence.positions import Equations
from scipy.spatial import cKDTree

SIZE = 600.0
PICTURE = (SIZE, SIZE)
TRUTH = np.array([0.0, 0.4, 0.0, 0.0])  # pushes apart
NEAR = (8, 12, 16)


def scattered(rng, n):
    return SIZE * rng.random((n, 2))


def settled(rng, n, steps=150, step=1.0):
    """Cells that push each other for a while; the picture is periodic, motility 1."""
    x = scattered(rng, n)
    for _ in range(steps):
        i, j = cKDTree(x, boxsize=SIZE).query_pairs(40, output_type="ndarray").T
        away = x[i] - x[j]
        away -= SIZE * np.round(away / SIZE)
        distance = np.linalg.norm(away, axis=1)
        push = (positions.force(TRUTH, distance) / distance)[:, None] * away
        drift = np.zeros_like(x)
        np.add.at(drift, i, push)
        np.add.at(drift, j, -push)
        x = (x + step * drift + np.sqrt(2 * step) * rng.standard_normal(x.shape)) % SIZE
    return x


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    names = [f"{seeded}_{k}" for seeded in (8000, 10000, 12000) for k in "ABC"]
    sizes = np.linspace(250, 600, 9).astype(int)
    return {(well, 12): settled(rng, n) for well, n in zip(names, sizes, strict=True)}


@pytest.fixture(scope="module")
def wells(pictures):
    return positions.by_well(pictures, picture=PICTURE)


def test_the_force_is_found_in_every_way_it_is_asked(wells):
    found = positions.force_table(wells, NEAR)
    truth = positions.force(TRUTH, NEAR)
    assert (np.abs(found["force"] - truth) < np.maximum(4 * found["se"], 0.1 * truth)).all()
    assert (found["z"] > 3).all()
    assert (positions.held_out_gains(wells) > 0).all()
    low = [well for well in wells if well.startswith("8000")]
    high = [well for well in wells if well.startswith("12000")]
    upwards = positions.transfer_gains(wells, low, high)
    assert (upwards["gain"] > 0).all()
    assert (upwards["gain"] <= upwards["own_gain"]).all()


def test_jittered_cells_have_no_force(pictures):
    moved = positions.jittered(pictures, picture=PICTURE)
    control = positions.force_table(positions.by_well(moved, picture=PICTURE), NEAR)
    real = positions.force(TRUTH, NEAR)
    assert (control["force"].abs() < 0.15 * real).all()
    ratio = positions.near_and_far(pictures, [moved], [0, 6, 12, 50])
    assert ratio.loc[12, "0-6"] < 0.6
    assert ratio.loc[12, "12-50"] == pytest.approx(1, abs=0.15)
    for key, cells in moved.items():
        assert cells.shape == pictures[key].shape
        assert (cells >= 0).all()
        assert (cells <= SIZE).all()


def test_scattered_cells_are_not_taken_for_interacting():
    rng = np.random.default_rng(1)
    far = wrong = 0
    for _ in range(40):
        pictures = {(f"well{k}", 12): scattered(rng, 100 + 20 * k) for k in range(9)}
        wells = positions.by_well(pictures, picture=PICTURE)
        z = positions.force_table(wells, NEAR)["z"]
        far += (z.abs() > 3).any()
        wrong += (z > 3).all() and (positions.held_out_gains(wells) > 0).sum() >= 8
    assert wrong == 0
    assert far <= 6  # of 40: three distances, eight degrees of freedom


def test_divergence_and_products_are_those_of_the_fields():
    rng = np.random.default_rng(2)
    cells = 300 + 30 * rng.standard_normal((6, 2))

    def field(x, i):  # (widths, 2) of receiver i
        away = x[i] - np.delete(x, i, axis=0)
        weight = np.exp(-(away**2).sum(1)[:, None] / (2 * positions.WIDTHS**2)) / positions.WIDTHS
        return weight.T @ away

    products = np.zeros((4, 4))
    divergence = np.zeros(4)
    for i in range(len(cells)):
        products += field(cells, i) @ field(cells, i).T
        for axis in (0, 1):
            step = np.zeros_like(cells)
            step[i, axis] = 1e-4
            change = field(cells + step, i)[:, axis] - field(cells - step, i)[:, axis]
            divergence += change / 2e-4
    found = Equations.of(cells, picture=PICTURE)
    assert found.n == 6
    np.testing.assert_allclose(found.products, products, rtol=1e-8)
    np.testing.assert_allclose(found.divergence, divergence, rtol=1e-5)


def test_wells_add_up_and_no_force_beats_their_own(wells):
    rng = np.random.default_rng(3)
    whole = positions.together(wells)
    assert whole.n == sum(one.n for one in wells.values())
    best = whole.solve()
    for _ in range(20):
        assert whole.gain(best + 0.1 * rng.standard_normal(4)) < whole.gain(best)
    assert whole.gain(np.zeros(4)) == 0
    rest = positions.together(wells, without=["8000_A"])
    np.testing.assert_allclose((rest + wells["8000_A"]).products, whole.products)


# ----------------------------------------------------------------------------------------- growth


def rates(slope, noise, seed=0, n=9):
    rng = np.random.default_rng(seed)
    density = np.linspace(60, 270, n)
    rate = 0.03 + slope * density + noise * rng.standard_normal(n)
    return pd.DataFrame({"density": density, "rate": rate}, index=[f"well{k}" for k in range(n)])


def test_growth_that_density_limits_is_found_and_has_an_interval():
    found = positions.density_limits_growth(rates(-1e-4, 1e-3))
    assert found.verdict == "yes"
    assert found.lo < -1e-4 < found.hi < 0
    assert positions.density_limits_growth(rates(1e-4, 1e-3)).verdict.startswith("no")


def test_a_slope_that_one_well_carries_cannot_be_told():
    table = rates(0.0, 1e-3, seed=1)
    table.loc["well0", "rate"] += 0.03
    table.loc["well1", "rate"] += 0.015
    found = positions.density_limits_growth(table)
    assert found.verdict == "cannot be told"
    assert found.without.idxmax() == "well0"


def test_no_slope_is_rarely_called_one():
    yes = [positions.density_limits_growth(rates(0.0, 1e-3, seed=k)).verdict for k in range(100)]
    assert np.mean([verdict != "cannot be told" for verdict in yes]) <= 0.05


def test_growth_is_counted_from_the_pictures():
    pictures = {("w", 12): np.zeros((100, 2)), ("w", 30): np.zeros((5, 2))}
    pictures["w", 48] = np.zeros((200, 2))
    found = positions.growth(pictures, area=1440 * 1900)
    assert found.loc["w", "density"] == pytest.approx(100)
    assert found.loc["w", "rate"] == pytest.approx(np.log(2) / 36)


def test_pictures_are_read_by_well_and_hour(tmp_path, monkeypatch):
    file = tmp_path / "PC3_8000_E2_12h.csv"
    file.write_text("26.902,1356.9\n43.206,145.52\n")
    monkeypatch.setattr(positions.registry, "fetch", lambda name: [file])
    pictures = positions.read_positions()
    assert list(pictures) == [("8000_E2", 12)]
    np.testing.assert_allclose(pictures["8000_E2", 12][1], [43.206, 145.52])
