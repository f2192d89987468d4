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

import matplotlib.style
import numpy as np
import torch

from scimf.core import paths
from scimf.core.files import sha256_of, write_file, written_aside
from scimf.core.parallel import resolve_device
from scimf.data.load import load
from scimf.data.registry import DataUnavailable
from scimf.plots.style import STYLE_FILE

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
#: Formats of figures, with options of ``savefig``.
SAVED_AS = {"pdf": {"metadata": {"CreationDate": None}}, "png": {"dpi": 200}}


def say(line: str) -> None:
    """Show one line to the reader of a notebook or a terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def start_notebook(name: str, parameters: Mapping[str, Any]) -> "_Run":
    """Seed everything, choose the device, set the style of figures and open the record of this run.

    ``run = start_notebook("03_train", globals())``, with ``profile``, ``seed`` and ``device`` among
    the globals. Which others are parameters, whether claims are enforced, what the results depend
    on and in which folders they wait to be complete is told by who ordered the run, in the
    environment variable ``SCIMF_RUN``; by hand nobody does.
    """
    order = json.loads(os.environ.get("SCIMF_RUN", "{}"))
    declared = order.get("parameters", ALWAYS)
    missing = [key for key in {*ALWAYS, *declared} if key not in parameters]
    if missing:
        raise ValueError(f"{name}: no value for {', '.join(sorted(missing))}")
    return _Run(name, {key: parameters[key] for key in declared}, order)


class _Run:
    """One run of one notebook; see :func:`start_notebook`.

    ``profile, seed, device`` are those of the notebook, ``device`` resolved to "cpu" or "cuda".
    ``build`` is its folder of intermediate files, ``figures`` and ``results`` those of the profile,
    ``fits`` the cache of fitted models, shared by all: files are named by the hash of their inputs.
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
        matplotlib.style.use(STYLE_FILE)

        self._start = time.monotonic()
        self._enforce = bool(order.get("enforce", False))
        on_gpu = self.device == "cuda"
        hardware = torch.cuda.get_device_name() if on_gpu else platform.machine()
        self._content: dict[str, Any] = {
            "notebook": self.name,
            "profile": self.profile,
            "parameters": self.parameters,
            "source": order.get("source", ""),
            "inputs": {},
            "versions": _versions(),
            "device": f"{self.device} ({hardware})",
            "metrics": {},
            "claims": {},
            "skipped": {},
            "figures": {},
        }
        self._write("running")  # a killed run says so

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the notebook started."""
        return time.monotonic() - self._start

    def __repr__(self) -> str:
        lines = [f"{self.name} · profile {self.profile} · seed {self.seed} · {self.device}"]
        shown = [f"{key} = {v!r}" for key, v in self.parameters.items() if key not in ALWAYS]
        if shown:
            lines.append(", ".join(shown))
        versions = self._content["versions"]
        packages = [p for p in ("python", "torch", "torchsde", "numpy") if p in versions]
        lines.append(", ".join(f"{p} {versions[p]}" for p in packages))
        return "\n".join(lines)

    def generator(self, stream: int = 0) -> torch.Generator:
        """Return a fresh ``torch.Generator``: a cell that is run twice gives the same numbers.

        The same ``stream`` of random numbers starts anew with each call. What has to be
        independent, such as a start and the noise that follows, is drawn from different streams.
        """
        return torch.Generator().manual_seed(self.seed + 1_000_003 * stream)

    def load(self, names: Iterable[str], **options) -> dict[str, Any]:
        """Load the data sets that can be had, by name; say which were skipped, and why.

        ``names`` are in the registry, ``options`` those of :func:`scimf.load` for all of them.
        """
        loaded = {}
        for name in names:
            adata = self.attempt(name, load, name, **options)
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
            if self._content["skipped"].get(name) != line:  # else it was said before
                say(f"skipped {name}: {line}")
            self._content["skipped"][name] = line
            return None
        self._content["skipped"].pop(name, None)
        return found

    def reads(self, files: Iterable[str], digests: Iterable[str]) -> None:
        """Record files that this notebook reads, with their SHA-256."""
        for file, digest in zip(files, digests, strict=True):
            self._content["inputs"][str(file)] = f"sha256:{digest}"

    def save_figure(self, fig, name: str, data=None) -> None:
        """Save a figure as PDF and PNG (200 dpi), its numbers as CSV beside it.

        It stays open, so that the notebook shows it. The name is ``fig<N>[letter]_<what it shows>``
        and used once in a run. ``data`` is what is drawn: a DataFrame (``name.csv``), or several by
        name (``name_<key>.csv``).
        """
        if not re.fullmatch(r"fig\w+", name):
            raise ValueError(f"figure name {name!r}: expected e.g. 'fig2b_heldout_distance'")
        self._once("figures", name)
        fig.set_dpi(min(fig.get_dpi(), 100))  # what the .ipynb keeps stays small
        files = []
        for kind, options in SAVED_AS.items():
            files.append(f"{name}.{kind}")
            with written_aside(self.figures / files[-1]) as aside:
                fig.savefig(aside, format=kind, **options)
        tables = data if isinstance(data, Mapping) else {"": data}
        for key, table in tables.items():
            if table is None:
                continue
            plain = re.sub(r"[^a-z0-9]+", "_", key.lower())
            file = f"{name}_{plain}.csv" if key else f"{name}.csv"
            # A plain 0, 1, 2, ... says nothing.
            named = table.index.name is not None or table.index.dtype.kind != "i"
            write_file(self.figures / file, table.to_csv(index=named, float_format="%.6g"))
            files.append(file)
        self._content["figures"][name] = {file: sha256_of(self.figures / file) for file in files}

    def record(self, mapping: Mapping[str, Any] | None = None, **metrics) -> None:
        """Record numbers, or what :func:`scimf.interval` returns, under dotted keys; no NaN."""
        for key, value in {**(mapping or {}), **metrics}.items():
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
                expected = "words joined by dots, e.g. 'cite.heldout.w1'"
                raise ValueError(f"metric {key!r}: expected {expected}")
            self._once("metrics", key)
            self._content["metrics"][key] = _plain(key, value)

    def expect(
        self, claim: str, holds: bool | Callable[[], bool], needs: str | Iterable[str] = ()
    ) -> None:
        """State a claim of the text; a profile that enforces claims stops where one fails.

        ``claim`` is the sentence, as the reader should see it, and ``holds`` whether it does, or a
        function that says so. ``needs`` are the data sets it rests on; when one was skipped, so is
        the claim, and the function is not called.
        """
        needs = [needs] if isinstance(needs, str) else list(needs)
        skipped = self._content["skipped"]
        lacking = [name for name in needs if name in skipped]
        if lacking:
            reason = "; ".join(f"{name}: {skipped[name]}" for name in lacking)
            self._content["claims"][claim] = {"status": "skipped", "reason": reason}
            say(f"skipped: {claim} (needs {', '.join(lacking)})")
            return
        value = holds() if callable(holds) else holds
        if getattr(value, "ndim", None) == 0:  # of NumPy or torch
            value = value.item()
        if not isinstance(value, bool | np.bool_):
            found = type(value).__name__
            raise TypeError(f"claim {claim!r}: expected True or False, got {found}")
        self._content["claims"][claim] = {"status": "kept" if value else "failed"}
        say(f"{'holds' if value else 'does not hold'}: {claim}")
        if self._enforce and not value:
            self._write("failed")
            where = f"profile {self.profile}, seed {self.seed}"
            raise AssertionError(f"{where}: does not hold: {claim}")

    def finish(self) -> None:
        """Write the numbers, claims and provenance of this run; the last call of a notebook."""
        self._write("complete")
        n = {kind: len(self._content[kind]) for kind in ("metrics", "figures", "claims")}
        n_kept = sum(claim["status"] == "kept" for claim in self._content["claims"].values())
        found = f"{n['metrics']} numbers, {n['figures']} figures"
        say(f"{self.name}: {self.seconds:.0f} s, {found}, {n_kept} of {n['claims']} claims hold")

    def _once(self, kind: str, name: str) -> None:
        # Unattended, a second use would silently replace the first; by hand, a learner may run
        # a cell again.
        if name in self._content[kind] and os.environ.get("SCIMF_UNATTENDED"):
            again = f"{name!r} is used a second time in {kind}; choose another name"
            raise ValueError(f"{self.name}: {again}")

    def _write(self, status: str) -> None:
        content = self._content | {"status": status, "seconds": round(self.seconds, 1)}
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
