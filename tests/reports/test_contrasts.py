from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from cached import available
from evidence import contrasts
from evidence.contrasts import ALONE, MEMBRANE, TOGETHER, contrast

STATES = ["a", "b", "c", "d"]
REST = np.array([0.7, 0.1, 0.1, 0.1])
MOVED = np.array([0.2, 0.5, 0.2, 0.1])
#: Plates alone and in co-culture, by time and date: those of the T cells of the real experiment.
DESIGN = {(20, "one"): (2, 1), (20, "two"): (1, 4), (3, "two"): (2, 1), (48, "two"): (2, 2)}


def counts_of(rng, shares, n=200, spread=100):
    """One plate; the larger ``spread``, the more alike plates are."""
    return rng.multinomial(n, rng.dirichlet(spread * np.asarray(shares)))


def experiment(rng, effect=0.0, design=DESIGN, membrane=None, **options):
    """Counts; ``effect``: how far co-culture moves shares, ``membrane`` likewise, on date one."""
    rows = {}
    for (time, date), numbers in design.items():
        start = REST if date == "one" else np.roll(REST, 1)  # dates differ
        end = MOVED if date == "one" else np.roll(MOVED, 1)
        if membrane is not None:
            start, end = REST, MOVED
        places = dict(zip((ALONE, TOGETHER), zip((0.0, effect), numbers, strict=True), strict=True))
        if membrane is not None and date == "one":
            places[MEMBRANE] = (membrane, 3)
        for condition, (place, n) in places.items():
            root = (1 - place) * np.sqrt(start) + place * np.sqrt(end)
            for k in range(n):
                key = ("T cells", time, date, condition, f"{time}-{date}-{condition}-{k}")
                rows[key] = counts_of(rng, root**2 / (root**2).sum(), **options)
    found = pd.DataFrame(rows, index=STATES).T
    found.index.names = ["receiver", "time", "date", "condition", "plate"]
    return found


def states(rng, *arguments, **options):
    return contrasts.plate_states(experiment(rng, *arguments, **options))


def relabelled(found):
    """The same plates under every relabelling of their strata, the real one among them."""
    strata = [part.index for _, part in found.groupby(["time", "date"])]
    ways = []
    for index in strata:
        condition = index.get_level_values("condition")
        n_alone = (condition == ALONE).sum()
        ways.append(list(combinations(range(len(index)), n_alone)))
    for chosen in product(*ways):
        names = {}
        for index, alone in zip(strata, chosen, strict=True):
            for k, key in enumerate(index):
                names[key] = ALONE if k in alone else TOGETHER
        table = found.reset_index("condition", drop=True)
        table["condition"] = [names[key] for key in found.index]
        yield table.set_index("condition", append=True)


def test_without_an_effect_yes_is_exactly_as_rare_as_it_says():
    found = states(np.random.default_rng(0))
    p = np.array([contrast(table).p for table in relabelled(found)])
    np.testing.assert_allclose(np.sort(p), np.arange(1, 271) / 270)


def test_without_an_effect_yes_is_rare_among_experiments():
    rng = np.random.default_rng(0)
    p = np.array([contrast(states(rng)).p for _ in range(200)])
    assert (p <= 0.05).mean() <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)


def test_an_effect_is_found_with_its_direction():
    rng = np.random.default_rng(1)
    shown = [contrast(states(rng, effect=0.5)) for _ in range(40)]
    assert np.mean([test.p <= 0.05 for test in shown]) >= 0.9
    strong = contrast(states(rng, effect=1.0, design={(20, "one"): (3, 4)}, n=10**5, spread=1e5))
    expected = np.sqrt(MOVED) - np.sqrt(REST)
    np.testing.assert_allclose(strong.direction, expected, atol=0.02)
    assert strong.p == strong.floor == 1 / 35


@pytest.mark.parametrize(
    ("n_alone", "n_present", "floor"),
    [(2, 3, 1 / 10), (2, 2, 2 / 6), (3, 3, 2 / 20), (3, 4, 1 / 35)],
)
def test_the_floor_is_reached_and_never_passed(n_alone, n_present, floor):
    rng = np.random.default_rng(2)
    design = {(20, "one"): (n_alone, n_present)}
    clear = contrast(states(rng, effect=1.0, design=design, spread=1e4))
    assert clear.p == pytest.approx(floor)
    assert clear.floor == pytest.approx(floor) == contrasts.smallest_p(n_alone, n_present)
    assert ("cannot be told" in clear.verdict) == (floor > 0.05)


