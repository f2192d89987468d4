"""What the panel of methods over strength draws."""

import numpy as np
import pandas as pd
import pytest
from evidence.strength_panel import against_strength
from matplotlib.colors import to_hex
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    return Figure().subplots()


def named_lines(ax):
    return {line.get_label(): line for line in ax.lines if line.get_label()[0] != "_"}


@pytest.fixture
def replicates():
    """Two methods at three strengths, two seeds each: means with intervals, and single points."""
    keys = [(0.0, "joint"), (0.5, "joint"), (1.0, "joint")]
    keys += [(strength, "control") for strength, _ in keys]
    index = pd.MultiIndex.from_tuples(keys, names=["strength", "method"])
    mean = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    table = pd.DataFrame({"mean": mean, "lo": mean - 0.1, "hi": mean + 0.1}, index=index)
    points = {}
    for (strength, method), value in zip(keys, mean, strict=True):
        for seed in (0, 1):
            points[strength, seed, method] = value + seed
    return table, pd.Series(points)


def test_lines_over_strength_with_replicates_intervals_and_a_floor(ax, replicates):
    colours = {"joint": "#0000ff", "control": "#ff0000"}
    floor = {0.0: 0.1, 0.5: 0.2, 1.0: 0.3}
    against_strength(ax, *replicates, ylabel="distance", colours=colours, floor=floor)
    lines = named_lines(ax)
    assert list(lines["joint"].get_ydata()) == [1, 2, 3]
    assert list(lines["control"].get_ydata()) == [4, 5, 6]
    gap = lines["control"].get_xdata() - lines["joint"].get_xdata()
    np.testing.assert_allclose(gap, 0.025)  # apart a little, around the strength itself
    np.testing.assert_allclose(lines["joint"].get_xdata(), np.array([0, 0.5, 1]) - 0.0125)
    dashed = lines["floor (real vs real)"]
    assert list(dashed.get_ydata()) == [0.1, 0.2, 0.3] and dashed.get_linestyle() == "--"
    faint = [line for line in ax.lines if line.get_alpha() == 0.35]
    assert [len(line.get_xdata()) for line in faint] == [6, 6]
    assert sorted(faint[0].get_ydata()) == [1, 2, 2, 3, 3, 4]
    ends = [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(ends, [[0.9, 1.1], [1.9, 2.1], [2.9, 3.1]])
    assert [to_hex(bars.get_color()[0]) for bars in ax.collections] == list(colours.values())
    assert list(ax.get_xticks()) == [0, 0.5, 1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("strength of the perturbations", "distance")
