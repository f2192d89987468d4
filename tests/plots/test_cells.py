"""What panels of cells draw: every cell where it is, in the colour that it should have."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from scimf import plots

AXES = ("PC 1", "PC 2")


@pytest.fixture
def xy():
    return np.random.default_rng(0).normal(size=(30, 2))


def by_place(points):
    """Colour or value of each point of a scatter by its place."""
    values = points.get_array()
    if values is None:
        values = [to_hex(colour) for colour in points.get_facecolors()]
    return dict(zip(map(tuple, points.get_offsets().data.tolist()), values, strict=True))


def assert_names_coordinates(ax):
    assert (ax.get_xlabel(), ax.get_ylabel()) == AXES
    assert not len(ax.get_xticks()) and not len(ax.get_yticks())


def test_cells_by_time_have_their_own_time_and_a_colour_bar(ax, xy):
    time = np.arange(30.0)
    assert plots.cells(ax, xy, time, labels=AXES, bar="time (days)") is ax
    (points,) = ax.collections
    assert by_place(points) == dict(zip(map(tuple, xy.tolist()), time, strict=True))
    assert points.get_clim() == (0, 29) and points.get_cmap().name == "viridis"
    assert ax.figure.axes[1].get_ylabel() == "time (days)"
    assert not np.array_equal(points.get_offsets(), xy)  # no time is drawn on top of the others
    assert_names_coordinates(ax)


def test_cells_by_type_have_the_colour_of_their_type_and_a_legend(ax, xy):
    types = np.array(["b", "a", "c"] * 10)
    plots.cells(ax, xy, types, labels=AXES)
    colours = plots.type_colours("abc")
    expected = [colours[name].lower() for name in types]
    assert by_place(ax.collections[0]) == dict(zip(map(tuple, xy.tolist()), expected, strict=True))
    entries = ax.get_legend().get_texts()
    assert [entry.get_text() for entry in entries] == ["a", "b", "c"]
    handles = ax.get_legend().legend_handles
    assert [handle.get_color() for handle in handles] == list(colours.values())
    assert_names_coordinates(ax)


def test_arrows_start_at_their_points_and_none_is_cut_off(ax, xy):
    uv = np.ones((4, 2))
    colours = ["#000000", "#111111", "#222222", "#333333"]
    plots.arrows(ax, xy[:4], uv, background=xy, colours=colours, labels=AXES, scale=2.0)
    background, quiver = ax.collections
    np.testing.assert_array_equal(background.get_offsets(), xy)
    np.testing.assert_array_equal(quiver.get_offsets(), xy[:4])
    assert quiver.U.tolist() == quiver.V.tolist() == [1, 1, 1, 1]
    assert (quiver.scale, quiver.angles, quiver.scale_units) == (2.0, "xy", "xy")
    assert [to_hex(colour) for colour in quiver.get_facecolors()] == colours
    left, right = ax.get_xlim()
    margin = 0.12 * np.ptp(xy[:, 0])
    assert left == pytest.approx(xy[:, 0].min() - margin, rel=0.05)
    assert right == pytest.approx(xy[:, 0].max() + margin, rel=0.05)
    assert_names_coordinates(ax)
