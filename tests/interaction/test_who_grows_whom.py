"""Who makes whom divide or die, read from numbers that follow the equation itself."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scimf
from scimf.dynamics.snapshots import KEY
from scimf.interaction.type_means import TypeSnapshots

RATES = np.array([0.3, 0.0, -0.3])
EFFECTS = np.array([[0.0, 0.8, -0.8], [0.0, 0.0, 0.0], [0.0, 0.0, -0.5]])  # (receiver, sender)
TIMES = np.arange(5.0)
STEP = 0.01


def numbers_over_time(start, density, effects):  # (times, populations, types)
    """Integrate the equation by many small steps."""
    log, found = np.log(start), []
    for time in np.arange(0, TIMES[-1] + STEP / 2, STEP):
        if np.isclose(time, TIMES).any():
            found.append(np.exp(log))
        log = log + STEP * (RATES + density[:, None] * np.exp(log) @ effects.T)
    return np.stack(found)


def counted(seed=0, *, n_populations=16, n_cells=400, effects=EFFECTS):
    rng = np.random.default_rng(seed)
    start = rng.dirichlet(np.full(3, 2.0), size=n_populations)
    density = np.exp(rng.uniform(*np.log([0.5, 2.0]), size=n_populations))
    numbers = numbers_over_time(start, density, effects)
    mass = numbers.sum(2)
    count = rng.multinomial(n_cells, numbers / mass[..., None])  # (times, populations, types)
    t, p, kind = np.indices(count.shape).reshape(3, -1).repeat(count.ravel(), axis=1)
    columns = {"time": TIMES[t], "population": np.char.add("p", p.astype(str))}
    columns |= {"cell_type": np.array(["a", "b", "c"])[kind], "density": density[p]}
    obs = pd.DataFrame(columns | {"mass": mass[t, p]})
    obs.index = obs.index.astype(str)
    return ad.AnnData(obs=obs), numbers


@pytest.fixture(scope="module")
def data():
    return counted()


@pytest.fixture(scope="module")
def growth(data):
    return scimf.who_multiplies_whom(data[0], permutations=99)


def test_effects_and_rates_are_those_of_the_equation(growth):
    np.testing.assert_allclose(growth.matrix(), EFFECTS, atol=0.25)
    np.testing.assert_allclose(growth.rates["rate"], RATES, atol=0.1)
    table = growth.table
    true = EFFECTS.ravel()
    assert ((table["lo"] <= true) & (true <= table["hi"])).sum() >= 7
    called = table.loc[table["q"] <= 0.05, ["receiver", "sender"]].to_numpy().tolist()
    assert ["a", "b"] in called
    assert ["a", "c"] in called
    assert growth.p == 0.01
    assert not growth.relative


def test_without_the_number_of_cells_it_is_what_differs_between_types(data, growth):
    still = np.diag([0.0, 0.0, -0.5])  # rates and effects that leave the mass alone are the same
    adata = counted(effects=still)[0]
    weight = adata.obs["cell_type"].value_counts(normalize=True).sort_index().to_numpy()
    del adata.obs["mass"]
    found = scimf.who_multiplies_whom(adata, permutations=99)
    assert found.relative
    rates = found.rates["rate"].to_numpy()
    np.testing.assert_allclose(weight @ rates, 0, atol=0.02)
    np.testing.assert_allclose(rates, RATES - weight @ RATES, atol=0.15)
    np.testing.assert_allclose(found.predict(3.0).sum(axis=1), 1)


def test_numbers_at_an_unseen_time_are_those_of_the_equation(data):
    adata, numbers = data
    before = adata[(adata.obs["time"] < 4).to_numpy()]
    predicted = scimf.who_multiplies_whom(before, permutations=1).predict(4.0)
    names = np.array([f"p{p}" for p in range(len(predicted))])
    predicted = predicted.loc[names].to_numpy()
    error = np.abs(predicted - numbers[4]).mean()
    assert error < 0.25 * np.abs(numbers[3] - numbers[4]).mean()


def test_what_if_a_type_is_removed_or_doubled_is_answered_by_the_equation(data, growth):
    adata, numbers = data
    names = [f"p{k}" for k in range(numbers.shape[1])]
    density = adata.obs.groupby("population", observed=True)["density"].first()[names]
    as_it_was = growth.predict(2.0).loc[names].to_numpy()
    for factors in ({"c": 0.0}, {"b": 2.0}):
        start = numbers[0] * np.array([factors.get(kind, 1.0) for kind in "abc"])
        with np.errstate(divide="ignore"):
            true = numbers_over_time(start, density.to_numpy(), EFFECTS)[2]
        found = growth.predict(2.0, factors=factors).loc[names].to_numpy()
        np.testing.assert_allclose(found[start == 0], 0, atol=1e-6)
        shift = np.log(found[:, 0] / as_it_was[:, 0])  # of type a, which hears b and c
        true_shift = np.log(true[:, 0] / numbers[2, :, 0])
        assert np.corrcoef(shift, true_shift)[0, 1] > 0.95
        error = np.linalg.norm(shift - true_shift)
        assert error < 0.3 * np.linalg.norm(true_shift)  # 1: nothing changes


def test_a_change_of_what_is_not_there_is_refused(growth):
    with pytest.raises(ValueError, match="'d'.*not among the types"):
        growth.predict(4.0, factors={"d": 2.0})
    with pytest.raises(ValueError, match="numbers from 0"):
        growth.predict(4.0, factors={"a": -1.0})


def test_growth_that_depends_on_nobody_is_told_as_such():
    p = []
    for seed in range(6):
        adata = counted(seed, n_populations=10, n_cells=100, effects=np.zeros((3, 3)))[0]
        p.append(scimf.who_multiplies_whom(adata, permutations=39).p)
    assert np.sort(p)[1] > 0.05


def test_few_populations_have_no_p_values():
    found = scimf.who_multiplies_whom(counted(n_populations=4)[0])
    assert np.isnan(found.p)
    assert found.table[["p", "q"]].isna().all(axis=None)
    assert np.isfinite(found.table["effect"]).all()


def one_population(obs):
    return obs[obs["population"] == "p0"]


def one_time(obs):
    return obs[obs["time"] == 0]


def mass_of_each_cell(obs):
    return obs.assign(mass=1.0 + np.arange(len(obs)))


def no_mass_left(obs):
    return obs.assign(mass=obs["mass"].where(obs["time"] < 4, 0.0))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (one_population, "one population"),
        (one_time, "'a' is too rare"),
        (no_mass_left, r"obs\['mass'\]: expected a positive number"),
        (mass_of_each_cell, r"obs\['mass'\]: .* the same for all its cells"),
    ],
)
def test_what_cannot_be_read_is_refused(data, spoil, said):
    with pytest.raises(ValueError, match=said):
        scimf.who_multiplies_whom(ad.AnnData(obs=spoil(data[0].obs)))


# ------------------------------------------------------------------------------------ in one call


def test_one_call_tells_who_moves_and_who_multiplies_whom():
    adata = counted(n_populations=6, n_cells=60)[0]
    adata.obsm[KEY] = np.random.default_rng(0).standard_normal((adata.n_obs, 2))
    found = scimf.who_moves_whom(adata, form="towards", permutations=9)
    alone = scimf.who_multiplies_whom(adata, permutations=9)
    pd.testing.assert_frame_equal(found.growth.table, alone.table)
    del adata.obs["mass"]
    assert scimf.who_moves_whom(adata, form="towards", permutations=9).growth is None


def test_senders_count_by_their_number(data):
    adata = data[0].copy()
    adata.obsm[KEY] = np.zeros((adata.n_obs, 1))
    snapshots = TypeSnapshots.of(adata)
    first = adata.obs.groupby(["time", "population"])["mass"].first().unstack().to_numpy()
    np.testing.assert_array_equal(snapshots.mass, first)
    del adata.obs["mass"]
    without = TypeSnapshots.of(adata)
    np.testing.assert_array_equal(without.sent, without.density[:, None] * without.share)
    np.testing.assert_allclose(snapshots.sent, first[..., None] * without.sent)
