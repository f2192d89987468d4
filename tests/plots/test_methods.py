"""What panels of methods draw: means at their values, intervals, floors, names and colours."""

import numpy as np
import pandas as pd

from scimf import plots

TABLE = pd.DataFrame(
    {"mean": [0.2, 0.5, 0.9], "lo": [0.1, np.nan, 0.7], "hi": [0.3, np.nan, 1.1]},
    index=["scimf", "mixture", "my own"],
)


def dots(ax):
    """Value of each dot by its row, counted from below."""
    found = {}
    for line in ax.lines:
        if line.get_marker() == "o":
            found[line.get_ydata()[0]] = line.get_xdata()[0]
    return found


def bars(ax):
    """Interval of each row that has one."""
    found = {}
    for line in ax.lines:
        if line.get_linestyle() == "-" and len(line.get_xdata()) == 2:
            found[line.get_ydata()[0]] = tuple(line.get_xdata())
    return found


def named_lines(ax):
    return {line.get_label(): line for line in ax.lines if line.get_label()[0] != "_"}


def test_scores_are_dots_with_intervals_the_first_method_on_top(ax):
    assert plots.scores(ax, TABLE, xlabel="energy distance") is ax
    assert dots(ax) == {2: 0.2, 1: 0.5, 0: 0.9}
    assert bars(ax) == {2: (0.1, 0.3), 0: (0.7, 1.1)}  # none where there is no interval
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["my own", "neighbour mixture", "scIMF (additive)"]
    assert list(ax.get_yticks()) == [0, 1, 2] and ax.get_ylim() == (-0.6, 2.6)
    assert ax.get_xlabel() == "energy distance"
    assert not named_lines(ax)


def test_scores_have_the_colour_of_their_method(ax):
    plots.scores(ax, TABLE, xlabel="")
    colours = {}
    for line in ax.lines:
        colours.setdefault(line.get_ydata()[0], set()).add(line.get_color())
    methods = plots.METHOD_COLOURS
    assert colours == {2: {methods["scimf"]}, 1: {methods["mixture"]}, 0: {"black"}}


def test_scores_stand_between_floor_and_ceiling(ax):
    colours = {"scimf": "r", "mixture": "g", "my own": "b"}
    plots.scores(ax, TABLE, xlabel="", floor=0.05, ceiling=0.4, colours=colours)
    lines = named_lines(ax)
    assert set(lines) == {"floor (real vs real)", "ceiling (reconstruction)"}
    floor, ceiling = lines["floor (real vs real)"], lines["ceiling (reconstruction)"]
    assert set(floor.get_xdata()) == {0.05} and floor.get_linestyle() == "--"
    assert set(ceiling.get_xdata()) == {0.4} and ceiling.get_linestyle() == ":"
    drawn = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert drawn == ["b", "g", "r"]


def test_scores_without_any_interval(ax):
    plots.scores(ax, TABLE[["mean"]], xlabel="")
    assert len(dots(ax)) == 3 and not bars(ax)


def test_agreement_has_all_pairs_and_the_diagonal_over_both(ax):
    x, y = np.array([0.0, 1.0, 2.0]), np.array([3.0, -1.0, 2.0])
    plots.agreement(ax, x, y, xlabel="here", ylabel="there", size=4)
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), np.column_stack([x, y]))
    assert ax.collections[0].get_sizes() == [4] and ax.collections[0].get_alpha() == 0.5
    (diagonal,) = ax.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [-1, 3]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("here", "there")
