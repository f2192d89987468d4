import numpy as np
import pandas as pd
import pytest
import torch
from evidence.edges import attention_by_type, edge_recovery

from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit


def model_of(tiny, interaction):
    settings = {"hidden": (16,), "hidden_interaction": 16, "steps": 4, "dt": 0.5}
    return fit(*tiny, config=SDEConfig(interaction=interaction, **settings), progress=False)


def test_attention_score_by_hand(tiny):
    obs = tiny[0].obs
    adata = tiny[0][(obs["population"] == "p01") & (obs["time"] == 1.0)].copy()
    model = model_of(tiny, "attention")
    found = attention_by_type(model, adata, min_cells=1)
    block = model.sde.interaction[0]
    x = model.standardiser.transform(adata.obsm["X_scimf"])[None]
    with torch.no_grad():
        norm = block.project(x)[2].norm(dim=-1)[0]  # (heads, cells)
        score = (block.weights(x)[0] * norm[:, None, :]).mean(0).numpy()  # (receiver, sender)
    labels = adata.obs["cell_type"].astype(str).to_numpy()
    for a in found.index:
        for b in found.columns:
            expected = score[np.ix_(labels == a, labels == b)].mean()
            assert found.loc[a, b] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="attention"):
        attention_by_type(model_of(tiny, "additive"), adata)


def test_edge_recovery_by_hand():
    truth = np.array([[0, 1.0, 0], [0, 0, -2.0], [0, 0, 0]])
    perfect = edge_recovery(pd.DataFrame(truth), truth)
    assert perfect.pop("prevalence") == pytest.approx(1 / 3)
    assert perfect == {"auroc": 1, "auprc": 1, "sign_accuracy": 1}
    flipped = edge_recovery(pd.DataFrame(-truth), truth)
    assert flipped["auroc"] == 1
    assert flipped["sign_accuracy"] == 0
    with pytest.raises(ValueError, match="at least one true edge"):
        edge_recovery(pd.DataFrame(truth), np.zeros((3, 3)))
