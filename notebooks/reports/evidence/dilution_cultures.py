r"""Who lets whom grow in a day: bacteria that a drug kills beside bacteria that break it down.

Every culture is put together from a number of sensitive and of resistant cells (:math:`S, R`:
density times fraction), gets a dose :math:`a` of the drug, and is measured after a day. What
resistant cells do to sensitive ones goes through the drug, which they break down: what matters is
how many there are **for each unit of drug**, so

.. math:: y = \log\frac{S'}{S} - \Bigl\langle\log\frac{S'}{S}\Bigr\rangle_{a = 0,\ \text{same
          dilution}} = f\bigl(\log(R / a)\bigr) + \text{noise},

with a broken line :math:`f`. The difference to dose 0 takes off what every culture shares: all grow
until the food is gone (one yield), so that more cells at the start, of either kind, means less
growth. A plain linear form in densities takes just that for an interaction.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scimf.data import registry

from evidence.over_units import Number, line, number, r_squared, with_one

LEAST_FRACTION = 0.01  #: of either kind at the start: below, there is hardly one
SMALLEST = 0.003  #: fraction at the end that is told from none
COLUMNS = ("resistant", "sensitive", "dose")
KNOTS = (0.2, 0.4, 0.6, 0.8)  #: quantiles where the broken line breaks


def read_cultures(name: str = "yurtsev_coculture") -> pd.DataFrame:
    """Read cultures of both kinds that were alive at the end.

    See also :func:`scimf.data.registry.fetch`.

    Returns
    -------
    DataFrame
        By culture, dose and dilution: ``unit`` (all that were made from one mix), ``dose``,
        ``dilution``, ``fraction`` of resistant cells, densities ``sensitive`` and ``resistant`` at
        the start; log changes ``grown_sensitive``, ``grown_resistant`` and ``relative``, their
        difference.
    """
    (file,) = registry.fetch(name)
    rows = pd.read_csv(file).dropna(subset=["ff"])
    rows = rows[rows["fi"].between(LEAST_FRACTION, 1 - LEAST_FRACTION)]
    after = rows["ff"].clip(SMALLEST, 1 - SMALLEST)
    found = pd.DataFrame(
        {
            "unit": rows["culture_id"].astype(str) + "_" + rows["replicate"].astype(str),
            "dose": rows["ampicillin"],
            "dilution": rows["dilution"],
            "fraction": rows["fi"],
            "sensitive": rows["ODi"] * (1 - rows["fi"]),
            "resistant": rows["ODi"] * rows["fi"],
        }
    )
    found["grown_sensitive"] = np.log(rows["ODf"] * (1 - after) / found["sensitive"])
    found["grown_resistant"] = np.log(rows["ODf"] * after / found["resistant"])
    found["relative"] = found["grown_sensitive"] - found["grown_resistant"]
    return found.reset_index(drop=True)


def beside_no_drug(cultures: pd.DataFrame) -> pd.DataFrame:
    """Growth of sensitive cells with the drug, relative to none at the same dilution.

    Returns
    -------
    DataFrame
        ``unit, dilution, change``, and logarithms ``resistant`` and ``sensitive`` (density for each
        unit of drug) and ``dose``.
    """
    without = cultures[cultures["dose"] == 0].groupby("dilution")["grown_sensitive"].mean()
    rows = cultures[cultures["dose"] > 0]
    found = rows[["unit", "dilution"]].copy()
    found["change"] = rows["grown_sensitive"] - rows["dilution"].map(without)
    found["resistant"] = np.log(rows["resistant"] / rows["dose"])
    found["sensitive"] = np.log(rows["sensitive"] / rows["dose"])
    found["dose"] = np.log(rows["dose"])
    return found.reset_index(drop=True)


def broken_line(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Columns of a line that may change its slope at every knot, (rows, 1 + knots)."""
    values = np.asarray(values, dtype=float)
    return np.column_stack([values, *(np.maximum(values - knot, 0) for knot in knots)])


