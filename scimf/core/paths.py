"""Where data, figures, results and build products live; environment variables override each.

In a checkout of the repository these are its own folders. Installed anywhere else, data are cached
where the system keeps caches, and everything else goes below the folder one works in.
"""

import os
from pathlib import Path

CHANGES_NO_RESULT = True  #: see ``scimf.core.identity``

_CHECKOUT = Path(__file__).resolve().parents[2]
_IN_CHECKOUT = (_CHECKOUT / "notebooks" / "profiles.toml").is_file()
#: The repository; the folder one works in where the package is installed without it.
ROOT = _CHECKOUT if _IN_CHECKOUT else Path.cwd()
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "scimf"


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).expanduser().resolve()


#: Holds (or receives) the real data files, laid out as the ``file`` column of ``registry.toml``.
DATA = _place("SCIMF_DATA", ROOT / "data" if _IN_CHECKOUT else _CACHE)
#: Figures of your own runs, one folder per profile; ``published/`` below it is tracked.
FIGURES = _place("SCIMF_FIGURES", ROOT / "figures")
#: Recorded numbers of your own runs, one folder per profile; ``published/`` below it is tracked.
RESULTS = _place("SCIMF_RESULTS", ROOT / "results")
#: Stamps, executed notebooks, cached fits, checkpoints: everything that can be made again.
BUILD = _place("SCIMF_BUILD", ROOT / "build")
