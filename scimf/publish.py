"""Complete runs become tracked files, and each ``.ipynb`` is kept in step with its ``.py``, which wins."""

import copy
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import jupytext

from scimf import paths
from scimf.notebook import file_hash, notebook_names, profile_settings, say, source_hash, write_atomic

MAX_BYTES = 1_000_000  # of one .ipynb
# Two or more components after a slash that starts a word: a path of some machine (not a URL, a tag or a fraction).
MACHINE_PATH = re.compile(r"(?<![\w.~/:<*$}\])-])/(?:[\w.+-]+/)+[\w.+-]+")


class Refused(Exception):
    """What was asked for cannot be done; the message says why and what would help."""


def run_files(name: str, profile: str) -> tuple[Path, Path, Path]:
    """Where a run leaves the executed notebook, the one that failed, and the results."""
    build = paths.BUILD / profile
    return build / f"{name}.ipynb", build / f"{name}.failed.ipynb", paths.RESULTS / profile / f"{name}.json"


def run_record(name: str, profile: str, folder: Path | None = None) -> dict:
    """Results of the last run of a notebook, empty when there is none."""
    path = (folder or paths.RESULTS) / profile / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def short(path: Path) -> str:
    """Path as seen from the repository."""
    return str(path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path)


def read_source(name: str):
    """Read ``notebooks/<name>.py`` as a notebook object whose cell ids depend on content and order only."""
    nb = jupytext.read(paths.ROOT / "notebooks" / f"{name}.py")
    nb.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return with_stable_ids(nb)


def with_stable_ids(nb):
    """Give each cell the hash of its content as id, so that an unchanged cell keeps it; repeats are numbered."""
    seen = Counter()
    for cell in nb.cells:
        digest = hashlib.sha256(f"{cell.cell_type}\0{cell.source}".encode()).hexdigest()[:12]
        seen[digest] += 1
        cell["id"] = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return nb


def tags(cell) -> list[str]:
    """Tags of a cell."""
    return list(cell.metadata.get("tags", []))


def pair_problems(name: str) -> list[str]:
    """List how ``notebooks/<name>.ipynb`` differs from its ``.py``; empty when they are in step."""
    path = paths.ROOT / "notebooks" / f"{name}.ipynb"
    if not path.is_file():
        return [f"notebooks/{name}.ipynb is missing: make notebooks"]
    pair, source = jupytext.read(path), read_source(name)
    problems = []
    theirs, ours = ([(c.cell_type, c.source, tags(c), c.get("id")) for c in nb.cells] for nb in (pair, source))
    if theirs != ours:
        same = [a == b for a, b in zip(theirs, ours, strict=False)]
        at = same.index(False) if False in same else len(same)
        problems.append(f"notebooks/{name}.ipynb: cell {at + 1} is not that of the .py: make notebooks")
    if pair.metadata.get("scimf", {}).get("py_sha256") != file_hash(path.with_suffix(".py")):
        problems.append(f"notebooks/{name}.ipynb was not made from this .py: make notebooks")
    return problems


def machine_paths(nb) -> list[str]:
    """Absolute paths in the outputs and metadata of a notebook, pictures aside."""
    bare = copy.deepcopy(nb)
    for cell in bare.cells:
        cell.pop("source")
        for output in cell.get("outputs", []):
            for kind in [k for k in output.get("data", {}) if k.startswith("image/") and k != "image/svg+xml"]:
                del output["data"][kind]
    return sorted(set(_strings(bare, MACHINE_PATH)))


def _strings(node, pattern: re.Pattern) -> list[str]:
    if isinstance(node, str):
        return pattern.findall(node)
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [hit for child in children for hit in _strings(child, pattern)]


def write_notebook(nb, path: Path) -> None:
    """Write an ``.ipynb``, aside first."""
    write_atomic(path, jupytext.writes(nb, fmt="ipynb"))


def _make_pair(name: str, executed=None, provenance: dict | None = None):
    """Source cells of a notebook, with the outputs of the executed one wherever a cell is unchanged."""
    nb = read_source(name)
    outputs = {c["id"]: c.outputs for c in with_stable_ids(executed).cells if c.cell_type == "code"} if executed else {}
    for number, cell in enumerate((c for c in nb.cells if c.cell_type == "code"), start=1):
        cell.outputs = copy.deepcopy(outputs.get(cell["id"], []))
        cell.execution_count = number if cell["id"] in outputs else None
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = number
            output.get("metadata", {}).clear()
    nb.metadata["scimf"] = {"py_sha256": file_hash(paths.ROOT / "notebooks" / f"{name}.py"), **(provenance or {})}
    return nb


