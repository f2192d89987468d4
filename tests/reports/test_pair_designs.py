"""What a design can tell of pairs: counted floors, and effects that are told as often as said."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence import pair_designs
from evidence.pairs import pairs_in_closed_form

PAIRS = pd.DataFrame({"ligand": ["lig"], "receptor": ["rec"]})
TIMES = (0.0, 1.0, 2.0)


def dishes(rng, n_dishes=8, effect=0.0, n=100):
    """Dishes of one type in which a ligand differs; ``effect``: of the most on the least, s.d."""
    parts = []
    for k in range(n_dishes):
        ligand = k / max(n_dishes - 1, 1)
        taken = ligand / (1 + ligand)  # receptors are 1
        moved = 0.0
        for time in TIMES:
            cells = pd.DataFrame({"lig": np.full(n, ligand), "rec": 1.0})
            cells["target"] = moved + rng.standard_normal(n)
            parts.append(cells.assign(time=time, population=f"dish{k}"))
            moved += effect * taken / 0.5 / (len(TIMES) - 1) + 0.1 * rng.standard_normal()
    table = pd.concat(parts, ignore_index=True).rename(index=str)
    obs = table[["time", "population"]].assign(cell_type="one")
    return ad.AnnData(table[["lig", "rec", "target"]], obs=obs)


def smallest(adata, **options):
    return pair_designs.smallest_effects(adata, PAIRS, **options).to_numpy().item()


def test_the_smallest_effect_is_found_four_times_out_of_five():
    sizes = [smallest(dishes(np.random.default_rng(seed))) for seed in range(20)]
    truth = float(np.mean(sizes))
    told = []
    for seed in range(40):
        adata = dishes(np.random.default_rng(100 + seed), effect=truth)
        p = pairs_in_closed_form(adata, PAIRS, permutations=99, seed=seed)["p"].item()
        told.append(p <= 0.025)  # the score counts what a pair raises only: one-sided
    assert np.mean(told) == pytest.approx(0.8, abs=0.15)


def test_more_dishes_tell_smaller_effects_and_as_many_as_foretold():
    few = np.mean([smallest(dishes(np.random.default_rng(k), n_dishes=4)) for k in range(10)])
    many = np.mean([smallest(dishes(np.random.default_rng(k), n_dishes=16)) for k in range(10)])
    design = pair_designs.pair_design(dishes(np.random.default_rng(0), n_dishes=4), PAIRS)
    level = pair_designs.FALSE_DISCOVERIES
    sizes = [smallest(dishes(np.random.default_rng(k), 4), level=level) for k in range(10)]
    n = pair_designs.populations_needed(design, float(np.mean(sizes)), many, 1)
    assert many < few
    assert 8 <= n <= 20


@pytest.mark.parametrize(("n", "free", "floor"), [(1, 0, 1.0), (3, 3, 1 / 6), (4, 5, 1 / 24)])
def test_a_design_is_counted(n, free, floor):
    design = pair_designs.pair_design(dishes(np.random.default_rng(0), n_dishes=n), PAIRS)
    assert design == (n, 2 * n, free, pytest.approx(floor), 4)
    of_many = pd.concat([PAIRS] * 60)
    assert pair_designs.pair_design(dishes(np.random.default_rng(0)), of_many).needed == 6


def test_one_dish_tells_no_effect_of_any_size():
    assert np.isinf(smallest(dishes(np.random.default_rng(0), n_dishes=1)))
    alike = dishes(np.random.default_rng(0))
    alike.X[:, 0] = 1.0
    assert np.isinf(smallest(alike))


def test_targets_are_those_that_vary_most_and_members_stay():
    rng = np.random.default_rng(1)
    names = ["a", "lig", "b", "rec", "c"]
    x = rng.standard_normal((50, 5)) * [1, 0.1, 3, 0.1, 2]
    adata = ad.AnnData(x, var=pd.DataFrame(index=names))
    kept = pair_designs.with_targets(adata, PAIRS, 2)
    assert list(kept.var_names) == ["lig", "b", "rec", "c"]


def test_dishes_differ_by_what_was_put_in():
    adata = dishes(np.random.default_rng(2), n_dishes=2, effect=2.0, n=2000)
    found = pair_designs.differences_between(adata)
    assert found["target"] == pytest.approx(2.0 / adata.to_df()["target"].std(), rel=0.2)
