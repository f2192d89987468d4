"""Means of shares, which lie between 0 and 1, and so do their intervals."""

from collections.abc import Sequence

from scimf.evaluation.summary import interval


def share_interval(values: Sequence[float]) -> dict[str, float]:
    """Mean of shares with its interval, cut to [0, 1]; no interval from fewer than three."""
    found = interval(values)
    if found["n_seeds"] < 3:
        return {"mean": found["mean"], "n_seeds": found["n_seeds"]}
    return found | {"lo": max(found["lo"], 0.0), "hi": min(found["hi"], 1.0)}
