"""What a notebook needs around its science: seeds, device, data, figures, numbers, claims and their provenance."""

import ast
import hashlib
import json
import math
import os
import platform
import random
import re
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import scimf
from scimf import paths

SETTINGS = {"enforce": bool, "wall_seconds": int}
_PACKAGES = ("torch", "torchsde", "POT", "geomloss", "numpy", "scipy", "pandas", "anndata", "scanpy", "scikit-learn")
_PARAMETERS_CELL = re.compile(r'^# %%.*tags=\[[^\]]*"parameters"[^\]]*\].*\n((?:(?!# %%).*\n?)*)', re.MULTILINE)


def say(line: str) -> None:
    """Show one line to the reader of a notebook or a terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def notebook_names() -> list[str]:
    """Names of the notebooks (``NN_name``), in reading order."""
    return sorted(p.stem for p in (paths.ROOT / "notebooks").glob("[0-9][0-9]_*.py"))


def declared_parameters(name: str) -> dict[str, Any]:
    """Parameters and default values in the one cell tagged ``parameters`` of a notebook.

    Raises
    ------
    FileNotFoundError
        There is no such notebook.
    ValueError
        Not exactly one such cell, or a line in it is not ``name: type = literal``.
    """
    path = paths.ROOT / "notebooks" / f"{name}.py"
    if not path.is_file():
        raise FileNotFoundError(f"notebooks/{name}.py does not exist; there are: {', '.join(notebook_names())}")
    cells = _PARAMETERS_CELL.findall(path.read_text(encoding="utf-8"))
    if len(cells) != 1:
        raise ValueError(f"notebooks/{name}.py: {len(cells)} cells are tagged 'parameters', expected exactly one")
    values = {}
    for node in ast.parse(cells[0]).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
            raise ValueError(f"notebooks/{name}.py, parameters: {ast.unparse(node)!r} is not 'name: type = literal'")
        try:
            values[node.target.id] = ast.literal_eval(node.value)
        except ValueError:
            raise ValueError(f"notebooks/{name}.py, parameters: {node.target.id} is not set to a literal") from None
    return values


def profile_settings(profile: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a profile and the values it gives to the parameters of one notebook.

    Raises
    ------
    ValueError
        Unknown profile, setting or parameter, or a value that is not of its default's type.
    """
    tables = tomllib.loads((paths.ROOT / "notebooks" / "profiles.toml").read_text(encoding="utf-8"))
    where = f"notebooks/profiles.toml, [{profile}.{name}]"
    if profile not in tables:
        raise ValueError(f"notebooks/profiles.toml: no profile {profile!r}; there are: {', '.join(tables)}")
    table = tables[profile]
    if name not in table:
        raise ValueError(f"{where}: the table is missing (it may be empty)")
    settings = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if {key: type(value) for key, value in settings.items()} != SETTINGS:
        raise ValueError(f"notebooks/profiles.toml, [{profile}]: expected {SETTINGS}, found {settings}")
    declared = declared_parameters(name)
    for key, value in table[name].items():
        if key not in declared or key == "profile":
            raise ValueError(f"{where}: {key!r} is no parameter of {name}; it has: {', '.join(declared)}")
        default = declared[key]
        same = type(value) is type(default) or (type(default) is float and type(value) is int)
        if default is not None and not same:
            raise ValueError(f"{where}: {key} = {value!r}, expected {type(default).__name__} as in the notebook")
    return settings, table[name]


def given_values(name: str, given: Iterable[str]) -> dict[str, Any]:
    """Read ``key=value`` texts as parameters of a notebook; what is a text there is taken as it is.

    Raises
    ------
    ValueError
        If a key is no parameter of the notebook, or a value is not of its default's type.
    """
    declared, values = declared_parameters(name), {}
    for key, _, text in (item.partition("=") for item in given):
        if key not in declared or key == "profile":
            raise ValueError(f"{key!r} is no parameter of {name}; it has: {', '.join(declared)}")
        kind = type(declared[key])
        try:
            value = text if kind is str else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = None
        if type(value) is not kind and (kind, type(value)) != (float, int):
            raise ValueError(f"{key}={text!r}: expected {kind.__name__} such as {declared[key]!r}")
        values[key] = value
    return values


