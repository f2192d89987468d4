"""The registry of real data: which files there are, where they are to be had, and how a file gets into the cache."""

import hashlib
import sys
import tomllib
from pathlib import Path

from scimf import paths

#: Data sets that come in variants: the option of :func:`scimf.load`, and the part of a file name each value (first =
#: default) stands for.
VARIANTS = {
    "cite_hspc": ("n_pcs", {50: "_pcas_50_", 100: "_pcas_100_"}),
    "cytobridge_sim": ("which", {"attraction": "_attract", "no_interaction": "_no_interact"}),
}
TIMEOUT = 20  # seconds without an answer before a download is given up


class DataUnavailable(RuntimeError):
    """A data file is neither in the cache nor to be had from the network."""


class DataCorrupt(ValueError):
    """A data file does not have the sha256 that the registry names."""


def entries() -> dict[str, dict]:
    """Every registered data set and table of pairs (form "pairs") by name, as written in ``data/registry.toml``."""
    with open(paths.ROOT / "data" / "registry.toml", "rb") as file:
        return tomllib.load(file)


def available(name: str, **options) -> bool:
    """Whether ``load(name, **options)`` finds all its files in the cache, so that no network is needed."""
    return all((paths.DATA / row["file"]).is_file() for row in rows_of(name, **options))


def fetch(name: str, **options) -> list[Path]:
    """Make sure that the files of ``load(name, **options)`` are in the cache, and return their paths.

    Files that are there are checked and left alone, so the cache may be read-only. A missing file is downloaded aside
    and renamed only once its sha256 is right. A set whose entry says ``manual`` is never downloaded, and a row without
    a sha256 is not checked. Stops at the first failure.

    Raises
    ------
    DataUnavailable
        A file is missing and cannot be downloaded, or is to be had by hand; says how and where to put it.
    DataCorrupt
        A file, found or downloaded, has another sha256 than the registry names.
    """
    found = []
    for row in rows_of(name, **options):
        target = paths.DATA / row["file"]
        if not target.is_file():
            if steps := entries()[name].get("manual"):
                raise DataUnavailable(
                    f"{name}: {row['file']} is to be had by hand.\n{steps}\nIt is at {row['url']}\nSave it as {target}"
                )
            _download(name, row, target)
        elif "sha256" in row and (digest := sha256_of(target)) != row["sha256"]:
            raise DataCorrupt(
                f"{name}: {target} is damaged or another version: sha256 {digest}, expected {row['sha256']}. "
                "Delete it and load again to download a fresh copy."
            )
        found.append(target)
    return found


def rows_of(name: str, **options) -> list[dict]:
    """Registry rows of the files that one variant of a data set consists of."""
    if name not in entries():
        raise ValueError(f"{name!r} is not in data/registry.toml, which has {', '.join(entries())}")
    option, parts = VARIANTS.get(name, (None, {}))
    if unknown := set(options) - {option}:
        raise ValueError(f"{name}: unknown options {sorted(unknown)}; expected {[option] if option else 'none'}")
    rows = entries()[name]["files"]
    if option is None:
        return rows
    value = options.get(option, next(iter(parts)))
    if value not in parts:
        raise ValueError(f"{name}: {option}={value!r}, expected one of {list(parts)}")
    return [row for row in rows if parts[value] in row["file"]]


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(name: str, row: dict, target: Path) -> None:
    import pooch  # only a download needs it

    pooch.get_logger().setLevel("WARNING")  # its messages would put machine paths into notebooks
    stream = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)

    def download(url: str, temporary: str, _: object) -> None:
        stream(url, temporary, None)
        if (digest := sha256_of(temporary)) != row["sha256"]:
            raise DataCorrupt(
                f"{name}: {url} sent a file with sha256 {digest}, expected {row['sha256']} for {row['file']}. "
                f"Nothing was kept. Try again; if it persists, put the right file at {target}."
            )

    try:
        pooch.retrieve(row["url"], row["sha256"], fname=target.name, path=target.parent, downloader=download)
    except OSError as error:  # every requests exception is one, and so is a folder that cannot be written
        raise DataUnavailable(
            f"{name}: {row['file']} is not in {paths.DATA} and cannot be had ({type(error).__name__}: {error}).\n"
            f"Get it from {row['url']}\nand save it as {target},\n"
            f"or let the environment variable SCIMF_DATA name a folder that holds {row['file']}."
        ) from None  # the download's own story is a hundred lines long
