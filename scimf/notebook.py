"""One run of one notebook: seeds, data, figures, numbers, claims and their provenance."""

import json
import math
import os
import platform
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scimf.core import paths
from scimf.core.files import sha256_of, write_file, written_aside
from scimf.core.parallel import resolve_device
from scimf.data.load import load
from scimf.data.registry import DataUnavailable
from scimf.plots.style import use_style

#: Packages whose versions stand in every record.
PACKAGES = (
    "torch",
    "torchsde",
    "POT",
    "geomloss",
    "numpy",
    "scipy",
    "pandas",
    "anndata",
    "scanpy",
    "scikit-learn",
)
#: What a run that nobody ordered records of its parameters.
ALWAYS = ("profile", "seed", "device")


def say(line: str) -> None:
    """Show one line to the reader of a notebook or a terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def start_notebook(name: str, parameters: Mapping[str, Any]) -> "Run":
    """Seed everything, choose the device, set the style of figures and open the record of this run.

    Parameters
    ----------
    name
        The notebook, e.g. ``"03_train"``.
    parameters
        The notebook's ``globals()``, with ``profile``, ``seed`` and ``device``. Which others are
        parameters, whether claims are enforced, what the results depend on and in which folders
        they wait to be complete is told by who ordered the run, in the environment variable
        ``SCIMF_RUN``; by hand nobody does.

    Examples
    --------
    >>> run = start_notebook("03_train", globals())  # doctest: +SKIP
    """
    order = json.loads(os.environ.get("SCIMF_RUN", "{}"))
    declared = order.get("parameters", ALWAYS)
    missing = [key for key in {*ALWAYS, *declared} if key not in parameters]
    if missing:
        raise ValueError(f"{name}: no value for {', '.join(sorted(missing))}")
    return Run(name, {key: parameters[key] for key in declared}, order)


class Run:
    """One run of one notebook; see :func:`start_notebook`.

    Attributes
    ----------
    profile, seed, device
        As declared by the notebook; ``device`` resolved to "cpu" or "cuda".
    build, figures, results
        Folder for intermediate files of this notebook; folders of the profile's figures and
        numbers.
    fits
        Cache of fitted models, shared by all notebooks and profiles: files are named by the hash of
        their inputs.
    """

    def __init__(self, name: str, parameters: dict[str, Any], order: Mapping[str, Any]):
        self.name = name
        self.parameters = parameters
        self.profile = parameters["profile"]
        self.seed = parameters["seed"]
        self.device = resolve_device(parameters["device"]).type
        self.fits = paths.BUILD / "fits"
        places = order.get("places", {})
        self.build = Path(places.get("build", paths.BUILD / self.profile / self.name))
        self.figures = Path(places.get("figures", paths.FIGURES / self.profile))
        self.results = Path(places.get("results", paths.RESULTS / self.profile))
        for folder in (self.build, self.figures, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)
        use_style()

        self._start = time.monotonic()
        self._enforce = bool(order.get("enforce", False))
        self._source = order.get("source", "")
        self._inputs: dict[str, str] = {}
        self._metrics: dict[str, Any] = {}
        self._claims: dict[str, dict[str, str]] = {}
        self._skipped: dict[str, str] = {}
        self._figures: dict[str, dict[str, str]] = {}
        self._versions = _versions()
        self._write("running")  # a killed run says so

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the notebook started."""
        return time.monotonic() - self._start

    def __repr__(self) -> str:
        lines = [f"{self.name} · profile {self.profile} · seed {self.seed} · {self.device}"]
        shown = {k: v for k, v in self.parameters.items() if k not in ("profile", "seed", "device")}
        if shown:
            lines.append(", ".join(f"{k} = {v!r}" for k, v in shown.items()))
        packages = [p for p in ("python", "torch", "torchsde", "numpy") if p in self._versions]
        lines.append(", ".join(f"{p} {self._versions[p]}" for p in packages))
        return "\n".join(lines)

    def generator(self, stream: int = 0) -> torch.Generator:
        """Return a fresh ``torch.Generator``: a cell that is run twice gives the same numbers.

        The same ``stream`` of random numbers starts anew with each call. What has to be
        independent, such as a start and the noise that follows, is drawn from different streams.
        """
        return torch.Generator().manual_seed(self.seed + 1_000_003 * stream)

    def load(
        self, names: Iterable[str], *, each: Mapping[str, Mapping] | None = None, **options
    ) -> dict[str, Any]:
        """Load the data sets that can be had; say which were skipped, and why.

        Parameters
        ----------
        names
            Names in the registry, in the order wanted.
        each
            Options of :func:`scimf.load` for single data sets, by name.
        **options
            Options of :func:`scimf.load` for all of them.

        Returns
        -------
        dict
            Name -> AnnData, without the skipped ones.
        """
        loaded = {}
        for name in names:
            chosen = options | dict((each or {}).get(name, {}))
            adata = self.attempt(name, load, name, **chosen)
            if adata is None:
                continue
            about = adata.uns.get("scimf", {})
            self.reads(about.get("files", ()), about.get("sha256", ()))
            for warning in about.get("warnings", ()):
                say(f"{name}: {warning}")
            loaded[name] = adata
        return loaded

    def attempt(self, name: str, get: Callable, *arguments, **options) -> Any:
        """Call ``get``; None, said and recorded, if the data it needs (``name``) cannot be had."""
        try:
            found = get(*arguments, **options)
        except DataUnavailable as reason:
            line = str(reason).splitlines()[0].removeprefix(f"{name}: ")
            if self._skipped.get(name) != line:  # else it was said before
                say(f"skipped {name}: {line}")
            self._skipped[name] = line
            return None
        self._skipped.pop(name, None)
        return found

    def reads(self, files: Iterable[str], digests: Iterable[str]) -> None:
        """Record files that this notebook reads, with their SHA-256."""
        for file, digest in zip(files, digests, strict=True):
            self._inputs[str(file)] = f"sha256:{digest}"

    def input(self, path: str | Path) -> Path:
        """Record the hash of a file this notebook reads and return its path.

        A relative path is looked up among the files of this profile's notebooks:
        ``run.input("03_train/sde.pt")``.
        """
        place = paths.BUILD / self.profile
        full = place / path
        if not full.is_file():
            needed = f"run the notebook that writes it under profile {self.profile}"
            raise FileNotFoundError(f"{path} is missing: {needed}")
        key = full.relative_to(place).as_posix() if full.is_relative_to(place) else full.name
        self.reads([key], [sha256_of(full)])
        return full

    def save_figure(self, fig, name: str, data=None) -> None:
        """Save a figure as PDF and PNG (200 dpi), its numbers as CSV beside it.

        Parameters
        ----------
        fig
            A matplotlib figure; it stays open, so that the notebook shows it.
        name
            ``fig<N>[letter]_<what it shows>``, used once in a run.
        data
            What is drawn: a DataFrame, or several by name. Files: ``name.csv`` or
            ``name_<key>.csv``.
        """
        if not re.fullmatch(r"fig\w+", name):
            raise ValueError(f"figure name {name!r}: expected e.g. 'fig2b_heldout_distance'")
        self._once("figure", name, self._figures)
        fig.set_dpi(min(fig.get_dpi(), 100))  # what the .ipynb keeps stays small
        options = {"pdf": {"metadata": {"CreationDate": None}}, "png": {"dpi": 200}}
        files = [f"{name}.{kind}" for kind in options]
        for kind, file in zip(options, files, strict=True):
            with written_aside(self.figures / file) as aside:
                fig.savefig(aside, format=kind, **options[kind])
        for key, table in _tables(data).items():
            plain = re.sub(r"[^a-z0-9]+", "_", key.lower())
            file = f"{name}_{plain}.csv" if key else f"{name}.csv"
            # A plain 0, 1, 2, ... says nothing.
            named = table.index.name is not None or table.index.dtype.kind != "i"
            write_file(self.figures / file, table.to_csv(index=named, float_format="%.6g"))
            files.append(file)
        self._figures[name] = {file: sha256_of(self.figures / file) for file in files}

    def record(self, mapping: Mapping[str, Any] | None = None, **metrics) -> None:
        """Record numbers under flat dotted keys.

        Parameters
        ----------
        mapping, **metrics
            Key -> number, or key -> what :func:`scimf.interval` returns. NaN is refused.
        """
        for key, value in {**(mapping or {}), **metrics}.items():
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
                expected = "words joined by dots, e.g. 'cite.heldout.w1'"
                raise ValueError(f"metric {key!r}: expected {expected}")
            self._once("metric", key, self._metrics)
            self._metrics[key] = _plain(key, value)

    def expect(
        self, claim: str, holds: bool | Callable[[], bool], needs: str | Iterable[str] = ()
    ) -> None:
        """State a claim of the text; a profile that enforces claims stops where one fails.

        Parameters
        ----------
        claim
            The sentence, as the reader should see it.
        holds
            Whether it does; a function without arguments is called only when the data it needs are
            there.
        needs
            Data sets the claim rests on; when one was skipped, so is the claim.
        """
        needs = [needs] if isinstance(needs, str) else list(needs)
        lacking = [f"{name}: {self._skipped[name]}" for name in needs if name in self._skipped]
        if lacking:
            reason = "; ".join(lacking)
            self._claims[claim] = {"status": "skipped", "reason": reason}
            say(f"skipped: {claim} (needs {', '.join(n for n in needs if n in self._skipped)})")
            return
        value = holds() if callable(holds) else holds
        if getattr(value, "ndim", None) == 0:  # of NumPy or torch
            value = value.item()
        if not isinstance(value, bool | np.bool_):
            found = type(value).__name__
            raise TypeError(f"claim {claim!r}: expected True or False, got {found}")
        self._claims[claim] = {"status": "kept" if value else "failed"}
        say(f"{'holds' if value else 'does not hold'}: {claim}")
        if self._enforce and not value:
            self._write("failed")
            where = f"profile {self.profile}, seed {self.seed}"
            raise AssertionError(f"{where}: does not hold: {claim}")

    def finish(self) -> None:
        """Write the numbers, claims and provenance of this run; the last call of a notebook."""
        self._write("complete")
        n_kept = sum(claim["status"] == "kept" for claim in self._claims.values())
        found = f"{len(self._metrics)} numbers, {len(self._figures)} figures"
        claims = f"{n_kept} of {len(self._claims)} claims hold"
        say(f"{self.name}: {self.seconds:.0f} s, {found}, {claims}")

    def _once(self, kind: str, name: str, seen: Mapping) -> None:
        # Unattended, a second use would silently replace the first; by hand, a learner may run
        # a cell again.
        if name in seen and os.environ.get("SCIMF_UNATTENDED"):
            again = f"{kind} {name!r} is used a second time; choose another name"
            raise ValueError(f"{self.name}: {again}")

    def _write(self, status: str) -> None:
        on_gpu = self.device == "cuda"
        hardware = torch.cuda.get_device_name() if on_gpu else platform.machine()
        content = {
            "notebook": self.name,
            "profile": self.profile,
            "status": status,
            "parameters": self.parameters,
            "source": self._source,
            "inputs": self._inputs,
            "versions": self._versions,
            "device": f"{self.device} ({hardware})",
            "seconds": round(self.seconds, 1),
            "metrics": self._metrics,
            "claims": self._claims,
            "skipped": self._skipped,
            "figures": self._figures,
        }
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_file(self.results / f"{self.name}.json", text + "\n")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _tables(data: Any) -> dict[str, Any]:
    if data is None:
        return {}
    return dict(data) if isinstance(data, Mapping) else {"": data}


def _plain(key: str, value: Any) -> float | dict[str, float]:
    """Plain finite numbers: one, or a mean over seeds with its interval."""
    if isinstance(value, Mapping):
        if set(value) not in ({"mean", "lo", "hi", "n_seeds"}, {"mean", "n_seeds"}):
            found = ", ".join(value)
            raise ValueError(f"metric {key!r}: expected mean, lo, hi, n_seeds; got {found}")
        return {k: _plain(f"{key}.{k}", v) for k, v in value.items()}
    number = value.item() if hasattr(value, "item") else value
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not math.isfinite(number):
        raise ValueError(f"metric {key!r}: expected a finite number, got {value!r}")
    return number
