"""Does it matter with whom a cell grows: wells of two kinds in five mixes, counted again and again.

A kind's growth rate is the slope of the logarithm of its number over days, one for each well. If
the other kind helps or hurts, the rate changes with the other's share at the start; whether it does
is judged on a **mix that was left out**: a line in the partner's share against the mean of the
other mixes. Replicate wells are drawn anew for the limits, all mixes kept.

Kinds are told by colour, and not always rightly: wells of one kind alone say how many cells of it
are counted as the other, and with both shares the counts of mixed wells are corrected. Where a
tenth or more is miscounted, nothing is asked.
"""

import re

import numpy as np
import pandas as pd
from scimf.data import registry

from evidence.over_units import line, number

KINDS = ("sensitive", "resistant")
CASE = ["pair", "treatment"]
MOST_MISCOUNTED = 0.1
LEAST_TIMES = 5  #: at which a well still has cells of a kind, for a rate
LEAST_MIXES = 3


def read_mixes(name: str = "ega_coculture") -> pd.DataFrame:
    """Read counts; see also :func:`scimf.data.registry.fetch`.

    Returns
    -------
    DataFrame
        By well and day: ``pair, treatment, mix`` (share of resistant cells that was put in),
        ``replicate, day, sensitive, resistant``.
    """
    parts = []
    for file in registry.fetch(name):
        table = pd.read_csv(file, skipinitialspace=True)
        days = table.iloc[:, 0].astype(float)
        for column in table.columns[1:]:
            kind, mix, replicate = re.fullmatch(r"([SR])\((.+)%\) Rep(\d)", column).groups()
            part = pd.DataFrame({"day": days, "cells": table[column].astype(float)})
            part["kind"] = KINDS["SR".index(kind)]
            part["mix"], part["replicate"] = float(mix), int(replicate)
            part["pair"] = file.stem.split("__")[2]
            part["treatment"] = table.columns[0].split(":")[1].strip().lower()
            parts.append(part)
    keys = [*CASE, "mix", "replicate", "day"]
    wide = pd.concat(parts).pivot(index=keys, columns="kind", values="cells")
    return wide.reset_index().rename_axis(columns=None)


def miscounted(mixes: pd.DataFrame, by: tuple[str, ...] = ()) -> pd.DataFrame:
    """Share of each kind that is counted as the other, from wells of one kind alone.

    By pair and treatment, and by what ``by`` names.
    """
    shares = {}
    for kind, other, mix in (("sensitive", "resistant", 0), ("resistant", "sensitive", 1)):
        counted = mixes[mixes["mix"] == mix].groupby([*CASE, *by])[[*KINDS]].sum()
        shares[kind] = counted[other] / counted.sum(axis=1)
    return pd.DataFrame(shares)


def corrected(mixes: pd.DataFrame) -> pd.DataFrame:
    """Take miscounted cells to where they belong, day by day."""
    wrong = miscounted(mixes, by=("day",))
    here = wrong.loc[pd.MultiIndex.from_frame(mixes[[*CASE, "day"]])]
    of_sensitive, of_resistant = here["sensitive"].to_numpy(), here["resistant"].to_numpy()
    left = 1 - of_sensitive - of_resistant
    sensitive = (1 - of_resistant) * mixes["sensitive"] - of_resistant * mixes["resistant"]
    resistant = (1 - of_sensitive) * mixes["resistant"] - of_sensitive * mixes["sensitive"]
    return mixes.assign(sensitive=sensitive / left, resistant=resistant / left)


def growth_rates(mixes: pd.DataFrame) -> pd.DataFrame:
    """Growth rate of each kind in every well it was put into.

    Returns
    -------
    DataFrame
        ``pair, treatment, receiver, mix, replicate, partner`` (share of the other kind in the first
        count), ``rate`` (per day).
    """
    rows = []
    for (*case, mix, replicate), well in mixes.groupby([*CASE, "mix", "replicate"]):
        for kind, absent in (("sensitive", 1), ("resistant", 0)):
            there = well[well[kind] > 0]
            if mix == absent or len(there) < LEAST_TIMES:
                continue
            first = well.iloc[0]
            partner = 1 - first[kind] / (first["sensitive"] + first["resistant"])
            rate = np.polyfit(there["day"], np.log(there[kind]), 1)[0]
            rows.append((*case, kind, mix, replicate, partner, rate))
    columns = [*CASE, "receiver", "mix", "replicate", "partner", "rate"]
    return pd.DataFrame(rows, columns=columns)


def held_out_r2(mix: np.ndarray, partner: np.ndarray, rate: np.ndarray) -> float:
    """Of a line in the partner's share, each mix by the others; 0 is the mean of the others."""
    missed = plain = 0.0
    for one in np.unique(mix):
        out = mix == one
        by_line = line(partner[~out], rate[~out], partner[out])
        missed += ((rate[out] - by_line) ** 2).sum()
        plain += ((rate[out] - rate[~out].mean()) ** 2).sum()
    return float(1 - missed / plain)


def slope(partner: np.ndarray, rate: np.ndarray) -> float:
    """Change of the rate, per day, from no partner to partners only."""
    return float(np.polyfit(partner, rate, 1)[0])


def whom_it_matters(mixes: pd.DataFrame, *, draws: int = 100) -> pd.DataFrame:
    """Ask every pair, treatment and receiver; ``mixes`` are as counted.

    Returns
    -------
    DataFrame
        By case: ``wells``, ``r2`` (held out) and ``slope`` as :class:`~evidence.over_units.Number`
        (missing where nothing is asked), ``verdict``: "helps", "hurts", or "cannot be told", and
        why.
    """
    wrong = miscounted(mixes).max(axis=1)
    rates = growth_rates(corrected(mixes))
    rows = {}
    for key, wells in rates.groupby([*CASE, "receiver"]):
        wells = wells.reset_index(drop=True)
        row = {"wells": len(wells), "r2": None, "slope": None}
        if wrong[key[:2]] > MOST_MISCOUNTED:
            row["verdict"] = f"cannot be told: {wrong[key[:2]]:.0%} miscounted"
        elif wells["mix"].nunique() < LEAST_MIXES:
            row["verdict"] = "cannot be told: too few mixes"
        else:
            row |= _judged(*(wells[name].to_numpy() for name in ("mix", "partner", "rate")), draws)
        rows[key] = row
    return pd.DataFrame(rows).T.rename_axis([*CASE, "receiver"])


def _judged(mix: np.ndarray, partner: np.ndarray, rate: np.ndarray, draws: int) -> dict:
    options = {"units": np.arange(len(mix)), "within": mix, "draws": draws}
    r2 = number(lambda at: held_out_r2(mix[at], partner[at], rate[at]), **options)
    change = number(lambda at: slope(partner[at], rate[at]), **options)
    verdict = "helps" if change.value > 0 else "hurts"
    if r2.lo <= 0:
        verdict = "cannot be told: no held-out gain"
    return {"r2": r2, "slope": change, "verdict": verdict}
