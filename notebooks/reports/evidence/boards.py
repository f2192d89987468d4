"""The boards of report ``scoreboard``: data sets under a protocol, read from ``boards.toml``."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from scimf.core.config import Config

#: What may be seen of the training times: the two next to the held-out one, or all of them.
PROTOCOLS = ("neighbours_only", "leave_one_out")

#: Boards whose *training* times, some of them held out once more, decide the settings that cannot
#: be chosen where they are used: between two neighbours there is nothing left to choose on.
DEVELOPMENT = ("pbmc", "cardiomyocyte", "mes")


@dataclass(frozen=True, kw_only=True)
class Board(Config):
    """One line of the scoreboard: a data set under one protocol, averaged over its set-ups.

    Attributes
    ----------
    name, dataset, options
        Key of the results; what :func:`scimf.load` is asked for.
    protocol
        "neighbours_only" (only the two neighbours of the held-out time may be seen) or
        "leave_one_out" (all other times).
    setups
        Held-out times of each set-up; every set-up is fitted apart.
    n, n_pcs
        Cells on either side of a score, and principal components.
    held_populations
        How many of the last populations are held out as well.
    what
        For the reader: what is asked.
    headline
        Scored with the full number of training seeds.
    """

    name: str
    dataset: str
    protocol: str
    setups: tuple[tuple[float, ...], ...]
    n: int = 1000
    n_pcs: int = 50
    options: dict = field(default_factory=dict)
    held_populations: int = 0
    what: str = ""
    headline: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown protocols; lists, as TOML has them, become tuples."""
        self.require_one_of("protocol", PROTOCOLS)
        self.require_positive("n", "n_pcs")
        object.__setattr__(self, "setups", tuple(tuple(times) for times in self.setups))


def read_boards() -> dict[str, Board]:
    """Read all boards by name.

    Raises
    ------
    ValueError
        If a table has an unknown key or protocol; names the board.
    """
    with open(Path(__file__).with_name("boards.toml"), "rb") as file:
        tables = tomllib.load(file)
    boards = {}
    for name, table in tables.items():
        try:
            boards[name] = Board.from_dict({"name": name, **table})
        except (TypeError, ValueError) as error:
            raise ValueError(f"boards.toml, [{name}]: {error}") from error
    return boards


BOARDS = read_boards()
