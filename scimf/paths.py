"""Where data, figures, results and build products live; each overridable by an environment variable."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().resolve()


#: Folder that holds (or receives) the real data files, laid out as the ``file`` column of ``data/registry.toml``.
DATA = _place("SCIMF_DATA", ROOT / "data")
#: Figures of your own runs, one folder per profile; ``published/`` below it is tracked.
FIGURES = _place("SCIMF_FIGURES", ROOT / "figures")
#: Recorded numbers of your own runs, one folder per profile; ``published/`` below it is tracked.
RESULTS = _place("SCIMF_RESULTS", ROOT / "results")
#: Stamps, executed notebooks, cached fits, checkpoints: everything that can be made again.
BUILD = _place("SCIMF_BUILD", ROOT / "build")
