import numpy as np
import pandas as pd
from evidence.paracrine import paracrine


def test_it_says_what_is_true():
    adata = paracrine(seed=1, n_populations=3, n_cells=12)
    assert np.isfinite(adata.X).all()
    assert adata.uns["scimf"]["name"] == "paracrine"
    assert adata.obs.groupby(["population", "time"], observed=True).size().eq(12).all()
    assert np.abs(adata.obsm["drift_interaction"]).max() > 0


def test_paracrine_decoys_move_nothing():
    adata = paracrine(seed=0, n_populations=3, n_cells=30)
    truth = adata.uns["scimf"]["truth"]
    moved = np.abs(adata.obsm["drift_interaction"]).max(0) > 0
    assert set(adata.var_names[moved]) <= set(truth["targets"].ravel())
    assert moved.any()
    receives_nothing = np.flatnonzero(truth["type_matrix"].sum(1) == 0)
    unreceptive = adata.obs["cell_type"].cat.codes.isin(receives_nothing).to_numpy()
    size = np.abs(adata.obsm["drift_interaction"]).max(1)
    assert unreceptive.any()
    assert (
        size[unreceptive].mean() < 0.1 * size[~unreceptive].mean()
    )  # their receptors are nearly off
    assert truth["active"].sum() == 3
    assert len(truth["active"]) == 23


def test_paracrine_active_pairs_can_be_told_from_decoys():
    """For whoever knew the interaction drift: the Hill term of a pair beside the targets' drift."""
    adata = paracrine(seed=2, n_populations=24, n_cells=40)
    active = adata.uns["scimf"]["truth"]["active"]
    names = adata.var_names.to_series()
    ligand, receptor, target = (
        adata.X[:, names.str.startswith(kind)] for kind in ("lig", "rec", "tgt")
    )
    received = adata.obsm["drift_interaction"][:, names.str.startswith("tgt")]
    groups = [adata.obs["population"].to_numpy(), adata.obs["time"].to_numpy()]
    mean_ligand = pd.DataFrame(ligand).groupby(groups).transform("mean").to_numpy()
    around = mean_ligand * adata.obs["density"].to_numpy()[:, None]
    bound = np.maximum(receptor * around, 0) ** 2

    def correlation(a, b):
        return np.abs(np.corrcoef(a.T, b.T))[: a.shape[1], a.shape[1] :]

    match = correlation(bound / (1 + bound), received).max(1)
    assert match[active].min() > 0.95
    assert match[active].min() > match[~active].max() + 0.1
    shown = correlation(target, received).diagonal()
    assert shown.max() < 0.8  # a target at rest would show what it receives