def publish(profile: str) -> None:
    """Copy a complete run into ``published/`` (and, for teach, into the ``.ipynb`` pairs); refuse any other.

    Those that were run are published, what was published of the others stays. Of ``teach`` it must be of the present
    sources, so that the pages of a course belong together; a notebook of another profile is a job of its own.

    Raises
    ------
    Refused
        With every reason found; nothing was written then.
    """
    names = notebook_names()
    if names and not profile_settings(profile, names[0])[0]["enforce"]:
        raise Refused(f"profile {profile} does not enforce its claims: nothing of it is published")
    kept = {n: run_record(n, profile, paths.RESULTS / "published") for n in names if not run_record(n, profile)}
    if profile == "teach":
        kept = {name: record for name, record in kept.items() if record and record["source"] == source_hash(name)}
    names = [name for name in names if name not in kept]
    problems = [] if names else [f"nothing was run: make figures PROFILE={profile}"]
    copies: dict[Path, Path | str] = {}
    for name in names:
        record = run_record(name, profile)
        current = source_hash(name)
        trouble = _unfit(name, profile, record, current)
        problems += [f"{name}: {reason}" for reason in trouble]
        if trouble:
            continue
        target = paths.RESULTS / "published" / profile / f"{name}.json"
        copies[target] = run_files(name, profile)[2]
        for file in (file for figure in record["figures"].values() for file in figure):
            target = paths.FIGURES / "published" / profile / file
            if target in copies:
                problems.append(f"{name}: {file} is drawn by an earlier notebook too")
            copies[target] = paths.FIGURES / profile / file
        if profile == "teach":
            text, trouble = _published_pair(name, profile, current)
            problems += [f"{name}: {reason}" for reason in trouble]
            copies[paths.ROOT / "notebooks" / f"{name}.ipynb"] = text
    if problems:
        raise Refused(f"profile {profile} is not published:\n" + "\n".join(f"  {p}" for p in problems))
    for target, source in copies.items():
        write_atomic(target, source if isinstance(source, str) else source.read_bytes())
    for record in kept.values():
        drawn = [file for files in record.get("figures", {}).values() for file in files]
        copies |= {paths.FIGURES / "published" / profile / file: "" for file in drawn}
        copies |= {paths.RESULTS / "published" / profile / f"{record['notebook']}.json": ""} if record else {}
    for folder in (paths.RESULTS / "published" / profile, paths.FIGURES / "published" / profile):
        for stale in (p for p in folder.glob("*") if p not in copies):
            stale.unlink()
    say(f"published {profile}: {', '.join(names)}")


def _unfit(name: str, profile: str, record: dict, current: str) -> list[str]:
    """Why this run of a notebook cannot be published."""
    done, _, results = run_files(name, profile)
    if record.get("status") != "complete" or not done.is_file():
        return [f"no complete run: make figures PROFILE={profile}"]
    again = f"rm -r build/stamps/{profile} and make figures PROFILE={profile}"
    reasons = [f"skipped {data}: {why}" for data, why in record["skipped"].items()]
    reasons += [f"claim {c['status']}: {text}" for text, c in record["claims"].items() if c["status"] != "kept"]
    if record["source"] != current:
        reasons.append(f"was run with other sources: {again}")
    if jupytext.read(done).metadata.get("scimf", {}).get("results_sha256") != file_hash(results):
        reasons.append(f"its numbers are not of the executed notebook: {again}")
    for files in record["figures"].values():
        for file, digest in files.items():
            path = paths.FIGURES / profile / file
            if not path.is_file() or file_hash(path) != digest:
                reasons.append(f"{file} is not as this run drew it: {again}")
    reasons += [f"{short(results)} holds a machine's path: {hit}" for hit in _strings(record, MACHINE_PATH)]
    return reasons


def _published_pair(name: str, profile: str, source: str) -> tuple[str, list[str]]:
    executed = jupytext.read(run_files(name, profile)[0])
    nb = _make_pair(name, executed, {"profile": profile, "source_sha256": source})
    text = jupytext.writes(nb, fmt="ipynb")
    problems = [f"an output holds a machine's path: {hit}" for hit in machine_paths(nb)]
    if len(text.encode()) > MAX_BYTES:
        problems.append(f"the .ipynb would be {len(text.encode()) / 1e6:.1f} MB, the limit is {MAX_BYTES / 1e6:.0f} MB")
    return text, problems


def pairs() -> None:
    """Make every ``.ipynb`` again from its ``.py``, keeping the outputs of unchanged cells."""
    for name in notebook_names():
        path = paths.ROOT / "notebooks" / f"{name}.ipynb"
        old = jupytext.read(path) if path.is_file() else None
        provenance = {k: v for k, v in old.metadata.get("scimf", {}).items() if k != "py_sha256"} if old else {}
        write_notebook(_make_pair(name, old, provenance), path)


def check_pairs() -> None:
    """Refuse a pair that is out of step."""
    if problems := [p for name in notebook_names() for p in pair_problems(name)]:
        raise Refused("\n".join(problems))


def student() -> None:
    """Write ``build/student``: the notebooks without outputs and without the cells tagged ``solution``."""
    for name in notebook_names():
        nb = read_source(name)
        nb.cells = [cell for cell in nb.cells if "solution" not in tags(cell)]
        write_notebook(nb, paths.BUILD / "student" / f"{name}.ipynb")
    say(f"student notebooks: {short(paths.BUILD / 'student')}")


def html(profile: str) -> None:
    """Render the notebooks as executed under a profile, else as published, to ``build/html``."""
    from nbconvert import HTMLExporter

    for name in notebook_names():
        candidates = (run_files(name, profile)[0], paths.ROOT / "notebooks" / f"{name}.ipynb")
        source = next((p for p in candidates if p.is_file()), None)
        if source is None:
            raise Refused(f"{name} was not executed yet: make figures PROFILE={profile}")
        write_atomic(paths.BUILD / "html" / f"{name}.html", HTMLExporter().from_filename(str(source))[0])
    say(f"pages: {short(paths.BUILD / 'html')}")


def check_figures() -> None:
    """Report, without failing, published results that are not of the current sources or were altered."""
    known, stale = notebook_names(), 0
    for path in sorted((paths.RESULTS / "published").glob("*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if path.stem not in known or record["source"] != source_hash(path.stem):
            say(f"{path.parent.name}/{path.stem}: made from other sources")
            stale += 1
        for file, digest in (item for files in record["figures"].values() for item in files.items()):
            figure = paths.FIGURES / "published" / path.parent.name / file
            if not figure.is_file() or file_hash(figure) != digest:
                say(f"{path.parent.name}/{file}: not as the run drew it")
                stale += 1
    say("published figures are current" if not stale else f"{stale} published files are not current")
