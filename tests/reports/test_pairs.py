"""Ligand-receptor pairs in closed form: true pairs come first, and receptors can be complexes."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from evidence.pairs import pairs_in_closed_form
from evidence.paracrine import paracrine


@pytest.fixture(scope="module")
def network():
    adata = paracrine(seed=1, n_populations=12, n_cells=60)
    active = adata.uns["scimf"]["truth"]["active"]
    decoys = np.flatnonzero(~active)[:3]
    listed = [*np.flatnonzero(active), *decoys]
    pairs = pd.DataFrame({"ligand": [f"lig{k}" for k in listed]})
    return adata, pairs.assign(receptor=[f"rec{k}" for k in listed])


def test_true_pairs_come_first_and_decoys_are_not_called(network):
    table = pairs_in_closed_form(*network, permutations=199)
    assert table["ligand"].tolist() == network[1]["ligand"].tolist()
    assert table["score"][:3].min() > 1.5 * table["score"][3:].max()
    assert (table["p"][:3] <= 0.02).all() and table["p"][3:].min() > 0.01


def test_a_complex_is_as_good_as_its_rarer_subunit(network):
    adata, pairs = network
    plain = pairs.iloc[:3]
    genes = adata.to_df()
    for receptor in plain["receptor"]:
        genes[f"more{receptor}"] = genes[receptor] + 1
    complexes = plain.assign(receptor=plain["receptor"] + "_more" + plain["receptor"])
    both = ad.AnnData(genes, obs=adata.obs)
    found = pairs_in_closed_form(both, complexes, permutations=9)
    expected = pairs_in_closed_form(adata, plain, permutations=9)
    np.testing.assert_allclose(found["score"], expected["score"])