def source_hash(name: str) -> str:
    """SHA-256 over what the results of a notebook depend on; needs no git, so a downloaded archive has it too.

    That is its code, the code of the rooms it reaches, its values in the profiles, the style of the figures, and the
    pinned versions that its record names. Text, comments and docstrings do not count, nor does what it never imports.
    """
    root = paths.ROOT
    profiles = tomllib.loads((root / "notebooks" / "profiles.toml").read_text(encoding="utf-8"))
    code = _code_of(root / "notebooks" / f"{name}.py")
    parts = {name: ast.dump(code), "profiles": json.dumps({p: t.get(name) for p, t in profiles.items()})}
    waiting = {"__init__"} | _rooms_named(code)
    while waiting:
        room = waiting.pop()
        path = root / "scimf" / f"{room}.py"
        if room not in parts and path.is_file():
            parts[room] = ast.dump(_code_of(path))
            waiting |= _rooms_named(_code_of(path))
    if (style := root / "scimf" / "scimf.mplstyle").is_file():
        parts["style"] = file_hash(style)
    if (pins := root / "constraints.txt").is_file():
        known = {package.lower() for package in _PACKAGES}
        lines = pins.read_text(encoding="utf-8").splitlines()
        parts["pins"] = repr([line for line in lines if line.split("==")[0].lower() in known])
    return hashlib.sha256("\n".join(f"{key}\0{parts[key]}" for key in sorted(parts)).encode()).hexdigest()


def _code_of(path: Path) -> ast.Module:
    """Syntax tree of a file without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return tree


def _rooms_named(tree: ast.Module) -> set[str]:
    """Modules of this package that a file imports, or reaches by a name of the package."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition("scimf.")[2] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "scimf":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scimf."):
            names.add(node.module.removeprefix("scimf."))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "scimf":
            names.add(node.attr)
    return {scimf._WHERE.get(name, name) for name in names}


