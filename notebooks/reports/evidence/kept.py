"""Many simulated data sets, each scored once: answers are kept, so that a long run can go on."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from scimf.core.files import write_file
from scimf.core.identity import identity
from scimf.core.parallel import side_by_side


def kept(
    function: Callable[..., dict], requests: Sequence[dict], *, cache: Path | str, label: str = ""
) -> pd.DataFrame:
    """Call ``function(**request)`` for every request, side by side.

    Answers are plain values and kept in the folder ``cache``, by request and code.

    Returns
    -------
    DataFrame
        One row for each request: what was asked, and what was answered.
    """
    jobs = [(function, request, cache) for request in requests]
    return pd.DataFrame(side_by_side(_answer, jobs, label=label, progress=True))


def _answer(function: Callable[..., dict], request: dict, cache: Path | str) -> dict:
    path = Path(cache) / f"{identity(function, settings=request)}.json"
    if not path.exists():
        write_file(path, json.dumps(function(**request)))
    return request | json.loads(path.read_text(encoding="utf-8"))
