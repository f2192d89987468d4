"""The test of interaction, asked of many simulated data sets side by side; answers are kept."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from scimf.core.files import write_file
from scimf.core.identity import by_name, identity
from scimf.core.parallel import side_by_side
from scimf.interaction import interaction_test
from scimf.simulate.systems import SYSTEMS

from evidence.staged import staged

#: Simulated systems beside those of ``scimf``.
MORE_SYSTEMS = by_name({"staged": staged})


def verdict_on(
    system: str,
    *,
    cache: Path | str,
    seed: int = 0,
    steps: int = interaction_test.SETTINGS.steps,
    **options,
) -> dict:
    """Ask whether cells interact in a simulated data set; answers are kept in ``cache``.

    Parameters
    ----------
    system, seed, options
        As for :mod:`scimf.simulate.systems`, ``SYSTEMS[system](seed=seed, **options)``, or
        :func:`evidence.staged.staged`.
    cache
        Folder of the answers.
    steps
        Optimiser steps of every fit of
        :func:`scimf.interaction.interaction_test.do_cells_interact`.

    Returns
    -------
    dict
        ``system, seed, answer, reason``; ``p_times, p_compositions, gain_times, gain_compositions,
        n_refits`` where they exist; and the options.
    """
    request = {"system": system, "seed": seed, "steps": steps, **options}
    path = Path(cache) / f"{identity(_answer, settings=request)}.json"
    if not path.exists():
        write_file(path, json.dumps(_answer(system, seed, steps, options)))
    return {**request, **json.loads(path.read_text(encoding="utf-8"))}


def _answer(system: str, seed: int, steps: int, options: dict) -> dict:
    simulate = (SYSTEMS | MORE_SYSTEMS)[system]
    adata = simulate(seed=seed, **options)
    config = replace(interaction_test.SETTINGS, steps=steps)
    verdict = interaction_test.do_cells_interact(adata, config=config, seed=seed, workers=1)
    found = {"answer": verdict.answer, "reason": verdict.reason}
    for question, row in verdict.table.iterrows():
        found[f"p_{question}"] = float(row.p)
        found[f"gain_{question}"] = float(row.gain)
        found["n_refits"] = int(row.n_refits)
    return found


def verdicts(
    requests: Sequence[dict],
    *,
    cache: Path | str,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Answer many requests, keywords of :func:`verdict_on`, side by side; one row each."""
    jobs = [(request, cache) for request in requests]
    answers = side_by_side(
        _verdict_on_request, jobs, workers=workers, label="verdicts", progress=progress
    )
    return pd.DataFrame(answers)


def _verdict_on_request(request: dict, cache: Path | str) -> dict:
    return verdict_on(**request, cache=cache)


def proportion(hits: int, n: int, *, level: float = 0.95) -> dict[str, float]:
    """Share with its exact two-sided interval (Clopper & Pearson 1934): ``mean, lo, hi, n``."""
    from scipy.stats import binomtest

    ends = binomtest(hits, n).proportion_ci(level, method="exact")
    return {"mean": hits / n, "lo": float(ends.low), "hi": float(ends.high), "n": n}