def file_hash(path: Path) -> str:
    """SHA-256 of one file, as hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write aside, then rename: a file that exists is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(aside, path)


def start_notebook(name: str, parameters: Mapping[str, Any]) -> "Run":
    """Seed everything, choose the device and open the record of this run.

    Parameters
    ----------
    name
        The notebook, e.g. ``"03_train"``.
    parameters
        The notebook's ``globals()``: the declared parameters are read from it, ``profile``, ``seed`` and
        ``device`` among them.

    Examples
    --------
    >>> run = start_notebook("03_train", globals())  # doctest: +SKIP
    """
    declared = declared_parameters(name)
    missing = ({"profile", "seed", "device"} | set(declared)) - set(parameters)
    if missing:
        raise ValueError(f"notebooks/{name}.py: no value for {', '.join(sorted(missing))}")
    return Run(name, {key: parameters[key] for key in declared})


class Run:
    """One run of one notebook; see :func:`start_notebook`.

    Attributes
    ----------
    profile, seed, device
        As declared by the notebook; ``device`` resolved to "cpu" or "cuda".
    build, figures, results
        Folder for intermediate files of this notebook; folders of the profile's figures and numbers.
    fits
        Cache of fitted models, shared by all notebooks and profiles: files are named by the hash of their inputs.
    """

    def __init__(self, name: str, parameters: dict[str, Any]):
        import torch

        self.name, self.parameters = name, parameters
        self.profile, self.seed, self.device = (parameters[key] for key in ("profile", "seed", "device"))
        self._enforce = profile_settings(self.profile, name)[0]["enforce"]
        if self.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.build = paths.BUILD / self.profile / name
        self.fits = paths.BUILD / "fits"
        self.figures = paths.FIGURES / self.profile
        self.results = paths.RESULTS / self.profile
        for folder in (self.build, self.figures, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)

        self._start, self._source = time.monotonic(), source_hash(name)
        self._inputs, self._metrics, self._claims, self._skipped, self._figures = {}, {}, {}, {}, {}
        self._versions = {"python": platform.python_version()}
        self._versions |= {p: metadata.version(p) for p in _PACKAGES if _installed(p)}
        self._hardware = torch.cuda.get_device_name() if self.device.startswith("cuda") else platform.machine()
        self._write("running")  # a killed run says so

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the notebook started."""
        return time.monotonic() - self._start

    def __repr__(self) -> str:
        rest = {k: v for k, v in self.parameters.items() if k not in ("profile", "seed", "device")}
        lines = [f"{self.name} · profile {self.profile} · seed {self.seed} · {self.device}"]
        lines += [", ".join(f"{k} = {v!r}" for k, v in rest.items())] if rest else []
        shown = ("python", "torch", "torchsde", "numpy")
        return "\n".join([*lines, ", ".join(f"{p} {self._versions[p]}" for p in shown if p in self._versions)])

    def generator(self):
        """Return a fresh ``torch.Generator`` (CPU) with the run's seed: a cell run twice gives the same numbers."""
        import torch

        return torch.Generator().manual_seed(self.seed)

    def load(self, names: Iterable[str], *, each: Mapping[str, Mapping] | None = None, **options) -> dict:
        """Load the data sets that can be had; say which were skipped, and why.

        Parameters
        ----------
        names
            Names in the registry, in the order wanted.
        each
            Options of :func:`scimf.datasets.load` for single data sets, by name.
        **options
            Options of :func:`scimf.datasets.load` for all of them.

        Returns
        -------
        dict
            Name -> AnnData, without the skipped ones.
        """
        from scimf import datasets, registry

        loaded = {}
        for name in names:
            try:
                adata = datasets.load(name, **(options | dict((each or {}).get(name, {}))))
            except registry.DataUnavailable as reason:
                self._skip(name, reason)
                continue
            self._skipped.pop(name, None)
            about = adata.uns.get("scimf", {})
            digests = zip(about.get("files", ()), about.get("sha256", ()), strict=True)
            self._inputs |= {str(file): f"sha256:{digest}" for file, digest in digests}
            for warning in about.get("warnings", ()):
                say(f"{name}: {warning}")
            loaded[name] = adata
        return loaded

    def load_pairs(self, name: str, genes: Iterable[str]):
        """Ligand-receptor pairs among ``genes``, as :func:`scimf.ligands.load_pairs`; None, and said, if skipped."""
        from scimf import ligands, registry

        try:
            pairs = ligands.load_pairs(name, genes)
        except registry.DataUnavailable as reason:
            return self._skip(name, reason)
        self._skipped.pop(name, None)
        self._inputs |= {row["file"]: f"sha256:{row['sha256']}" for row in registry.entries()[name]["files"]}
        return pairs

    def input(self, path: str | Path) -> Path:
        """Record the hash of a file this notebook reads and return its path.

        A relative path is looked up among the files of this profile's notebooks: ``run.input("03_train/sde.pt")``.
        """
        place = paths.BUILD / self.profile
        full = place / path
        if not full.is_file():
            raise FileNotFoundError(f"{path} is missing: run the notebook that writes it under profile {self.profile}")
        key = full.relative_to(place).as_posix() if full.is_relative_to(place) else full.name
        self._inputs[key] = f"sha256:{file_hash(full)}"
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
            What is drawn: a DataFrame, or several by name. Files: ``name.csv`` or ``name_<key>.csv``.
        """
        if not re.fullmatch(r"fig\w+", name):
            raise ValueError(f"figure name {name!r}: expected e.g. 'fig2b_heldout_distance'")
        self._once("figure", name, self._figures)
        fig.set_dpi(min(fig.get_dpi(), 100))  # what the .ipynb keeps stays small
        for suffix, options in ((".pdf", {"metadata": {"CreationDate": None}}), (".png", {"dpi": 200})):
            aside = self.figures / f".{name}{suffix}"
            fig.savefig(aside, format=suffix[1:], **options)
            os.replace(aside, self.figures / f"{name}{suffix}")
        tables = {} if data is None else data if isinstance(data, Mapping) else {"": data}
        files = [f"{name}.pdf", f"{name}.png"]
        for key, table in tables.items():
            files.append(f"{name}_{re.sub(r'[^a-z0-9]+', '_', key.lower())}.csv" if key else f"{name}.csv")
            named = table.index.name is not None or table.index.dtype.kind != "i"  # a plain 0, 1, 2, ... says nothing
            write_atomic(self.figures / files[-1], table.to_csv(index=named, float_format="%.6g"))
        self._figures[name] = {file: file_hash(self.figures / file) for file in files}

    def record(self, mapping: Mapping[str, Any] | None = None, **metrics) -> None:
        """Record numbers under flat dotted keys.

        Parameters
        ----------
        mapping, **metrics
            Key -> number, or key -> what :func:`scimf.evaluate.interval` returns. NaN is refused.
        """
        for key, value in {**(mapping or {}), **metrics}.items():
            if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
                raise ValueError(f"metric {key!r}: expected words joined by dots, e.g. 'cite.heldout.w1'")
            self._once("metric", key, self._metrics)
            self._metrics[key] = _plain(key, value)

    def expect(self, claim: str, holds: bool | Callable[[], bool], needs: str | Iterable[str] = ()) -> None:
        """State a claim of the text. A profile that enforces claims stops at one that does not hold.

        Parameters
        ----------
        claim
            The sentence, as the reader should see it.
        holds
            Whether it does; a function without arguments is called only when the data it needs are there.
        needs
            Data sets the claim rests on; when one was skipped, so is the claim.
        """
        needs = [needs] if isinstance(needs, str) else list(needs)
        if lacking := [f"{name}: {self._skipped[name]}" for name in needs if name in self._skipped]:
            self._claims[claim] = {"status": "skipped", "reason": "; ".join(lacking)}
            return say(f"skipped: {claim} ({'; '.join(lacking)})")
        value = holds() if callable(holds) else holds
        if getattr(value, "ndim", 0) != 0 or not isinstance(getattr(value, "item", lambda: value)(), bool):
            raise TypeError(f"claim {claim!r}: expected True or False, got {type(value).__name__}")
        self._claims[claim] = {"status": "kept" if value else "failed"}
        say(f"{'holds' if value else 'does not hold'}: {claim}")
        if self._enforce and not value:
            self._write("failed")
            raise AssertionError(f"profile {self.profile}, seed {self.seed}: does not hold: {claim}")

    def finish(self) -> None:
        """Write the numbers, claims and provenance of this run; the last call of a notebook."""
        self._write("complete")
        n_kept = sum(c["status"] == "kept" for c in self._claims.values())
        say(
            f"{self.name}: {self.seconds:.0f} s, {len(self._metrics)} numbers, {len(self._figures)} figures, "
            f"{n_kept} of {len(self._claims)} claims hold"
        )

    def _skip(self, name: str, reason: Exception) -> None:
        self._skipped[name] = str(reason).splitlines()[0].removeprefix(f"{name}: ")
        say(f"skipped {name}: {self._skipped[name]}")

    def _once(self, kind: str, name: str, seen: Mapping) -> None:
        # Unattended, a second use would silently replace the first; by hand, a learner may run a cell again.
        if name in seen and os.environ.get("SCIMF_UNATTENDED"):
            raise ValueError(f"notebooks/{self.name}.py: {kind} {name!r} is used a second time; choose another name")

    def _write(self, status: str) -> None:
        content = {
            "notebook": self.name,
            "profile": self.profile,
            "status": status,
            "parameters": self.parameters,
            "source": self._source,
            "inputs": self._inputs,
            "versions": self._versions,
            "device": f"{self.device} ({self._hardware})",
            "seconds": round(self.seconds, 1),
            "metrics": self._metrics,
            "claims": self._claims,
            "skipped": self._skipped,
            "figures": self._figures,
        }
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_atomic(self.results / f"{self.name}.json", text + "\n")


def _installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def _plain(key: str, value: Any) -> float | dict[str, float]:
    """Plain finite numbers: one, or a mean over seeds with its interval (none over a single seed)."""
    if isinstance(value, Mapping):
        if set(value) not in ({"mean", "lo", "hi", "n_seeds"}, {"mean", "n_seeds"}):
            raise ValueError(f"metric {key!r}: expected mean, lo, hi, n_seeds; got {', '.join(value)}")
        return {k: _plain(f"{key}.{k}", v) for k, v in value.items()}
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError(f"metric {key!r}: expected a finite number, got {value!r}")
    return number
