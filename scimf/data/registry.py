"""The registry of real data: which files there are, and how they get into the cache."""

import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from scimf.core import paths
from scimf.core.files import sha256_of
from scimf.core.identity import by_name

#: Data sets that come in variants: the option of :func:`scimf.load`, and the part of a file name
#: that each value (first = default) stands for.
VARIANTS = by_name(
    {
        "cite_hspc": ("n_pcs", {50: "_pcas_50_", 100: "_pcas_100_"}),
        "cytobridge_sim": ("which", {"attraction": "_attract", "no_interaction": "_no_interact"}),
    }
)
TIMEOUT = 20  #: seconds without an answer before a download is given up


class DataUnavailable(RuntimeError):
    """A data file is neither in the cache nor to be had from the network."""


def entries() -> dict[str, dict]:
    """Every data set and table of pairs (form "pairs"), as in ``scimf/data/registry.toml``."""
    with open(Path(__file__).with_name("registry.toml"), "rb") as file:
        return tomllib.load(file)


def fetch(name: str, **options) -> list[Path]:
    """Make sure that the files of ``load(name, **options)`` are in the cache, return their paths.

    Files that are there are checked and left alone, so the cache may be read-only. A missing file
    is downloaded aside and renamed only once its sha256 is right. A set whose entry says ``manual``
    is never downloaded, and a row without a sha256 is not checked. Stops at the first failure.

    Raises
    ------
    DataUnavailable
        A file is missing and cannot be downloaded, or is to be had by hand; says how and where to
        put it.
    ValueError
        A file, found or downloaded, has another sha256 than the registry names.
    """
    return [_fetched(name, row) for row in _rows_of(name, **options)]


def _rows_of(name: str, **options) -> list[dict]:
    """Rows of the registry: the files that one variant of a data set consists of."""
    known = entries()
    if name not in known:
        known_names = ", ".join(known)
        raise ValueError(f"{name!r} is not in scimf/data/registry.toml, which has {known_names}")
    option, parts = VARIANTS.get(name, (None, {}))
    unknown = set(options) - {option}
    if unknown:
        expected = [option] if option else "none"
        raise ValueError(f"{name}: unknown options {sorted(unknown)}; expected {expected}")
    rows = known[name]["files"]
    if option is None:
        return rows
    value = options.get(option, next(iter(parts)))
    if value not in parts:
        raise ValueError(f"{name}: {option}={value!r}, expected one of {list(parts)}")
    return [row for row in rows if parts[value] in row["file"]]


def _fetched(name: str, row: dict) -> Path:
    target = paths.DATA / row["file"]
    if target.is_file():
        digest = sha256_of(target) if "sha256" in row else None
        if digest != row.get("sha256"):
            raise ValueError(
                f"{name}: {target} is damaged or another version: sha256 {digest}, expected "
                f"{row['sha256']}. Delete it and load again to download a fresh copy."
            )
        return target
    steps = entries()[name].get("manual")
    if steps:
        raise DataUnavailable(
            f"{name}: {row['file']} is to be had by hand.\n{steps}\n"
            f"It is at {row['url']}\nSave it as {target}"
        )
    _download(name, row, target)
    return target


def _download(name: str, row: dict, target: Path) -> None:
    import pooch  # only a download needs it

    pooch.get_logger().setLevel("WARNING")  # its messages would put machine paths into notebooks
    stream = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    place = {"fname": target.name, "path": target.parent}
    try:
        pooch.retrieve(row["url"], row["sha256"], **place, downloader=stream)
    except OSError as error:  # of requests, too; or a folder that cannot be written
        host = urlsplit(row["url"]).hostname
        raise DataUnavailable(
            f"{name}: {row['file']} is not in the data folder and {host} cannot be reached "
            f"({type(error).__name__}); save it there, or name another folder with SCIMF_DATA.\n"
            f"It is at {row['url']}\nSave it as {target}"
        ) from None  # the download's own story is a hundred lines long
    except ValueError as error:  # another sha256
        raise ValueError(
            f"{name}: {row['url']} sent another file than {row['file']}. {error} Nothing was kept. "
            f"Try again; if it persists, put the right file at {target}."
        ) from None
