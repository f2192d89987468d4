"""A file of your own: conditions by plate and positions by well, and what is refused in words."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence import own_design
from evidence.contrasts import contrast, plate_states

REST, MOVED = np.array([0.6, 0.3, 0.1]), np.array([0.3, 0.3, 0.4])
BATCHES = {"one": (4, 4), "two": (3, 3)}  # plates of control and drug


def cells_of(rng, drug=REST, batches=BATCHES, n=100):
    """Cells on plates; batches differ, and so do plates."""
    parts = []
    for batch, numbers in batches.items():
        for condition, shares, n_plates in zip(
            ("control", "drug"), (REST, drug), numbers, strict=True
        ):
            of_batch = shares * [1, 1 + (batch == "two"), 1]
            for k in range(n_plates):
                states = rng.choice(list("abc"), n, p=rng.dirichlet(60 * of_batch / of_batch.sum()))
                part = pd.DataFrame({"cell_type": states, "population": f"{batch}{condition}{k}"})
                parts.append(part.assign(condition=condition, batch=batch))
    obs = pd.concat(parts, ignore_index=True).rename(index=str)
    return ad.AnnData(obs=obs)


# ------------------------------------------------------------------------------------- conditions


def test_conditions_are_compared_within_batches():
    answer = own_design.answers_of({"conditions": cells_of(np.random.default_rng(0), MOVED)})
    found = answer["conditions"]
    (row,) = found.table.itertuples()
    assert (row.first, row.second, row.plates) == ("control", "drug", (7, 7))
    assert row.smallest_p == pytest.approx(2 / (70 * 20))
    assert row.verdict == "yes" and row.p <= 0.01
    part = found.differences["control", "drug"]
    assert part["difference"].sum() == pytest.approx(0)
    assert (part["lo"] < part["difference"]).all() and (part["smallest"] > 0).all()


def test_a_batch_is_no_condition_and_yes_is_rare():
    yes = []
    for seed in range(60):
        counts = own_design.count_by_plate(cells_of(np.random.default_rng(seed)))
        yes.append(own_design.contrast_table(counts).loc[0, "verdict"] == "yes")
    assert np.mean(yes) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)


def test_limits_hold_the_truth_and_the_smallest_difference_is_told_four_times_out_of_five():
    inside, width, smallest = [], [], []
    batches = {"one": (4, 4)}
    for seed in range(60):
        adata = cells_of(np.random.default_rng(seed), MOVED, batches)
        part = own_design.differences(own_design.count_by_plate(adata), "control", "drug")
        inside.append((part["lo"] <= MOVED - REST) & (MOVED - REST <= part["hi"]))
        width.append((part["hi"] - part["lo"]).to_numpy() / 2)
        smallest.append(part["smallest"].to_numpy())
    assert np.mean(inside) == pytest.approx(0.95, abs=0.04)
    truth = np.mean(smallest, axis=0)[0]  # as much less of "a"
    less = REST + truth * np.array([-1, 1, 0])
    told = []
    for seed in range(60):
        adata = cells_of(np.random.default_rng(1000 + seed), less, batches)
        part = own_design.differences(own_design.count_by_plate(adata), "control", "drug")
        told.append(part.loc["a", "hi"] < 0)
    assert np.mean(told) == pytest.approx(0.8, abs=0.12)


@pytest.mark.parametrize(
    ("batches", "floor", "says"),
    [
        ({"one": (2, 3)}, 0.1, "cannot be told: 4 plates of each in one batch are needed"),
        ({"one": (4, 0), "two": (0, 4)}, 1.0, "cannot be told: no batch and time has both"),
    ],
    ids=["few plates", "confounded"],
)
def test_what_cannot_be_told_says_what_is_needed(batches, floor, says):
    answer = own_design.answers_of(
        {"conditions": cells_of(np.random.default_rng(1), MOVED, batches)}
    )
    table = answer["conditions"].table
    assert table.loc[0, "smallest_p"] == pytest.approx(floor)
    assert table.loc[0, "verdict"].startswith(says)


def test_a_third_condition_is_a_row_of_its_own_and_corrected_for():
    rng = np.random.default_rng(2)
    two = cells_of(rng, MOVED)
    third = cells_of(rng, REST)
    obs = third.obs[third.obs["condition"] == "drug"].replace({"condition": {"drug": "other"}})
    obs["population"] += "x"
    both = pd.concat([two.obs, obs], ignore_index=True).rename(index=str)
    counts = own_design.count_by_plate(ad.AnnData(obs=both))
    table = own_design.contrast_table(counts)
    assert list(table["first"] + table["second"]) == ["controldrug", "controlother", "drugother"]
    assert (table["q"] >= table["p"]).all()
    assert table.loc[0, "p"] == contrast(plate_states(counts), "control", "drug").p


def spoilt(change):
    adata = cells_of(np.random.default_rng(3))
    obs = adata.obs
    if change == "no plate":
        del obs["population"]
    if change == "hole":
        obs.loc["3", "condition"] = None
    if change == "plate of two conditions":
        obs.loc["0", "condition"] = "drug"
    if change == "plate of two times":
        obs["time"] = np.arange(len(obs)) % 2
    if change == "one condition":
        obs["condition"] = "drug"
    if change == "one state":
        obs["cell_type"] = "a"
    return adata


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("no plate", r"obs\['population'\] is missing; .* say POPULATION_KEY="),
        ("hole", r"obs\['condition'\] is missing for 1 cells"),
        (
            "plate of two conditions",
            r"'onecontrol0' has more than one condition \(drug, control\)",
        ),
        ("plate of two times", r"more than one time \(0, 1\); a plate is harvested once"),
        ("one condition", r"obs\['condition'\] has \['drug'\], expected at least two"),
        ("one state", r"obs\['cell_type'\] has \['a'\], expected at least two"),
    ],
)
def test_bad_conditions_are_one_sentence(change, says):
    with pytest.raises(ValueError, match=says):
        own_design.count_by_plate(spoilt(change))


def test_cells_without_a_state_are_left_out_and_columns_may_be_categories():
    adata = cells_of(np.random.default_rng(4))
    adata.obs.loc["0", "cell_type"] = None
    adata.obs = adata.obs.astype("category")
    counts = own_design.count_by_plate(adata)
    assert counts.to_numpy().sum() == adata.n_obs - 1
    assert len(counts) == 14


# ------------------------------------------------------------------------------------- positions

SIDE = 30.0  # distances that cells keep


def apart(rng, n, least=0.0):
    """Cells in a square, none nearer to another than ``least``."""
    kept = np.empty((0, 2))
    while len(kept) < n:
        one = SIDE * rng.random(2)
        if not len(kept) or ((kept - one) ** 2).sum(1).min() >= least**2:
            kept = np.vstack([kept, one])
    return kept


def wells(least, n_wells=6, unit=1.0, seed=0):
    rng = np.random.default_rng(seed)
    sizes = np.linspace(250, 400, n_wells).astype(int)
    obs = pd.DataFrame({"population": [f"w{k}" for k, n in enumerate(sizes) for _ in range(n)]})
    cells = np.concatenate([apart(rng, n, least) for n in sizes])
    return ad.AnnData(obs=obs.rename(index=str), obsm={"spatial": unit * cells - 7})


def test_cells_that_keep_their_distance_push_in_any_unit():
    found = [
        own_design.answers_of({"positions": wells(0.9, unit=unit)})["positions"]
        for unit in (1.0, 1000.0)
    ]
    assert found[0].verdict == "yes: near cells push each other apart"
    assert found[0].p == found[0].smallest_p == pytest.approx(0.5**6)
    np.testing.assert_allclose(found[0].table, found[1].table, rtol=1e-6)
    assert found[1].unit == pytest.approx(1000 * found[0].unit)


def test_scattered_cells_do_not_and_few_wells_cannot_tell():
    scattered = [
        own_design.pair_force(own_design.pictures_of(wells(0.0, seed=k))) for k in range(8)
    ]
    assert not [one.verdict for one in scattered if one.verdict.startswith("yes")]
    few = own_design.pair_force(own_design.pictures_of(wells(0.9, n_wells=3)))
    assert few.verdict == "cannot be told: 3 wells, 5 are needed"


def test_pictures_are_those_of_a_well_at_a_time():
    adata = wells(0.0, n_wells=2)
    adata.obs["time"] = np.arange(adata.n_obs) % 2
    pictures = own_design.pictures_of(adata)
    assert set(pictures) == {("w0", 0), ("w0", 1), ("w1", 0), ("w1", 1)}
    assert sum(map(len, pictures.values())) == adata.n_obs
    first = ((adata.obs["population"] == "w0") & (adata.obs["time"] == 0)).to_numpy()
    np.testing.assert_array_equal(pictures["w0", 0], adata.obsm["spatial"][first])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a.obsm.clear(), r'obsm\["spatial"\] is missing'),
        (lambda a: a.obsm.update(spatial=np.zeros((a.n_obs, 3))), r"expected finite \(cells, 2\)"),
        (lambda a: a.obs.insert(0, "cell_type", ["a", *"b" * (a.n_obs - 1)]), "keep one"),
        (lambda a: a.obs.drop(columns="population", inplace=True), "names one well"),
        (lambda a: a.obsm.update(spatial=np.zeros((a.n_obs, 2))), "stand on each other"),
    ],
    ids=["none", "in space", "two types", "one well", "no room"],
)
def test_bad_positions_are_one_sentence(change, says):
    adata = wells(0.0, n_wells=2)
    change(adata)
    with pytest.raises(ValueError, match=says):
        own_design.pair_force(own_design.pictures_of(adata))


# ------------------------------------------------------------------------------------- the file


def test_a_file_is_read_by_the_names_of_its_columns(tmp_path):
    adata = cells_of(np.random.default_rng(5))
    adata.obs = adata.obs.rename(columns={"population": "plate", "condition": "drug"})
    adata.write_h5ad(tmp_path / "mine.h5ad")
    names = {"condition": "drug", "population": "plate", "cell_type": "", "batch": "", "time": ""}
    found = own_design.read_own(tmp_path / "mine.h5ad", names)
    assert list(found.obs) == ["condition", "population", "cell_type", "batch"]
    assert own_design.modes_of(found, "mine.h5ad") == ["conditions"]
    assert len(own_design.count_by_plate(found)) == 14
    with pytest.raises(ValueError, match=r"mine\.h5ad: obs\['drugs'\] is missing; there are"):
        own_design.read_own(tmp_path / "mine.h5ad", names | {"condition": "drugs"})
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"text\.csv: is no \.h5ad file"):
        own_design.read_own(tmp_path / "text.csv", names)
    with pytest.raises(ValueError, match=r"mine: expected obs\['condition'\] .*CONDITION_KEY="):
        own_design.modes_of(ad.AnnData(obs=adata.obs[[]]), "mine")


def test_a_refusal_of_one_question_leaves_the_other():
    adata = wells(0.9)
    adata.obs["condition"] = "all alike"
    adata.obs["cell_type"] = "a"
    found = own_design.answers_of({"conditions": adata, "positions": adata})
    assert found["conditions"].startswith("obs['condition'] has ['all alike']")
    assert found["positions"].verdict.startswith("yes")
