"""What panels of chapters draw: running means, one dot per gene, real cells in grey."""

import numpy as np
import pytest
from beside import panels
from matplotlib.colors import to_hex, to_rgba

from scimf import plots

AXES = ("PC 1", "PC 2")
MEAN = np.array([0.1, 1.0, 10.0])


@pytest.fixture
def xy():
    return np.random.default_rng(0).normal(size=(30, 2))


def test_predicted_cells_are_drawn_on_observed_ones(ax, xy):
    style = {"labels": AXES, "title": "scIMF", "colour": "#0072B2"}
    panels.predicted_and_observed(ax, xy, xy[:5] + 9, **style)
    observed, predicted = ax.collections
    np.testing.assert_array_equal(observed.get_offsets(), xy)
    np.testing.assert_array_equal(predicted.get_offsets(), xy[:5] + 9)
    assert to_rgba(observed.get_facecolor()[0]) == to_rgba("0.75")
    assert to_rgba(predicted.get_facecolor()[0]) == to_rgba("#0072B2", alpha=0.5)
    assert ax.get_title(loc="left") == "scIMF"
    assert (ax.get_xlabel(), ax.get_ylabel()) == AXES
    assert not len(ax.get_xticks()) and not len(ax.get_yticks())


def test_observed_cells_may_stand_alone(ax, xy):
    panels.predicted_and_observed(ax, xy, None, labels=AXES, title="", colour="k")
    assert len(ax.collections) == 1


def test_loss_curves_are_running_means_one_colour_per_method(ax):
    curves = {"scimf": [np.arange(100.0), np.ones(100)], "unknown": [[1.0, 2.0, 3.0]]}
    panels.loss_curves(ax, curves, ylabel="loss", window=10)
    first, second, short = ax.lines
    assert first.get_color() == second.get_color() == plots.METHOD_COLOURS["scimf"]
    assert list(first.get_xdata()) == list(range(10, 101))  # at the last step of each mean
    np.testing.assert_allclose(first.get_ydata(), np.arange(4.5, 95))
    np.testing.assert_allclose(second.get_ydata(), 1)
    assert list(short.get_ydata()) == [1, 2, 3]  # too short to be smoothed
    entries = [text.get_text() for text in ax.get_legend().get_texts()]
    assert entries == ["scIMF (additive)", "unknown"]  # one for each method
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("optimiser step", "loss")


def test_genes_against_their_mean_the_first_entry_in_grey(ax):
    values = {"real": MEAN, "flow": 2 * MEAN, "plain": 3 * MEAN}
    panels.gene_curve(ax, MEAN, values, ylabel="variance", poisson=True)
    *curves, poisson = ax.lines
    assert [curve.get_label() for curve in curves] == list(values)
    for curve, (name, value) in zip(curves, values.items(), strict=True):
        np.testing.assert_array_equal(curve.get_xdata(), MEAN, name)
        np.testing.assert_array_equal(curve.get_ydata(), value, name)
        assert curve.get_linestyle() == "None"
    colours = [curve.get_color() for curve in curves]
    assert colours == ["0.6", plots.PALETTE[0], plots.PALETTE[1]]
    assert len({curve.get_marker() for curve in curves[1:]}) == 2
    assert poisson.get_label() == "Poisson"
    assert list(poisson.get_xdata()) == list(poisson.get_ydata()) == [0.1, 10]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "mean count of the gene in real cells"
    assert ax.get_ylabel() == "variance"


def test_shares_have_no_poisson_line_and_a_linear_axis(ax):
    panels.gene_curve(ax, MEAN, {"real": MEAN / 10}, ylabel="share of zeros", poisson=False)
    assert len(ax.lines) == 1 and ax.get_yscale() == "linear"


def test_mean_and_variance_of_real_and_predicted_genes(ax):
    real = np.array([[0.0, 0.0], [1.0, 2.0], [5.0, 9.0]])
    predicted = np.array([[0.5, 0.5], [2.0, 2.0]])
    panels.mean_variance(ax, real, predicted, title="joined", colour="#0072B2")
    below, above = ax.collections
    np.testing.assert_array_equal(below.get_offsets().filled(0), real)
    np.testing.assert_array_equal(above.get_offsets(), predicted)
    assert (below.get_label(), above.get_label()) == ("real", "predicted")
    assert to_rgba(below.get_facecolor()[0]) == to_rgba("0.7")
    assert to_hex(above.get_facecolor()[0]) == "#0072b2"
    (poisson,) = ax.lines
    assert list(poisson.get_xdata()) == list(poisson.get_ydata()) == [1, 5]  # of genes with counts
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mean (counts)", "variance (counts²)")
    assert ax.get_title(loc="left") == "joined"


def test_paths_have_marked_ends(ax):
    time = np.linspace(0, 1, 5)
    paths = np.random.default_rng(0).normal(size=(5, 7))
    panels.paths_in_time(ax, time, paths, ylabel="z")
    *lines, start, end = ax.lines
    assert len(lines) == 7
    for k, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), time)
        np.testing.assert_array_equal(line.get_ydata(), paths[:, k])
    for mark, row in ((start, 0), (end, -1)):
        assert set(mark.get_xdata()) == {time[row]} and mark.get_marker() == "o"
        np.testing.assert_array_equal(mark.get_ydata(), paths[row])
    assert start.get_color() == "0.5" and end.get_color() == plots.PALETTE[1]
    assert ax.get_xlabel() == "flow time t (0 noise, 1 data)"
    assert ax.get_ylabel() == "z"
