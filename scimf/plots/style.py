"""Colours and names that are the same in every figure, and the style file."""

from collections.abc import Iterable
from pathlib import Path

from scimf.core.files import read_toml

#: Also ``plt.style.use("scimf.plots.scimf")``; ``start_notebook`` does it.
STYLE_FILE = Path(__file__).with_name("scimf.mplstyle")

_NAMES = read_toml(Path(__file__).with_name("style.toml"))
PALETTE: tuple[str, ...] = tuple(_NAMES["palette"])
METHOD_COLOURS: dict[str, str] = _NAMES["colours"]
METHOD_LABELS: dict[str, str] = _NAMES["labels"]  #: of methods and losses


def type_colours(names: Iterable[str]) -> dict[str, str]:
    """One colour per cell type, decided by its sorted position."""
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(sorted(names))}
