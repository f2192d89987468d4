import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from scimf import plots


def drawn(told):
    """Draw one certain pull of B on A and one uncertain push of A on B; return the axes and its markers."""
    rows = [("A", "B", 0.8, 0.5, 5.0, 0.01), ("B", "A", -0.4, -0.9, 0.1, 0.3)]
    table = pd.DataFrame(rows, columns=["receiver", "sender", "value", "lo", "hi", "q"])
    ax = plots.influence_map(Figure().subplots(), table, limit=1.0, told=told, truth=np.array([[0, 1.0], [0, 0]]))
    return ax, {line.get_marker(): line for line in ax.lines if len(line.get_xdata()) == 1}


def test_a_map_shows_sign_by_place_and_shape_and_certainty_by_filling():
    ax, markers = drawn(told=True)
    pull, push = markers[">"], markers["<"]
    assert (pull.get_xdata()[0], pull.get_ydata()[0]) == (1.4, 0)  # square of sender B and receiver A, to the right
    assert (push.get_xdata()[0], push.get_ydata()[0]) == (-0.2, 1)
    assert pull.get_markerfacecolor() == pull.get_markeredgecolor() and push.get_markerfacecolor() == "white"
    longest = max(line.get_xdata()[-1] for line in ax.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] == 0)
    assert longest <= 1.5, "a bar leaves its square"
    shaded = [p.get_xy() for p in ax.patches if to_hex(p.get_facecolor()) != "#ffffff"]
    assert shaded == [(0.5, -0.5)] and not ax.texts


def test_a_map_that_cannot_be_told_is_grey_and_says_so():
    ax, markers = drawn(told=False)
    assert {line.get_markeredgecolor() for line in markers.values()} == {"0.55"}
    assert [text.get_text() for text in ax.texts] == ["cannot be told"]
