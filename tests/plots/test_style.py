"""The style file is applied when asked for, and colours are decided by names alone."""

import subprocess
import sys

import matplotlib.pyplot as plt

from scimf import plots


def test_the_style_is_used_when_asked_for_and_not_before():
    code = "import matplotlib.pyplot as plt; before = dict(plt.rcParams); import scimf.plots"
    code += "; assert dict(plt.rcParams) == before"
    subprocess.run([sys.executable, "-c", code], check=True)
    plt.style.use("scimf.plots.scimf")
    assert list(plt.rcParams["figure.figsize"]) == [3.4, 2.6]
    assert not plt.rcParams["axes.spines.top"]
    cycle = [
        f"#{colour.lstrip('#')}" for colour in plt.rcParams["axes.prop_cycle"].by_key()["color"]
    ]
    assert cycle == list(plots.PALETTE[:8])


def test_the_colour_of_a_type_is_decided_by_its_sorted_position():
    assert plots.type_colours(["b", "a"]) == {"a": plots.PALETTE[0], "b": plots.PALETTE[1]}
    assert plots.type_colours({"a", "b"}) == plots.type_colours(["b", "a"])
    many = plots.type_colours([f"{k:02}" for k in range(12)])
    assert many["10"] == many["00"] and len(set(many.values())) == 10  # again from the start
    assert len(set(plots.PALETTE)) == 10


def test_every_method_with_a_colour_has_a_name():
    assert set(plots.METHOD_COLOURS) <= set(plots.METHOD_LABELS)
