import numpy as np
import pytest
from evidence.two_sided import Mix, TwoSided, _whole, fit_two_sided, reversed_time

from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig

QUICK = SDEConfig(
    hidden=(8,), hidden_interaction=8, steps=3, batch_cells=16, batch_groups=4, dt=0.5
)


@pytest.fixture(scope="module")
def bridge(tiny, tmp_path_factory):
    adata, split, space = tiny
    options = {
        "configs": {"a": QUICK},
        "seeds": [0],
        "cache": tmp_path_factory.mktemp("fits"),
    }
    return fit_two_sided(adata, split, space, workers=1, mix=Mix(moved=2 / 3), **options)["a", 0]


def test_reversed_time_hands_on_training_cells_only(tiny):
    adata, split, _ = tiny
    back, nothing = reversed_time(adata, split)
    assert back.n_obs == split.train_mask(adata).sum() and not nothing.held_mask(back).any()
    assert sorted(back.obs["time"].unique()) == list(nothing.times) == [-4.0, -3.0, -1.0, 0.0]


def test_weights_by_hand(bridge):
    found = bridge.weights("p00", 2.0)  # held-out time between 1 and 3; training times 0, 1, 3, 4
    closeness = {0.0: 1 / 2, 1.0: 1, 3.0: 1, 4.0: 1 / 2}
    expected = {("forward", 1.0): 1 / 3, ("backward", 3.0): 1 / 3}
    expected |= {("observed", t): (1 / 3) * c / 3 for t, c in closeness.items()}
    assert found == pytest.approx(expected) and sum(found.values()) == pytest.approx(1)
    alike = TwoSided(bridge.forward, bridge.backward, Mix(0.0, power=0.0)).weights("p00", 2.0)
    assert [alike["observed", t] for t in (0.0, 1.0, 3.0, 4.0)] == pytest.approx([1 / 4] * 4)
    near = TwoSided(bridge.forward, bridge.backward, Mix(0.0, power=np.inf)).weights("p00", 2.0)
    assert near["observed", 1.0] == near["observed", 3.0] == 0.5 and ("observed", 0.0) not in near


def test_a_held_out_population_only_moves_forward(bridge):
    assert bridge.weights("p04", 3.0) == {("forward", 0.0): 1.0}
    with pytest.raises(ValueError, match="no earlier snapshot"):
        bridge.weights("p00", 0.0)


def test_samples_have_the_shares_and_nothing_moves_at_zero(tiny, bridge):
    adata = tiny[0]
    cells = bridge.sample([2.0], n=60, populations=["p00"])
    assert (
        cells.n_obs == 60
        and set(cells.obs["time"]) == {2.0}
        and set(cells.obs["population"]) == {"p00"}
    )
    assert cells.obs["start_time"].value_counts().to_dict() == {1.0: 27, 3.0: 27, 0.0: 3, 4.0: 3}
    still = TwoSided(bridge.forward, bridge.backward, Mix(moved=0.0)).sample(
        [2.0], n=60, populations=["p00"]
    )
    observed = adata[still.obs["start_cell"].to_numpy()].obsm["X_scimf"]
    np.testing.assert_array_equal(still.obsm["X_scimf"], observed)


def test_whole_numbers_keep_the_sum():
    for n in (1, 7, 100):
        assert _whole(np.array([1 / 3, 1 / 3, 1 / 6, 1 / 6]), n).sum() == n


def test_replaced_held_out_cells_leave_every_prediction_identical(tiny, tmp_path):
    adata, split, _ = tiny
    changed = adata.copy()
    changed.X[split.held_mask(adata)] = 1e3
    clouds = []
    for k, data in enumerate((adata, changed)):
        space = fit_space(data, split)
        fits = fit_two_sided(
            data,
            split,
            space,
            configs={"a": QUICK},
            seeds=[0],
            cache=tmp_path / str(k),
            workers=1,
        )
        clouds.append(fits["a", 0].sample([2.0], n=40).obsm["X_scimf"])
    np.testing.assert_array_equal(*clouds)


def test_forecast_needs_no_later_time(tiny, tmp_path):
    adata = tiny[0][(tiny[0].obs["time"] < 4).to_numpy()].copy()
    split = hold_out(adata, times=[3.0])  # the last one
    space = fit_space(adata, split)
    fits = fit_two_sided(
        adata,
        split,
        space,
        configs={"a": QUICK},
        seeds=[0],
        cache=tmp_path,
        workers=1,
    )
    assert (
        fits["a", 0].weights("p00", 3.0) == {("forward", 2.0): 1.0}
        and fits["a", 0].backward is None
    )
