"""Whether what was read is what a design says: every number, name, time and type."""

import numpy as np
import pandas as pd
from designs import AS_IF_MISSING
from scipy import sparse

#: Hours in each unit; "a.u." is none.
HOURS = {
    "minute": 1 / 60,
    "hour": 1.0,
    "hpf": 1.0,
    "day": 24.0,
    "week": 168.0,
}


def differences(read, design, *, texts: bool) -> list[str]:
    """What differs, in words; ``texts``: labels stood in a table, where NA may be no label."""
    if read.shape != design.values.shape:
        return [f"shape {read.shape}, not {design.values.shape}"]
    about = read.uns["scimf"]
    found = []
    if about["form"] != design.form:
        found.append(f"form {about['form']}, not {design.form}")
    if list(read.obs_names) != list(design.cells):
        found.append(f"cells {list(read.obs_names)[:3]}, not {list(design.cells)[:3]}")
    if not _same_genes(list(read.var_names), list(design.genes)):
        found.append(f"genes {list(read.var_names)}, not {list(design.genes)}")
    if not _same_values(read.X, design.values, design.form):
        found.append("values")
    found += _times(read.obs["time"], about["time_unit"], design)
    notes = " ".join(about["warnings"])
    found += _labels(read.obs.get("cell_type"), design.types, "types", texts, notes)
    if design.populations is not None:
        found += _labels(read.obs.get("population"), design.populations, "populations", False, "")
    return found


def _same_values(x, values: np.ndarray, form: str) -> bool:
    x = x.toarray() if sparse.issparse(x) else np.asarray(x)
    x, wanted = x.astype(np.float32), values.astype(np.float32)
    if form == "counts":
        return np.array_equal(x, wanted)
    return np.allclose(x, wanted, rtol=2e-6, atol=1e-7)


def _same_genes(read: list[str], genes: list[str]) -> bool:
    """The same names; where a file has one twice, something may stand after it."""
    for name, gene in zip(read, genes, strict=True):
        if name != gene and not (genes.count(gene) > 1 and name.startswith(gene)):
            return False
    return len(set(read)) == len(read)


def _times(read: pd.Series, unit: str, design) -> list[str]:
    times = design.times
    wanted = np.array(times.numbers)[list(design.snapshot)]
    read = read.to_numpy(np.float64)
    said = f"times {sorted(set(read))} {unit}, not {sorted(set(times.numbers))} {times.unit}"
    if len(set(read)) != len(times.numbers):
        return [said]
    if unit != times.unit:
        if unit not in HOURS or times.unit not in HOURS:
            return [said]
        wanted = wanted * HOURS[times.unit] / HOURS[unit]
    near = 1e-3 if times.dtype == "float16" else 1e-6
    return [] if np.allclose(read, wanted, rtol=near, atol=1e-9) else [said]


def _labels(read, wanted, what: str, texts: bool, notes: str) -> list[str]:
    if read is None:
        return [f"no {what}"]
    for label, text in zip(read.astype(str), wanted, strict=True):
        may_lack = texts and text in AS_IF_MISSING and "unknown" in notes
        if text is None or (may_lack and label == "unknown"):
            text = "unknown"
        if label != text:
            return [f"{what}: {label!r}, not {text!r}"]
    return []
