"""CellRank, scVelo and LIANA+ take what notebook 10 leaves, by the very lines that it shows.

They need other versions of our packages: ``make test-interop`` has an environment of its own, in
which there is nothing of ours, and names the file in ``SCIMF_DONE``.
"""

import os
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/10_your_data.py"
HEADING = "# ## On to CellRank, scVelo and LIANA+\n"
#: Blocks of code in their order, and what each imports.
TOOLS = {
    "reading": "anndata",
    "cellrank": "cellrank",
    "growth": "numpy",
    "scvelo": "scvelo",
    "liana": "liana",
}


def section():
    """What the notebook says under the heading, as Markdown."""
    text = NOTEBOOK.read_text(encoding="utf-8").split(HEADING)[1]
    return re.sub("^# ?", "", text.split("\n# %%")[0], flags=re.MULTILINE)


def shown():
    """Blocks of code of the section, by what they are for."""
    blocks = re.findall(r"```python\n(.*?)```\n", section(), re.DOTALL)
    return dict(zip(TOOLS, blocks, strict=True))


def cosine(a, b):
    """Of the rows of two arrays."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(axis=1) / np.maximum(lengths, 1e-9)


@pytest.fixture
def done(monkeypatch):
    """Names that are defined once the file is read as the notebook says."""
    if "SCIMF_DONE" not in os.environ:
        pytest.skip("make test-interop has an environment of its own for this")
    monkeypatch.chdir(Path(os.environ["SCIMF_DONE"]).parent)
    names = {}
    exec(shown()["reading"], names)
    return names


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_shown_is_code_for_that_tool(tool):
    code = shown()[tool]
    compile(code, tool, "exec")
    assert f"import {TOOLS[tool]} as " in code


def test_the_notebook_names_the_versions_that_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["optional-dependencies"]["interop"]:
        assert f'"{requirement.split(";")[0]}"' in section()


def test_what_is_read_is_what_the_notebook_lists(done):
    adata = done["adata"]
    assert {"time", "cell_type"} <= set(adata.obs)
    assert adata.obsm["velocity_scimf"].shape == adata.obsm["X_scimf"].shape
    parts = [adata.obsm[f"velocity_{part}_scimf"] for part in ("intrinsic", "interaction")]
    np.testing.assert_allclose(sum(parts), adata.obsm["velocity_scimf"], atol=1e-5)
    assert adata.uns["scimf"]["form"] == "counts"
    assert adata.uns["scimf"]["verdict"]


def test_a_chain_of_cellrank_goes_where_the_velocity_points(done):
    exec(shown()["cellrank"], done)
    x, velocity = done["adata"].obsm["X_scimf"], done["adata"].obsm["velocity_scimf"]
    moves = {name: done[name].transition_matrix for name in ("drift", "alike", "kernel")}
    for matrix in moves.values():
        assert matrix.shape == (len(x), len(x))
        np.testing.assert_allclose(np.asarray(matrix.sum(axis=1)).ravel(), 1, rtol=1e-4)
    along = {name: cosine(matrix @ x - x, velocity).mean() for name, matrix in moves.items()}
    assert along["drift"] > 0.2
    assert along["alike"] < along["kernel"] <= along["drift"]


def test_of_a_velocity_cellrank_takes_the_direction_alone(done):
    exec(shown()["cellrank"], done)
    before = done["drift"].transition_matrix
    done["adata"].obsm["velocity_scimf"] *= 3
    exec(shown()["cellrank"], done)
    assert abs(done["drift"].transition_matrix - before).max() < 1e-4


def test_descendants_go_where_cells_divide(done):
    """Rates are made up: the example's model does not grow."""
    exec(shown()["cellrank"], done)
    adata, before = done["adata"], done["kernel"].transition_matrix
    adata.obs["growth_rate"] = 0.0
    exec(shown()["growth"], done)
    assert abs(done["growing"].transition_matrix - before).max() < 1e-6
    adata.obs["growth_rate"] = np.where(np.arange(adata.n_obs) % 2, 5.0, -5.0)
    exec(shown()["growth"], done)
    after = done["growing"].transition_matrix
    np.testing.assert_allclose(np.asarray(after.sum(axis=1)).ravel(), 1, rtol=1e-6)
    divide = adata.obs["growth_rate"].to_numpy() > 0
    odds = []
    for matrix in (before, after):
        odds.append(np.asarray(matrix @ divide) / np.maximum(np.asarray(matrix @ ~divide), 1e-9))
    mixed = (odds[0] > 0.1) & (odds[0] < 10)
    np.testing.assert_allclose(odds[1][mixed] / odds[0][mixed], np.e, rtol=1e-4)


def test_streams_of_scvelo_follow_the_velocity(done):
    exec(shown()["scvelo"], done)
    flat, velocity = done["flat"], done["adata"].obsm["velocity_scimf"]
    assert flat.uns["velocity_graph"].nnz
    drawn = flat.obsm["velocity_pca"]
    known = np.isfinite(drawn).all(axis=1)
    assert known.mean() > 0.9
    assert cosine(drawn[known], velocity[known]).mean() > 0.2


def test_the_table_of_liana_holds_the_expression_of_each_snapshot(done):
    exec(shown()["liana"], done)
    adata, table = done["adata"], done["adata"].uns["liana_res"]
    pairs = set(done["pairs"].itertuples(index=False, name=None))
    assert set(zip(table["ligand_complex"], table["receptor_complex"], strict=True)) == pairs
    assert set(table["time"]) == set(adata.obs["time"])
    assert set(table["source"]) | set(table["target"]) == set(adata.obs["cell_type"])
    assert table.groupby("time", observed=True)["magnitude_rank"].is_monotonic_increasing.all()
    mean = adata.to_df().groupby([adata.obs["time"], adata.obs["cell_type"]], observed=True).mean()
    for row in table.itertuples():
        ligand = mean.at[(row.time, row.source), row.ligand_complex]
        receptor = mean.at[(row.time, row.target), row.receptor_complex]
        assert row.lr_means == pytest.approx((ligand + receptor) / 2, rel=1e-4)


@pytest.mark.parametrize("resource", ["consensus", "mouseconsensus"])
def test_pairs_of_human_and_mouse_come_with_liana(done, resource):
    import liana

    exec(shown()["liana"], done)
    adata, known = done["adata"], liana.resource.select_resource(resource)
    single = known[~known["ligand"].str.contains("_") & ~known["receptor"].str.contains("_")]
    symbols = single.drop_duplicates("ligand").to_numpy().ravel()
    adata.var_names = np.array(list(dict.fromkeys(symbols)))[: adata.n_vars]
    chosen = {} if resource == "consensus" else {"resource_name": resource}
    liana.method.natmi.by_sample(adata, **done["where"], **chosen)
    assert adata.uns["liana_res"]["ligand_complex"].nunique() > 10
