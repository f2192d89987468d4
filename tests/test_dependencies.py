"""Dependencies are named once, the environments agree, and data flows one way through the rooms of ``scimf``."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest

from scimf import paths

ROOT = paths.ROOT
#: Rooms in the order of the data; a room imports from its own row or from rows above.
ROOMS = [
    ["paths", "checkpoints", "librarysizes"],
    ["particles", "networks"],
    ["registry", "formats"],
    ["ownfile"],
    ["readers", "papersets", "simulate", "countworlds"],
    ["datasets"],
    ["preprocess"],
    ["snapshots"],
    ["transport", "interactions", "sde", "counts", "flow"],
    ["fitted"],
    ["train", "optimise"],
    ["autoencode"],
    ["generate", "forecast"],
    ["baselines", "bridge"],
    ["peers", "rivals", "scvi_peer"],
    ["evaluate", "interpret", "realism"],
    ["priors"],
    ["ligands", "counterfactual", "fates", "verdict"],
    ["battery", "doctor"],
    ["scoreboard", "judge"],
    ["plots"],
    ["notebook"],
    ["publish", "report", "sweep", "timing"],
    ["execute", "bench"],
    ["race"],
]
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
MODULES = sorted(p.stem for p in (ROOT / "scimf").glob("*.py") if p.stem != "__init__")
IMPORTED_AS = {"pot": "ot", "scikit-learn": "sklearn", "pytest-xdist": "xdist", "scvi-tools": "scvi"}


def plain(requirement):
    """Bare normalised name of a requirement."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def constraints():
    return (ROOT / "constraints.txt").read_text(encoding="utf-8").split()


def imports(path):
    """Top-level packages a file imports, and the rooms of scimf among them."""
    packages, rooms = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        packages |= {name.split(".")[0] for name in names}
        rooms |= {name.split(".")[1] for name in names if name.startswith("scimf.") and name.split(".")[1] in RANK}
    return packages, rooms


def modules(requirements):
    return {IMPORTED_AS.get(plain(r), plain(r).replace("-", "_")) for r in requirements}


def test_every_dependency_is_pinned(project, constraints):
    extras = project["optional-dependencies"]
    wanted = {plain(r) for r in project["dependencies"] + extras["notebooks"] + extras["dev"]}
    pinned = {plain(line) for line in constraints}
    assert not wanted - pinned, "run make lock"


def test_constraints_are_exact_and_fit_any_machine(constraints):
    assert not [line for line in constraints if not re.fullmatch(r"[\w.-]+==[\w.!]+", line)]


def test_pinned_versions_satisfy_the_bounds(project, constraints):
    versions = {plain(line): line.split("==")[1] for line in constraints}
    extras = project["optional-dependencies"]
    for requirement in project["dependencies"] + extras["notebooks"] + extras["dev"]:
        name, bound = requirement.split(">=")
        pinned, least = ([int(n) for n in re.findall(r"\d+", v)] for v in (versions[plain(name)], bound))
        assert pinned >= least, f"{requirement}, pinned {versions[plain(name)]}"


def test_environment_yml_defers_to_the_other_two(project):
    items = re.findall(r"^ *- ([^#\n]*[^#\s])", (ROOT / "environment.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert "python=3.11" in items and project["requires-python"] == ">=3.11"
    assert "-c constraints.txt" in items and "-e .[notebooks,dev]" in items
    named = {i for i in items if not i.startswith("-")} - {"conda-forge", "python=3.11", "pip", "pip:"}
    declared = {plain(r) for r in project["dependencies"] + project["optional-dependencies"]["notebooks"]}
    assert named <= declared, "not declared in pyproject.toml, or with a version"


@pytest.mark.parametrize("folder", ["scimf", "notebooks", "tests"])
def test_nothing_undeclared_is_imported(project, folder):
    extras = project["optional-dependencies"]
    allowed = modules(project["dependencies"]) | set(sys.stdlib_module_names) | {"scimf"}
    for path in sorted((ROOT / folder).glob("*.py")):
        extra = {"execute": "notebooks", "publish": "notebooks", "scvi_peer": "scvi"}.get(path.stem)
        mine = modules(extras["notebooks"] + extras["dev"]) if folder == "tests" else modules(extras.get(extra, []))
        optional = modules(extras["interop"])
        unknown = imports(path)[0] - allowed - mine - optional
        assert not unknown, f"{path.relative_to(ROOT)} imports {unknown}, which pyproject.toml does not name"


@pytest.mark.parametrize("module", MODULES)
def test_data_flows_one_way(module):
    assert module in RANK, f"give scimf/{module}.py a place in ROOMS"
    upstream = {room for room in imports(ROOT / "scimf" / f"{module}.py")[1] if RANK[room] > RANK[module]}
    assert not upstream, f"scimf/{module}.py is upstream of {upstream}"


def test_training_needs_no_single_cell_package():
    wanted = ("snapshots", "sde", "transport", "fitted", "train")
    absent = ("scanpy", "anndata", "geomloss", "jupytext", "matplotlib", "pooch")
    code = f"import sys; sys.modules |= dict.fromkeys({absent}); import " + ", ".join(f"scimf.{r}" for r in wanted)
    got = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr


def test_a_function_keeps_its_name_whatever_is_imported():
    code = "import scimf, scimf.evaluate; from scimf.evaluate import score; assert callable(scimf.evaluate); "
    code += "from scimf import evaluate; assert evaluate is scimf.evaluate"
    got = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert got.returncode == 0, got.stderr


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled(module):
    text = (ROOT / "scimf" / f"{module}.py").read_text(encoding="utf-8")
    assert "allow_pickle=True" not in text and "weights_only=False" not in text
    calls = [ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    bare = [c for c in calls if c.startswith("torch.load(") and "weights_only=True" not in c]
    bare += [c for c in calls if re.match(r"(pickle|joblib|pd)\.(load|loads|read_pickle)\(", c)]
    bare += [c for c in calls if c.startswith("np.load(") and "allow_pickle=False" not in c]
    assert not bare, bare