def test_relabellings_of_strata_multiply_and_one_sided_strata_say_nothing():
    rng = np.random.default_rng(3)
    test = contrast(states(rng))
    assert len(test.statistics) == 3 * 5 * 3 * 6
    assert test.n_plates == (7, 8)
    more = contrast(states(np.random.default_rng(3), design={**DESIGN, (72, "two"): (0, 3)}))
    assert more.p == test.p
    both = contrasts.of_both([test, test])
    assert len(both.statistics) == 270**2
    assert both.floor == test.floor**2
    with pytest.raises(ValueError, match="has both 'alone' and 'membrane'"):
        contrast(states(rng), ALONE, MEMBRANE)


def test_of_too_many_relabellings_some_are_drawn(monkeypatch):
    found = states(np.random.default_rng(3), effect=0.15)
    exact = contrast(found)
    monkeypatch.setattr(contrasts, "MOST_ORDERS", 100)
    drawn = contrast(found)
    assert len(drawn.statistics) == contrasts.DRAWN + 1
    assert drawn.statistics[0] == pytest.approx(exact.statistics[0])
    assert drawn.p == pytest.approx(exact.p, abs=0.02)
    assert drawn.floor == exact.floor == 1 / 270  # that of the plates, not of the draws


def test_a_date_is_not_taken_for_an_effect():
    rng = np.random.default_rng(4)
    lopsided = {(20, "one"): (4, 1), (20, "two"): (1, 4)}  # most co-cultures on the other date
    p = [contrast(states(rng, design=lopsided)).p for _ in range(200)]
    assert np.mean(np.array(p) <= 0.05) <= 0.09


DATES = {(20, "one"): (2, 2), (20, "two"): (2, 3)}


def effect(rng, through, **options):
    found = states(rng, effect=1.0, design=DATES, membrane=through, **options)
    place = {"receiver": "T cells", "date": "one", "other": "two"}
    return contrasts.effect_along_other_date(found, **place)


@pytest.mark.parametrize(
    ("through", "says"),
    [
        (0.0, "at most 0.1 of the co-culture's effect"),
        (-0.4, "a difference, away from co-culture; at most 0.1 of the co-culture's effect"),
        (0.5, "a difference, towards co-culture"),
    ],
)
def test_the_way_through_a_membrane_has_a_sign(through, says):
    rng = np.random.default_rng(5)
    found = [effect(rng, through, n=5000, spread=5000) for _ in range(30)]
    assert np.mean([one.verdict() == says for one in found]) > 0.8
    assert np.mean([one.share for one in found]) == pytest.approx(through, abs=0.15)
    assert min(one.cosine for one in found) > 0.98
    assert all(one.lo < one.share < one.hi for one in found)


def test_intervals_of_the_share_hold_the_truth():
    rng = np.random.default_rng(6)
    found = [effect(rng, 0.0) for _ in range(150)]
    inside = np.mean([one.lo <= 0 <= one.hi for one in found])
    assert 0.9 <= inside <= 0.995


def test_without_an_effect_of_the_coculture_no_share_can_be_told():
    rng = np.random.default_rng(7)
    flat = states(rng, effect=0.0, design=DATES, membrane=0.0)
    place = {"receiver": "T cells", "date": "one", "other": "two"}
    found = contrasts.effect_along_other_date(flat, **place)
    assert found.hi == np.inf
    assert found.verdict() == "cannot be told at this size"


def test_cells_as_units_say_yes_where_plates_do_not():
    rng = np.random.default_rng(8)
    design = {(20, "one"): (3, 4)}
    wrong = right = 0
    for _ in range(50):
        counts = experiment(rng, design=design, spread=20)
        wrong += contrasts.p_of_cells(counts, ALONE, TOGETHER) <= 0.05
        right += contrast(contrasts.plate_states(counts)).p <= 0.05
    assert wrong > 25 > 8 >= right
    assert contrasts.overdispersion(counts).mean() > 3


