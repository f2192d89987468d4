"""Maps of receivers and senders can be read without their numbers."""

import numpy as np
import pandas as pd
import pytest
from beside import maps
from matplotlib.colors import to_hex

from scimf import plots

ROWS = [("A", "B", 0.8, 0.5, 5.0, 0.01), ("B", "A", -0.4, -0.9, 0.1, 0.3)]
TRUTH = np.array([[0, 1.0], [0, 0]])


def influence_map(ax, **options):
    """Draw one certain pull of B on A and one uncertain push of A on B; return its triangles."""
    table = pd.DataFrame(ROWS, columns=["receiver", "sender", "value", "lo", "hi", "q"])
    maps.influence_map(ax, table, truth=TRUTH, **options)
    return {line.get_marker(): line for line in ax.lines if len(line.get_xdata()) == 1}


def test_a_map_shows_sign_by_place_and_shape_and_certainty_by_filling(ax):
    triangles = influence_map(ax, limit=1.0)
    pull, push = triangles[">"], triangles["<"]
    # In the square of sender B and receiver A, to the right of its middle.
    assert (pull.get_xdata()[0], pull.get_ydata()[0]) == (1.4, 0)
    assert (push.get_xdata()[0], push.get_ydata()[0]) == (-0.2, 1)
    assert pull.get_markerfacecolor() == pull.get_markeredgecolor() == plots.PALETTE[0]
    assert push.get_markerfacecolor() == "white"
    assert push.get_markeredgecolor() == plots.PALETTE[1]
    horizontal = [line for line in ax.lines if len(line.get_xdata()) == 2]
    ends = [line.get_xdata()[-1] for line in horizontal if line.get_ydata()[0] == 0]
    assert max(ends) <= 1.5, "a bar leaves its square"
    shaded = [p.get_xy() for p in ax.patches if to_hex(p.get_facecolor()) != "#ffffff"]
    assert shaded == [(0.5, -0.5)] and not ax.texts


def test_bars_of_a_map_are_intervals_and_those_of_certain_influences_are_bold(ax):
    influence_map(ax, limit=1.0)
    bars = {}
    for line in ax.lines:
        x, y = line.get_xdata(), line.get_ydata()
        if len(x) == 2 and y[0] == y[1]:
            bars[y[0]] = (tuple(np.round(x, 3)), line.get_linewidth())
    assert bars == {0: ((1.25, 1.48), 1.4), 1: ((-0.45, 0.05), 0.7)}  # 5 is cut at the edge


def test_squares_of_a_map_are_named_and_their_size_is_told(ax):
    influence_map(ax, unit="per day")
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["A", "B"]
    assert ax.get_xlim() == (-0.5, 1.5) and ax.get_ylim() == (1.5, -0.5)
    assert ax.get_xlabel() == "sender (one square: ±0.96 per day)"  # 1.2 times the largest value
    assert ax.get_ylabel() == "receiver"
    entries = ax.get_legend_handles_labels()[1]
    assert entries == [
        "pulls the receiver closer",
        "pushes it away",
        "filled: q ≤ 0.05",
        "hollow: not told from nothing",
    ]


def test_the_level_decides_what_is_filled(ax):
    triangles = influence_map(ax, level=0.5)
    assert triangles["<"].get_markerfacecolor() == plots.PALETTE[1]
    assert "filled: q ≤ 0.5" in ax.get_legend_handles_labels()[1]


def test_a_map_that_cannot_be_told_is_grey_and_says_so(ax):
    triangles = influence_map(ax, conclusive=False)
    assert {line.get_markeredgecolor() for line in triangles.values()} == {"0.55"}
    assert [text.get_text() for text in ax.texts] == ["cannot be told"]


def test_without_a_test_a_map_fills_intervals_that_leave_zero_out(ax):
    table = pd.DataFrame(ROWS, columns=["receiver", "sender", "value", "lo", "hi", "q"])
    maps.influence_map(ax, table.drop(columns="q"))
    triangles = {line.get_marker(): line for line in ax.lines if len(line.get_xdata()) == 1}
    assert triangles[">"].get_markerfacecolor() == plots.PALETTE[0]
    assert triangles["<"].get_markerfacecolor() == "white"
    assert "filled: interval without zero" in ax.get_legend_handles_labels()[1]


def test_a_plan_says_by_shade_and_number_what_each_pair_takes(ax):
    rows = [("A", "B", "told", 8.0), ("B", "A", "cannot be told", np.nan)]
    plan = pd.DataFrame(rows, columns=["receiver", "sender", "verdict", "populations"])
    maps.plan_map(ax, plan)
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(1, 0): "8", (0, 1): "–"}  # sender, receiver
    lightness = {patch.get_xy(): sum(patch.get_facecolor()[:3]) for patch in ax.patches}
    assert lightness[0.5, -0.5] < lightness[-0.5, 0.5]
    assert ax.get_legend_handles_labels()[1] == ["told", "ranked", "cannot be told"]


@pytest.fixture
def values():
    names = ["A", "B", "Stem"]
    matrix = [[0.0, 0.5, -2.0], [1.0, np.nan, 0.0], [0.1, 0.2, 0.3]]
    return pd.DataFrame(matrix, index=names, columns=names)


def test_a_signed_matrix_has_colours_around_zero_and_names_on_both_sides(ax, values):
    maps.pair_matrix(ax, values, label="influence")
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array().filled(np.nan), values)
    assert image.get_clim() == (-2, 2) and image.get_cmap().name == "RdBu"
    senders, receivers = ax.get_xticklabels(), ax.get_yticklabels()
    assert [label.get_text() for label in senders] == list(values.columns)
    assert [label.get_text() for label in receivers] == list(values.index)
    assert {label.get_rotation() for label in senders} == {90}  # a long name among them
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("sender", "receiver")
    assert ax.figure.axes[1].get_ylabel() == "influence"
    assert not ax.patches


def test_an_unsigned_matrix_begins_at_zero(ax, values):
    maps.pair_matrix(ax, values.abs().iloc[:2, :2], label="weight", signed=False)
    assert ax.images[0].get_clim() == (0, 1) and ax.images[0].get_cmap().name == "viridis"
    assert {label.get_rotation() for label in ax.get_xticklabels()} == {0}


def test_a_matrix_of_zeros_has_a_scale(ax, values):
    maps.pair_matrix(ax, values * 0, label="")
    assert ax.images[0].get_clim() == (-1, 1)


def test_true_edges_are_framed_by_their_sign(ax, values):
    truth = np.array([[0, 0, -1], [1, 0, 0], [0, 0, 0]])
    maps.pair_matrix(ax, values, label="", truth=truth)
    frames = {tuple(np.round(p.get_center(), 6)): p.get_linestyle() for p in ax.patches}
    assert frames == {(2, 0): ":", (0, 1): "-"}  # sender, receiver
    assert not any(patch.get_fill() for patch in ax.patches)
