"""Every way to write a time: the right number and unit, said in words, or one sentence."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scimf
from scimf.data.split import hold_out
from scimf.data.times import cells_with_a_time, read_times

PATH = Path("my.h5ad")
CELLS = 4  #: of each label


def column(labels, key="when", cells=CELLS):
    """``obs`` with ``cells`` cells of each label; a Series keeps its type."""
    if isinstance(labels, pd.Series | pd.Index | np.ndarray):
        return pd.DataFrame({key: pd.Series(labels).repeat(cells).reset_index(drop=True)})
    return pd.DataFrame({key: pd.Series(np.repeat(np.array(labels, dtype=object), cells))})


def times_of(labels, key="when", **options):
    """Time of each label, the unit, and what was said."""
    notes = []
    times, unit = read_times(column(labels, key), key, PATH, notes, **options)
    assert times.dtype == np.float64
    return times[::CELLS].tolist(), unit, " ".join(notes)


def rows(*table):
    """Parameters with the first label and the family as their name."""
    return [pytest.param(*row, id=f"{row[0]}: {row[1][0]!a}"[:60]) for row in table]


# ----------------------------------------------------------------------------- labels that are read


@pytest.mark.parametrize(
    ("family", "labels", "times", "unit"),
    rows(
        ("plain", ["0", "3", "10.5"], [0, 3, 10.5], None),
        ("plain", ["3", "03", "4.0", "4"], [3, 3, 4, 4], None),
        ("plain", [" 3 ", "3", "4"], [3, 3, 4], None),
        ("plain", ["-0", "0", "1"], [0, 0, 1], None),
        ("plain", [1, "1", 2], [1, 1, 2], None),
        ("dot", [".5h", "1h", "2h"], [0.5, 1, 2], "hour"),
        ("dot", ["3.", "4."], [3, 4], None),
        ("dot", ["t=.5", "t=1"], [0.5, 1], None),
        ("dot", ["hr. 4", "hr. 8"], [4, 8], "hour"),
        ("exponent", ["1e3", "2.5e+3", "5E-1"], [1000, 2500, 0.5], None),
        ("exponent", ["day 1e+01", "day 5e-01"], [10, 0.5], "day"),
        ("exponent", ["1e3 min", "2e3 min"], [1000, 2000], "minute"),
        ("comma", ["1,5 h", "2,25 h", "3 h"], [1.5, 2.25, 3], "hour"),
        ("comma", ["0,125", "0,5"], [0.125, 0.5], None),
        ("sign", ["-1", "2"], [-1, 2], None),
        ("sign", ["+1", "-1", "0"], [1, -1, 0], None),
        ("sign", ["D-1", "D0", "D1"], [-1, 0, 1], "day"),
        ("sign", ["D-2", "D-1", "D+0", "D+1"], [-2, -1, 0, 1], "day"),
        ("sign", ["day -1", "day 0"], [-1, 0], "day"),
        ("sign", ["day -1", "day -3"], [-1, -3], "day"),
        ("sign", ["Day_-1", "Day_0"], [-1, 0], "day"),
        ("sign", ["t=-1.5", "t=0"], [-1.5, 0], None),
        ("sign", ["\u22121d", "0d", "1d"], [-1, 0, 1], "day"),
        ("sign", ["\u20131 d", "0 d"], [-1, 0], "day"),
        ("sign", ["d\u22121", "d1"], [-1, 1], "day"),
        ("sign", ["E-1", "E1"], [-1, 1], "day"),
        ("separator", ["day-0", "day-3", "day-5"], [0, 3, 5], "day"),
        ("separator", ["day--1", "day-0", "day-2"], [-1, 0, 2], "day"),
        ("separator", ["day - 3", "day - 5"], [3, 5], "day"),
        ("separator", ["Day_3", "Day_10"], [3, 10], "day"),
        ("separator", ["day:3", "day:4"], [3, 4], "day"),
        ("separator", ["day (3)", "day (4)"], [3, 4], "day"),
        ("separator", ["3-day", "4-day"], [3, 4], "day"),
        ("prefix", ["day 3", "Day 10.5"], [3, 10.5], "day"),
        ("prefix", ["D1", "d1", "d2"], [1, 1, 2], "day"),
        ("prefix", ["hrs_04", "hrs_12"], [4, 12], "hour"),
        ("prefix", ["E8.5", "E9.0", "E10"], [8.5, 9, 10], "day"),
        ("prefix", ["P0", "P7"], [0, 7], None),
        ("prefix", ["DIV3", "DIV10"], [3, 10], None),
        ("prefix", ["S1", "S2"], [1, 2], None),
        ("prefix", ["X3", "X4.5"], [3, 4.5], None),
        ("suffix", ["3d", "4d"], [3, 4], "day"),
        ("suffix", ["24hpf", "48hpf"], [24, 48], "hour"),
        ("suffix", ["3 days post infection", "1 day post infection"], [3, 1], "day"),
        ("suffix", ["5 mins", "10 mins"], [5, 10], "minute"),
        ("suffix", ["30 sec", "60 seconds"], [30, 60], "second"),
        ("suffix", ["3m", "18m"], [3, 18], None),
        ("suffix", ["7 pcw", "9 pcw"], [7, 9], "week"),
        ("window", ["0-2h", "2-4h"], [1, 3], "hour"),
        ("window", ["hrs_04_08", "hrs_06_10", "hrs_00_02"], [6, 8, 1], "hour"),
        ("window", ["04-08 h", "08-12 h"], [6, 10], "hour"),
        ("window", ["210-270", "270-330", "> 650"], [240, 300, 650], None),
        ("window", ["210\u2013270", "270 \u2013 330"], [240, 300], None),
        ("window", ["0h to 2h", "2h to 4h"], [1, 3], "hour"),
        ("window", ["D1-D3", "D3-D5"], [2, 4], "day"),
        ("window", ["-5--3", "-3 - -1", "0"], [-4, -2, 0], None),
        ("window", ["(210,270]", "(270,330]"], [240, 300], None),
        ("window", ["(-0.1, 2.0]", "(2.0, 4.5]"], [0.95, 3.25], None),
        ("window", ["1,5-2,5", "2,5-3,5"], [2, 3], None),
        ("open", ["<5", "6", "7"], [5, 6, 7], None),
        ("open", ["1 d", "7+ d"], [1, 7], "day"),
        ("open", ["1", "\u22655"], [1, 5], None),
        ("units", ["12h", "1d", "2d"], [12, 24, 48], "hour"),
        ("units", ["24h", "1d", "2d"], [24, 24, 48], "hour"),
        ("units", ["24hpf", "3dpf"], [24, 72], "hour"),
        ("units", ["30 min", "1 hr"], [30, 60], "minute"),
        ("units", ["10 d", "2 wk"], [10, 14], "day"),
        ("units", ["0", "12h", "1d"], [0, 12, 24], "hour"),
        ("date", ["2021-01-31", "2021-02-02"], [0, 2], "day"),
        ("date", ["2021-01-31 12:00", "2021-02-01"], [0, 0.5], "day"),
        ("date", ["2021-01-31T00:00:00Z", "2021-01-30T00:00:00Z"], [1, 0], "day"),
        ("mixed objects", [0, "1", 2.5, np.float32(8.1)], [0, 1, 2.5, 8.1], None),
    ),
)
def test_labels(family, labels, times, unit):
    found, found_unit, said = times_of(labels)
    assert found == pytest.approx(times)
    assert found_unit == unit
    assert said, "what was done is said"


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["D-1", "D0"], "The dash of 'D-1' is taken as a sign"),
        (["day-3", "day-5"], "The dash of 'day-3' is taken as a separator"),
        (["0-2h", "2-4h"], "Windows such as '0-2h' are taken at their middles"),
        (["1", "> 650"], "'> 650' has no other end and is taken at its bound"),
        (["12h", "1d"], "Labels in day and hour were turned into times in hour"),
        (["E8", "E9"], "'E' is taken as embryonic days"),
        (["1", "01", "2"], "The labels '1', '01' are one time"),
        (["2021-01-31", "2021-02-02"], "days since the first, 2021-01-31"),
        (["day 3", "day 4"], "read from text labels: 'day 3' became 3, 'day 4' became 4"),
    ],
)
def test_what_is_said(labels, says):
    assert says in times_of(labels)[2]


# ------------------------------------------------------------------------- labels that are refused


@pytest.mark.parametrize(
    ("family", "labels", "says"),
    rows(
        ("no time", ["mixed", "1", "2"], r"'mixed' cannot be read.*drop=\['mixed'\].*DROP='mixed'"),
        ("no time", ["early", "late"], "'early', 'late' cannot be read.*time_key"),
        ("no time", ["", "1"], "cannot be read"),
        ("no time", ["\u00b2", "1"], "cannot be read"),
        ("boolean", [True, False], "'True', 'False' cannot be read"),
        ("boolean", [True, 2], "'True' cannot be read"),
        *(
            ("several numbers", labels, "cannot be read as one time, expected one number")
            for labels in [
                ["day 1 rep 2", "day 2 rep 2"],
                ["d1d2", "d3"],
                ["12:30", "13:30"],
                ["1/3", "2/3"],
                ["1d12h", "2d"],
                ["D-1-3", "D0"],
                ["P1e2", "P2"],
                ["4-OHT 24h", "4-OHT 48h"],
                ["IL-2 24h", "IL-2 48h"],
                ["0 days 06:00:00", "1 days 00:00:00"],
                ["1,000", "2,000"],
                ["3 hour day", "4 hour day"],
            ]
        ),
        *(
            ("no window", labels, "cannot be read.*'4-8 h'")
            for labels in [
                ["3-1", "4-2"],
                ["day_1_2", "day_2_3"],
                ["E6_5", "E7_5"],
                ["3-", "4-"],
            ]
        ),
        ("no window", ["D0-2", "D0-3", "D1-4"], "two begin or end alike"),
        ("sign", ["day-0", "day-3", "day 5"], "dash of 'day-0', 'day-3' may separate or belong to"),
        ("sign", ["day--1", "day--2"], "dash of 'day--1', 'day--2' may separate or belong to"),
        ("sign", ["day--1", "day2"], "dash of 'day--1' may separate or belong to"),
        ("dot", ["X.1", "X0", "X1"], "'X.1' cannot be read"),
        ("dot", ["Day.0", "Day.3"], "'Day.0', 'Day.3' cannot be read"),
        ("sign", ["--1", "2"], "'--1' cannot be read"),
        ("mixes", ["day -1 (pre)", "day 0 (post)"], "mixes units or words"),
        ("mixes", ["12h", "24"], "mixes units or words, such as in '12h', '24'"),
        ("mixes", ["24hpf", "24hpi"], "mixes units or words"),
        ("mixes", ["E18", "P0"], "mixes units or words"),
        ("mixes", ["D3 ko", "D3 wt"], "mixes units or words"),
        ("mixes", ["3 months", "90 days"], "mixes units or words"),
        ("one time", ["0-2", "1", "3"], "'0-2', '1' would be one time"),
        ("one time", ["> 5", "5", "3"], "'> 5', '5' would be one time"),
        ("date", ["01/02/2021", "31/01/2021"], "cannot be read.*'2021-01-31'"),
        ("date", ["31.01.2021", "01.02.2021"], "cannot be read.*'2021-01-31'"),
        ("date", ["2021/01/31", "2021/02/01"], "cannot be read.*'2021-01-31'"),
        ("date", ["2021-02-30", "2021-03-01"], "are no dates"),
        ("date", ["20210131", "20210201"], "may be numbers or dates, write 2021-01-31"),
        ("date", [20210131, 20210201], "may be numbers or dates"),
        ("date", [20210131.0, 20210201.0], "may be numbers or dates"),
        ("missing", [np.nan, 1.0, 2.0], "missing for 4 cells.*DROP=nan"),
        ("infinite", [np.inf, 1.0, 2.0], "infinite for 4 cells"),
        ("one", [2.0], "1 time point"),
        ("near", [8.1, 8.1000001], "8.1 and 8.1000001 are hardly apart"),
        ("near", [2459000.25, 2459000.5, 2459000.75], "hardly apart"),
    ),
)
def test_refused_labels(family, labels, says):
    with pytest.raises(ValueError, match=says) as caught:
        times_of(labels)
    message = str(caught.value)
    assert message.startswith("my.h5ad: obs['when']")
    assert "\n" not in message


# ------------------------------------------------------------------------------- types and columns


@pytest.mark.parametrize(
    ("values", "times", "unit"),
    [
        pytest.param(pd.Series([1, 2], dtype="Int64"), [1, 2], None, id="nullable int"),
        pytest.param(pd.Series([1.5, 2], dtype="Float32"), [1.5, 2], None, id="nullable float"),
        pytest.param(pd.Series(["1", "2"], dtype="string"), [1, 2], None, id="string"),
        pytest.param(pd.Series([1, 2], dtype="category"), [1, 2], None, id="numbers in categories"),
        pytest.param(pd.Series(["d1", "d2"], dtype="category"), [1, 2], "day", id="categories"),
        pytest.param(pd.Series([1, 2], dtype="uint8"), [1, 2], None, id="uint8"),
        pytest.param(np.array([0, 8.1], "f4"), [0, 8.1], None, id="float32"),
        pytest.param(np.array([0, 8.1], "f2"), [0, 8.1], None, id="float16"),
        pytest.param(
            pd.Series(pd.to_datetime(["2021-01-31", "2021-02-03"])), [0, 3], "day", id="datetime64"
        ),
        pytest.param(
            pd.Series(pd.to_datetime(["2021-01-31", "2021-02-03"], utc=True)),
            [0, 3],
            "day",
            id="datetime with zone",
        ),
        pytest.param(
            pd.Series(pd.to_timedelta([90, 120], "min")), [1.5, 2], "hour", id="timedelta64"
        ),
        pytest.param(
            pd.Series(pd.cut([1, 3], [0, 2, 4])).astype("category"), [1, 3], None, id="pandas.cut"
        ),
    ],
)
def test_types(values, times, unit):
    found, found_unit, _ = times_of(values)
    assert found == times
    assert found_unit == unit


def test_boolean_types_are_refused():
    for dtype in ("bool", "boolean", "category"):
        with pytest.raises(ValueError, match="'True', 'False' cannot be read"):
            times_of(pd.Series([True, False]).astype(dtype))


@pytest.mark.parametrize(
    ("key", "labels", "unit"),
    [
        ("day", [1, 2], "day"),
        ("days", [1, 2], "day"),
        ("time_hpf", [1, 2], "hour"),
        ("timeHours", [1, 2], "hour"),
        ("age_weeks", [1, 2], "week"),
        ("minutes", [1, 2], "minute"),
        ("cell's time", [1, 2], None),
        ("day or hour", [1, 2], None),
        ("day", ["12h", "24h"], "hour"),
        ("hpf", ["1", "2"], "hour"),
        ("time", [1, 2], None),
    ],
)
def test_units_of_columns(key, labels, unit):
    _, found, said = times_of(labels, key)
    assert found == unit
    assert ("though the column is called" in said) == (labels == ["12h", "24h"])


# ------------------------------------------------------------------- one time in several precisions


@pytest.mark.parametrize(
    ("values", "times"),
    [
        ([0, 8.1, float(np.float32(8.1)), 9], [0, 8.1, 8.1, 9]),
        ([0, 0.3, 0.1 + 0.2, 1], [0, 0.3, 0.3, 1]),
        ([0, 1 / 3, float(np.float32(1 / 3)), 1], [0, 0.33333334, 0.33333334, 1]),
        ([0, 5e-17, 1], [0, 0, 1]),
        (["0", "8.1", "8.100000381469727", "9"], [0, 8.1, 8.1, 9]),
        ([2048, 2049, 2050], [2048, 2049, 2050]),
        ([1600000000, 1600000600, 1600001200], [1600000000, 1600000600, 1600001200]),
        ([0.1, 0.125, 0.15], [0.1, 0.125, 0.15]),
    ],
)
def test_noise(values, times):
    found, _, said = times_of(values)
    assert found == pytest.approx(times, rel=1e-7, abs=1e-12)
    assert len(set(found)) == len(set(times))
    assert ("are one time" in said) == (len(set(times)) < len(times))


def own(labels, **columns):
    obs = column(labels, cells=10).assign(**columns)
    obs.index = obs.index.astype(str)
    x = np.random.default_rng(0).poisson(2.0, (len(obs), 5)).astype(np.float32)
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=list("abcde")))


def saved(adata, folder):
    adata.write_h5ad(folder / "my.h5ad")
    return folder / "my.h5ad"


def test_no_leak_between_precisions(tmp_path):
    adata = own(np.array([0.0, 8.1, np.float32(8.1), 9.0, 10.0]))
    adata = scimf.load(saved(adata, tmp_path), time_key="when")
    split = hold_out(adata, times=[8.1])
    assert split.held_mask(adata).sum() == 20
    raw = own(np.array([0.0, 8.1, np.float32(8.1), 9.0, 10.0]))  # nobody cleaned these
    raw.obs["time"] = raw.obs["when"]
    assert hold_out(raw, times=[8.1]).held_mask(raw).sum() == 20


# --------------------------------------------------------------------- a continuous time and labels


def minutes(n=200):
    return pd.DataFrame({"min": np.random.default_rng(0).uniform(0, 240, n)})


def test_a_continuous_time_is_refused():
    with pytest.raises(ValueError, match="200 times for 200 cells.*bins=3e?.*BINS=.*8 equal"):
        read_times(minutes(), "min", PATH, [])
    integers = minutes(1000).round()
    with pytest.raises(ValueError, match="of a continuous time"):
        read_times(integers, "min", PATH, [])


@pytest.mark.parametrize("bins", [60, 60.0, "60", " 60. "])
def test_bins_of_one_width(bins):
    notes = []
    obs = minutes()
    times, unit = read_times(obs, "min", PATH, notes, bins=bins)
    assert unit == "minute"
    assert len(np.unique(times)) == 4
    for time in np.unique(times):
        mine = obs["min"][times == time]
        assert time == pytest.approx(mine.mean(), abs=60 / 1000)
        assert mine.min() // 60 == mine.max() // 60
        assert f"({len(mine)} cells, at {time})" in notes[-1]
        assert len(str(time)) < 7  # short enough to be typed
    assert "4 bins: 0 to 60 (" in notes[-1]


@pytest.mark.parametrize("bins", ["4 equal", "4equal"])
def test_bins_of_equal_numbers(bins):
    times, _ = read_times(minutes(), "min", PATH, [], bins=bins)
    assert np.unique(times, return_counts=True)[1].tolist() == [50] * 4


def test_bins_on_their_edges():
    obs = pd.DataFrame({"t": np.repeat(np.arange(11) / 10, 3)})
    times, _ = read_times(obs, "t", PATH, [], bins=0.1)
    assert np.unique(times, return_counts=True)[1].tolist() == [3] * 9 + [6]  # the last is closed


@pytest.mark.parametrize(
    "bins", ["0", -1, "many", "1 equal", 1e-9, 1000, "nan", "2 kg", "3 equal 4"]
)
def test_bad_bins(bins):
    with pytest.raises(ValueError, match="my.h5ad: obs.*bins=.*'4 equal'; times go from"):
        read_times(minutes(), "min", PATH, [], bins=bins)


@pytest.mark.parametrize(
    ("labels", "drop", "kept"),
    [
        (["mixed", "d1", "d2"], "mixed", 2),
        (["mixed", "none", "d1", "d2"], "mixed, none", 2),
        (["mixed", "d1", "d2"], ["mixed"], 2),
        (["1,5", "d1", "d2"], ["1,5"], 2),
        ([None, "d1", "d2"], "nan", 2),
        ([np.nan, 1.0, 2.0], "NaN", 2),
        ([np.nan, 1.0, 2.0], [np.nan], 2),
        ([999.0, 1.0, 2.0], "999", 2),
        ([999, 1, 2], 999, 2),
        ([-1, 1, 2], [-1], 2),
    ],
)
def test_drop(labels, drop, kept):
    notes = []
    found = cells_with_a_time(column(labels), "when", PATH, drop, notes)
    assert found.sum() == kept * CELLS
    assert not found[:CELLS].any()
    assert f"of {len(labels) * CELLS} cells were dropped" in notes[0]


@pytest.mark.parametrize(
    ("drop", "says"),
    [
        ("mixd", r"drop='mixd' is no label.*'mixed', 'd1'"),
        ("nan", r"drop='nan' is no label"),
    ],
)
def test_bad_drop(drop, says):
    with pytest.raises(ValueError, match=says):
        cells_with_a_time(column(["mixed", "d1"]), "when", PATH, drop, [])


def test_dropping_all_cells_is_refused(tmp_path):
    path = saved(own(["mixed", "d1"]), tmp_path)
    with pytest.raises(ValueError, match="holds no cell"):
        scimf.load(path, time_key="when", drop="mixed,d1")


def test_drop_and_bins_of_a_file(tmp_path):
    adata = own(["mixed", "1h", "2h", "3h", "4h"], cell_type=["x", "y"] * 25)
    options = {"time_key": "when", "drop": "mixed", "bins": "2 equal"}
    loaded = scimf.load(saved(adata, tmp_path), **options)
    assert loaded.n_obs == 40
    assert loaded.obs["time"].value_counts().to_dict() == {1.5: 20, 3.5: 20}
    assert loaded.uns["scimf"]["time_unit"] == "hour"
    said = " ".join(loaded.uns["scimf"]["warnings"])
    assert "10 of 50 cells were dropped" in said
    assert "2 bins" in said


# ----------------------------------------------------------------------------- times that are asked


@pytest.mark.parametrize(
    ("labels", "asked", "held"),
    [
        (["E8.5", "E9", "E10"], ["E9"], 9),
        (["E8.5", "E9", "E10"], "E9.0", 9),
        (["E8.5", "E9", "E10"], ["9.0"], 9),
        (["day 1", "day 2", "day 3"], ["day 2"], 2),
        (["day 1", "day 2", "day 3"], "2", 2),
        (["day 1", "day 2", "day 3"], [2], 2),
        (["day 1", "day 2", "day 3"], 2.0, 2),
        (["day 1", "day 2", "day 3"], ["48h"], 2),
        (["D-2", "D-1", "D0", "D1"], ["D-1"], -1),
        (["day-1", "day-2", "day-3"], ["day-2"], 2),
        (["hrs_00_02", "hrs_02_04", "hrs_04_06"], ["hrs_02_04"], 3),
        (["T1", "T2", "T3"], ["T2"], 2),
    ],
)
def test_texts_are_held_out(labels, asked, held, tmp_path):
    adata = scimf.load(saved(own(labels), tmp_path), time_key="when")
    assert hold_out(adata, times=asked).held_times == (held,)


@pytest.mark.parametrize("asked", [["E11"], ["9 h"], ["soon"], [None], ["9 10"], [float("nan")]])
def test_times_that_are_not_there(asked, tmp_path):
    adata = scimf.load(saved(own(["E8.5", "E9", "E10"]), tmp_path), time_key="when")
    with pytest.raises(
        ValueError, match=r"times: .* is not in obs\['time'\].*\[8\.5, 9\.0, 10\.0\]"
    ):
        hold_out(adata, times=asked)


def test_a_model_is_asked_for_numbers():
    states = scimf.load("linear", n_cells=20, seed=0)
    split = hold_out(states)
    config = scimf.SDEConfig(hidden=(4,), hidden_interaction=4, steps=1, batch_cells=4, dt=1.0)
    space = scimf.fit_space(states, split)
    model = scimf.fit(states, split, space, config=config, device="cpu", progress=False)
    one = model.sample([split.times[1]], n=3)
    for same in ([str(split.times[1])], str(split.times[1]), split.times[1]):
        assert (model.sample(same, n=3).X == one.X).all()
    for wrong in (["day 2"], ["nan"], [None], "soon"):
        with pytest.raises(ValueError, match=r"times: expected numbers.*got.*seen are"):
            model.sample(wrong)
