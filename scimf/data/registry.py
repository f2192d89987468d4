"""The registry of real data: which files there are, and how they get into the cache."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from scimf.core import paths
from scimf.core.files import read_toml, sha256_of

TIMEOUT = 20  #: seconds without an answer before a download is given up


class DataUnavailable(RuntimeError):
    """A data file is neither in the cache nor to be had from the network."""


def entries() -> dict[str, dict]:
    """Every data set and table of pairs (form "pairs"), as in ``scimf/data/registry.toml``.

    An entry with a ``reader`` is no course of populations: what it names reads it.
    """
    return read_toml(Path(__file__).with_name("registry.toml"))


def fetch(name: str, **options) -> list[Path]:
    """Make sure that the files of ``load(name, **options)`` are in the cache, return their paths.

    Files that are there are checked and left alone, so the cache may be read-only. A missing file
    is downloaded aside and renamed only once its sha256 is right. A set whose entry says ``manual``
    is never downloaded, and a row without a sha256 is not checked. Stops at the first failure.

    Raises
    ------
    DataUnavailable, ValueError
        A file is missing and cannot be downloaded, or is to be had by hand: says how and where to
        put it. A file, found or downloaded, has another sha256 than the registry names.
    """
    return [_fetched(name, row) for row in _rows_of(name, **options)]


def _rows_of(name: str, **options) -> list[dict]:
    """Rows of the registry: the files that one variant of a data set consists of."""
    known = entries()
    if name not in known:
        raise ValueError(f"{name!r} is not in scimf/data/registry.toml, which has {[*known]}")
    variants = known[name].get("variants", {})  # the first is the default
    unknown = set(options) - set(variants)
    if unknown:
        raise ValueError(f"{name}: unknown options {sorted(unknown)}; expected {[*variants]}")
    rows = known[name]["files"]
    for option, parts in variants.items():
        value = options.get(option, next(iter(parts)))
        if str(value) not in parts:
            raise ValueError(f"{name}: {option}={value!r}, expected one of {list(parts)}")
        rows = [row for row in rows if parts[str(value)] in row["file"]]
    return rows


def _fetched(name: str, row: dict) -> Path:
    target = paths.DATA / row["file"]
    if not target.is_file() and (steps := entries()[name].get("manual")):
        place = f"It is at {row['url']}\nSave it as {target}"
        raise DataUnavailable(f"{name}: {row['file']} is to be had by hand.\n{steps}\n{place}")
    if not target.is_file():
        _download(name, row, target)
    elif "sha256" in row and (digest := sha256_of(target)) != row["sha256"]:
        raise ValueError(
            f"{name}: {target} is damaged or another version: sha256 {digest}, expected "
            f"{row['sha256']}. Delete it and load again to download a fresh copy."
        )
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