def test_plates_of_one_culture_are_not_overdispersed():
    rng = np.random.default_rng(9)
    spread = contrasts.overdispersion(experiment(rng, design={(20, "one"): (20, 20)}, spread=1e6))
    assert spread.to_numpy() == pytest.approx([1, 1], abs=0.6)


def test_a_condition_of_one_date_is_named():
    rng = np.random.default_rng(10)
    found = states(rng, design=DATES, membrane=0.0)
    assert contrasts.on_some_dates_only(found) == {MEMBRANE: ["one"]}


# ------------------------------------------------------------------------------------------ files


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two plates of each sequencing batch; returns a function that writes the cells."""
    columns = "Amp.Batch.ID Seq.Batch.ID date treatment sorting.scheme timepoint".split()
    rows = [
        ("AB2", "SB304", 1, "OVA + LPS T only", "Trbc+", "20h"),
        ("AB1", "SB304", 1, "OVA + LPS", "doublets", "20h"),
        ("AB3", "SB309", 2, "OVA + LPS transwell", "Cd11c+", "3h"),
        ("AB9", "SB314", 2, "PBS", "Trbc+", "48h"),
    ]
    metadata = pd.DataFrame(rows, columns=columns)
    metadata.to_csv(tmp_path / "metadata.txt", sep="\t", index=False)
    colours = pd.DataFrame({"x": ["#111111", "#222222"]}, index=[1, 2])
    colours.to_csv(tmp_path / "import__in_vitro__colors.txt", sep="\t")
    key = pd.DataFrame({"group": ["naive", "mono"], "color": ["#111111", "#222222"]})
    key.to_csv(tmp_path / "import__in_vitro__color_key.txt", sep="\t", index=False)

    def write(cells):
        names = [f"WMC{number}" for number in cells]
        table = pd.DataFrame({"mc": list(cells.values())}, index=names)
        table.to_csv(tmp_path / "import__in_vitro__mc.txt", sep="\t")

    monkeypatch.setattr(contrasts.registry, "fetch", lambda name: sorted(tmp_path.glob("*.txt")))
    return write


def test_cells_are_found_on_their_plates(files):
    first, other = contrasts.FIRST_WELL.values()
    files({first + 384: 1, first + 767: 3, other: 2})
    cells = contrasts.read_cells()
    assert list(cells["plate"]) == ["AB2", "AB2", "AB3"]
    assert list(cells["condition"]) == [ALONE, ALONE, MEMBRANE]
    assert list(cells["receiver"]) == ["T cells", "T cells", "dendritic cells"]
    assert list(cells["time"]) == [20, 20, 3]
    assert list(cells["state"].fillna("none")) == ["naive", "none", "mono"]
    assert contrasts.count_states(cells).to_numpy().sum() == 2


@pytest.mark.parametrize("well", [0, 768], ids=["doublets", "between batches"])
def test_a_cell_on_no_plate_of_single_cells_is_refused(files, well):
    files({contrasts.FIRST_WELL["SB304"] + well: 1})
    with pytest.raises(ValueError, match="1 cells are on no plate"):
        contrasts.read_cells()


def test_the_real_plates_are_those_of_their_sorting():
    if not available("picseq_coculture"):
        pytest.skip("picseq_coculture is not in the cache")
    cells = contrasts.read_cells()
    table = pd.crosstab(cells["receiver"], cells["state"])
    of_dendritic = ["mono", "coc", "Cst3", "3h"]
    assert not table.loc["T cells", of_dendritic].any()
    of_t = [state for state in table if state not in of_dendritic]
    assert table.loc["dendritic cells", of_t].sum() <= 12
    at_20 = cells[(cells["time"] == 20) & (cells["receiver"] == "T cells")].dropna()
    naive = at_20["state"] == "naive"
    shares = naive.groupby(at_20["condition"]).agg(["sum", "size"])
    assert shares.loc[TOGETHER].tolist() == [36, 1506]
    assert shares.loc[ALONE].tolist() == [624, 633]
    assert shares.loc[MEMBRANE].tolist() == [621, 631]
