"""Other authors' packages as they ship them: what ``make peers`` measured, beside ours.

The packages, their routes and what differs from ours stand in ``workflow/peers/peers.toml``, the
numbers in a record: the one of this machine if there is one, else the one that is published.
"""

import json
import tomllib
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from scimf.core import paths
from scimf.core.config import Config

TABLE = paths.ROOT / "workflow" / "peers" / "peers.toml"
MEASURED = paths.BUILD / "peers" / "as_shipped.json"
PUBLISHED = paths.ROOT / "notebooks" / "reports" / "evidence" / "as_shipped.json"
NOT_INSTALLED = "not installed: make peers"
FEWEST_SEEDS = 3  #: fewer training seeds decide nothing
#: Of ours, what is trained beside a peer; the rest of what stands beside one is not trained.
OURS = ("scimf_forward", "attention", "neural_ode", "potential_sde", "flow_matching")


@dataclass(frozen=True, kw_only=True)
class Peer(Config):
    """One package; ``peers.toml`` explains the fields."""

    version: str
    requirements: tuple[str, ...]
    licence: str
    page: str
    beside: tuple[str, ...]
    differs: str
    shortened: str = ""
    without: tuple[str, ...] = ()
    settings: dict = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asked(Config):
    """What is measured: boards, training seeds, steps of ours, sizes of scores, CPU minutes."""

    boards: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    draws: int
    transport_n: int
    minutes: float


def read_peers() -> tuple[Asked, dict[str, Peer]]:
    """Read ``peers.toml``.

    Raises
    ------
    ValueError
        If a table has an unknown key; names the peer.
    """
    with open(TABLE, "rb") as file:
        found = tomllib.load(file)
    peers = {}
    for name, table in found.pop("peers").items():
        try:
            peers[name] = Peer.from_dict(table)
        except (TypeError, ValueError) as error:
            raise ValueError(f"peers.toml, [peers.{name}]: {error}") from error
    return Asked.from_dict(found), peers


def read_record() -> dict[str, Any]:
    """Return what was measured here, else what is published, else a record of no board."""
    for path in (MEASURED, PUBLISHED):
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
    return {"boards": {}}


def as_shipped_table(
    record: dict[str, Any], peers: dict[str, Peer], metric: str = "energy_distance"
) -> pd.DataFrame:
    """Every peer on every measured board beside each of ours of the same idea.

    Parameters
    ----------
    record, peers
        As :func:`read_record` and :func:`read_peers` return them.
    metric
        Which score.

    Returns
    -------
    DataFrame
        One row per board, peer and re-implementation: ``board, peer, version, score, lo, hi,
        seconds, ours, ours_score, ours_lo, ours_hi, ours_seconds, standing, best_untrained,
        floor``. ``standing`` is "tie" where the 95 % intervals overlap, else which one is closer,
        or that there are too few seeds, or why there is no score. Seconds are CPU seconds of one
        fit.
    """
    rows = []
    for board, found in (record["boards"] or {"": None}).items():
        for name, peer in peers.items():
            for method in peer.beside:
                row = {"board": board, "peer": name, "version": peer.version, "ours": method}
                rows.append(row | _row(found, name, method, metric))
    return pd.DataFrame(rows)


def _row(found: dict[str, Any] | None, name: str, method: str, metric: str) -> dict[str, Any]:
    if found is None:
        return {"standing": NOT_INSTALLED}
    scores = pd.DataFrame(found["rows"])
    scores = scores[scores["metric"] == metric].set_index("method")
    untrained = scores[(scores["n_seeds"] == 0) & ~scores.index.str.startswith("floor")]
    row = {"floor": scores["mean"].get("floor"), "best_untrained": untrained["mean"].min()}
    row["ours_seconds"] = found["seconds"].get(method, {}).get("mean")
    if method in scores.index:
        ours = scores.loc[method]
        row |= {"ours_score": ours["mean"], "ours_lo": ours["lo"], "ours_hi": ours["hi"]}
    if name in found["failed"]:
        return row | {"standing": f"failed: {found['failed'][name]}"}
    if name not in scores.index:
        return row | {"standing": NOT_INSTALLED}
    theirs = scores.loc[name]
    row |= {"score": theirs["mean"], "lo": theirs["lo"], "hi": theirs["hi"]}
    row["seconds"] = found["seconds"][name]["mean"]
    row["standing"] = _standing(theirs, scores.loc[method] if method in scores.index else None)
    return {key: value for key, value in row.items() if value is not None}


def _standing(theirs: pd.Series, ours: pd.Series | None) -> str:
    if ours is None:
        return "ours was not measured"
    seeds = [row["n_seeds"] for row in (theirs, ours) if row["n_seeds"]]  # 0: not trained
    if min(seeds) < FEWEST_SEEDS:
        return "too few seeds"
    if theirs["hi"] < ours["lo"]:
        return "as shipped is closer"
    if theirs["lo"] > ours["hi"]:
        return "ours is closer"
    return "tie"