def held_out_dilutions(
    table: pd.DataFrame, column: str, *, knots: Sequence[float] = KNOTS
) -> np.ndarray:
    """Predict ``change`` from one column, each dilution by the others.

    ``table`` is of :func:`beside_no_drug`; ``knots`` are quantiles, none for a straight line.
    """
    predicted = np.full(len(table), np.nan)
    for dilution in table["dilution"].unique():
        out = (table["dilution"] == dilution).to_numpy()
        rest = table[~out]
        places = np.quantile(rest[column], knots)
        known = broken_line(rest[column], places)
        predicted[out] = line(known, rest["change"], broken_line(table[column][out], places))
    return predicted


def held_out_table(table: pd.DataFrame, **options) -> dict[str, Number]:
    """R² of every column on held-out dilutions, within them (limits: mixes drawn anew)."""
    inside = table["change"] - table.groupby("dilution")["change"].transform("mean")
    change, spread = table["change"].to_numpy(), inside.to_numpy() ** 2
    found = {}
    for column in COLUMNS:
        missed = (change - held_out_dilutions(table, column, **options)) ** 2
        found[column] = number(
            lambda rows, missed=missed: 1 - missed[rows].sum() / spread[rows].sum(), table["unit"]
        )
    return found


def effects(table: pd.DataFrame) -> dict[str, Number]:
    """Change of the sensitive cells for one s.d. more of each kind, both in one straight plane."""
    kinds = ["resistant", "sensitive"]
    scaled = with_one(((table[kinds] - table[kinds].mean()) / table[kinds].std()).to_numpy())
    change = table["change"].to_numpy()

    def slope(rows: np.ndarray, k: int) -> float:
        return float(np.linalg.lstsq(scaled[rows], change[rows], rcond=None)[0][k])

    found = {}
    for k, kind in enumerate(kinds, start=1):
        found[kind] = number(lambda rows, k=k: slope(rows, k), table["unit"])
    return found


# ------------------------------------------------------------------------------- without the drug


def fraction_adds(cultures: pd.DataFrame, dose: float, column: str = "relative") -> Number:
    """Held-out R² that the fraction adds to one number per dilution, at one dose.

    Every mix is left out with all its rows: the fraction at the start is one value for all of them.
    """
    rows = cultures[cultures["dose"] == dose]
    values, unit = rows[column].to_numpy(), rows["unit"].to_numpy()
    dilutions = pd.get_dummies(rows["dilution"]).to_numpy(float)[:, 1:]
    with_fraction = np.column_stack([dilutions, rows["fraction"]])
    missed = {False: np.zeros(len(rows)), True: np.zeros(len(rows))}
    for one in np.unique(unit):
        out = unit == one
        for has, columns in ((False, dilutions), (True, with_fraction)):
            predicted = line(columns[~out], values[~out], columns[out])
            missed[has][out] = (values[out] - predicted) ** 2
    squared = (values - values.mean()) ** 2

    def gain(drawn: np.ndarray) -> float:
        return float((missed[False] - missed[True])[drawn].sum() / squared[drawn].sum())

    return number(gain, unit)


def shared_yield(cultures: pd.DataFrame) -> pd.DataFrame:
    r"""Take off the growth of sensitive cells what one yield for both kinds explains.

    If all grow until the food is gone and a kind only grows by a constant :math:`d` (log) less than
    the other, sensitive cells grow by a constant minus :math:`\log(1 - f + f e^{d})`.
    """
    without = cultures[cultures["dose"] == 0]
    difference = -without["relative"].mean()
    mean_fitness = 1 - without["fraction"] + without["fraction"] * np.exp(difference)
    left = without["grown_sensitive"] + np.log(mean_fitness)
    return without.assign(left=left)


def plain_linear(cultures: pd.DataFrame, column: str = "grown_sensitive") -> dict[str, Number]:
    """Effects on sensitive cells in the plain form: log change on both densities, nothing else.

    ``r2`` is within the data, as such a fit would be read.
    """
    densities = with_one(cultures[["sensitive", "resistant"]].to_numpy())
    values = cultures[column].to_numpy()

    def fit(rows: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(densities[rows], values[rows], rcond=None)[0]

    def explained(rows: np.ndarray) -> float:
        return r_squared(values[rows], densities[rows] @ fit(rows))

    return {
        "sensitive": number(lambda rows: float(fit(rows)[1]), cultures["unit"]),
        "resistant": number(lambda rows: float(fit(rows)[2]), cultures["unit"]),
        "r2": number(explained, cultures["unit"]),
    }
