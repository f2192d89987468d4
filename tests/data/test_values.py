"""What the values of a file are: the evidence in them, and the form that it is taken for."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scimf.data.load import load
from scimf.data.values import choose_values

N = 60  # cells
DAYS = np.repeat([0.0, 1.0, 3.0], N // 3)


def rng():
    return np.random.default_rng(0)


def counts(genes=40, depth=2.0):
    """Cells of two types and of unequal depth."""
    depths = depth * rng().lognormal(sigma=0.3, size=(N, 1))
    rates = rng().gamma(1.0, size=(2, genes))[np.arange(N) % 2]
    return rng().poisson(depths * rates).astype(np.float32)


def normalised(genes=40, target=1e4, **options):
    x = counts(genes, **options)
    return x / x.sum(1, keepdims=True) * target


def logged(genes=40, log=np.log1p, **options):
    return log(normalised(genes, **options)).astype(np.float32)


def scaled(genes=40):
    x = logged(genes)
    return ((x - x.mean(0)) / (x.std(0) + 1e-6)).clip(max=10)


def pcs(columns=20):
    return rng().normal(size=(N, columns)) / np.sqrt(1 + np.arange(columns))


def smooth():
    """Not negative, and neither counts nor normalised, as after imputation."""
    return np.log1p(rng().gamma(1.0, size=(N, 40)))


def ambient():
    """Counts of which a part was removed, as SoupX or DecontX do."""
    return counts() * rng().uniform(0.8, 1.0, size=(N, 40))


def log2(x):
    return np.log2(1 + x)


def log10(x):
    return np.log10(1 + x)


def made(x, names="g", *, raw=None, pca=False, **layers):
    """AnnData with these values; ``raw`` has as many genes more as its values have."""
    columns = [f"{names}{k}" for k in range(0 if x is None else x.shape[1])]
    obs = pd.DataFrame({"day": DAYS}, index=[f"c{k}" for k in range(N)])
    adata = ad.AnnData(x, obs=obs, var=pd.DataFrame(index=columns))
    if raw is not None:
        var = pd.DataFrame(index=[f"{names}{k}" for k in range(raw.shape[1])])
        adata.raw = ad.AnnData(raw, obs=obs, var=var)
    if pca:
        adata.obsm["X_pca"] = pcs(7)
    for key, values in layers.items():
        adata.layers[key] = values
    return adata


def taken(adata, **options):
    """Form, what was done in words, doubts, and the values."""
    notes = []
    chosen, form, why = choose_values(adata, Path("my.h5ad"), notes, **options)
    return form, why, " ".join(notes), chosen


# --------------------------------------------------------------------------------- X alone


X_ALONE = {  # what X holds: form, words of why, words of doubt
    "counts": (counts(), "counts", "whole numbers", ""),
    "sparse counts": (sparse.csr_matrix(counts()), "counts", "whole numbers", ""),
    "counts of a deep panel": (counts(genes=8, depth=5000.0), "counts", "whole numbers", ""),
    "counts + 1e-7": (counts() * np.float64(1 + 1e-7), "counts", "whole numbers", "rounded"),
    "counts - 1e-5": (counts() - 1e-5, "counts", "whole numbers", "rounded"),
    "counts + 1e-4": (
        counts() + 1e-4 * rng().random((N, 40)),
        "counts",
        "whole numbers",
        "rounded",
    ),
    "lognorm": (logged(), "lognorm", "log1p of normalised counts", ""),
    "lognorm to a million": (logged(target=1e6), "lognorm", "log1p of normalised", ""),
    "lognorm to the median": (logged(target=60), "lognorm", "log1p of normalised", ""),
    "lognorm, some genes": (logged()[:, ::2], "lognorm", "whole multiples", ""),
    "lognorm, deep": (logged(depth=5000.0), "lognorm", "every cell sums to 1e+04", ""),
    "lognorm, half precision": (logged().astype(np.float16), "lognorm", "log1p", ""),
    "lognorm, three decimals": (logged().round(3), "lognorm", "log1p", ""),
    "log2": (logged(log=log2), "lognorm", "log2(1 + x)", ""),
    "log10": (logged(log=log10), "lognorm", "log10(1 + x)", ""),
    "log1p of counts": (np.log1p(counts()), "lognorm", "whole multiples", ""),
    "imputed": (smooth(), "lognorm", "nothing else shows it", ""),
    "lognorm, deep, some genes": (logged(depth=5000.0)[:, ::2], "lognorm", "nothing else", ""),
}


@pytest.mark.parametrize(("x", "form", "why", "doubt"), X_ALONE.values(), ids=X_ALONE)
def test_x_alone(x, form, why, doubt):
    found, words, doubts, _ = taken(made(x))
    assert found == form
    assert words.startswith("Took X as ")
    assert why in words
    assert doubt in doubts
    assert bool(doubt) == bool(doubts)


@pytest.mark.parametrize("names", ["PC", "PC_", "pca-", "latent", "Z_", "UMAP", "tSNE_"])
def test_names_of_coordinates_tell(names):
    assert taken(made(rng().normal(size=(N, 5)), names))[0] == "pcs"


ASKED = {  # what X holds: words of the refusal
    "scaled, few genes": (scaled(), "negative values in 40 columns (scaled genes, or PCs?)"),
    "scaled, many genes": (scaled(300), "negative values in 300 columns (scaled genes"),
    "coordinates without names": (rng().normal(size=(N, 5)) + 3, "negative values in 5 columns"),
    "normalised, not logged": (normalised(), "unlike logarithms (counts"),
    "shares": (normalised(depth=5000.0, target=1), "unlike logarithms (counts"),
    "ambient removed": (ambient(), "unlike logarithms (counts"),
    "ambient removed, times 4": (ambient() * 8, "unlike logarithms (counts"),
    "one fraction": (counts() + np.eye(N, 40) / 2, "unlike logarithms (counts"),
    "negative counts": (counts() - 1, "negative values"),
}


@pytest.mark.parametrize(("x", "says"), ASKED.values(), ids=ASKED)
def test_what_is_asked(x, says):
    with pytest.raises(ValueError, match="declare form= ") as caught:
        taken(made(x))
    assert str(caught.value).startswith(f"my.h5ad: X holds {says}"[:17])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(bool),
        lambda x: x.astype(np.uint8),
        lambda x: x.astype(np.int64),
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.float64),
        sparse.csr_matrix,
        sparse.csc_matrix,
        sparse.csr_array,
        lambda x: sparse.csc_matrix(x.astype(np.int16)),
        np.ma.masked_array,
    ],
    ids="bool uint8 int64 float16 float64 csr csc csr_array int16-csc masked".split(),
)
def test_every_kind_of_matrix_gives_the_same(convert):
    x = np.minimum(counts(), 1)
    form, _, doubts, chosen = taken(made(convert(x)))
    values = chosen.X.toarray() if sparse.issparse(chosen.X) else chosen.X
    assert (form, doubts) == ("counts", "")
    assert values.dtype in (np.float32, np.float64)
    assert np.array_equal(values, x)


def test_counts_too_large_for_single_precision_stay_exact():
    x = counts().astype(np.int64) + 2**24 + 1
    assert np.array_equal(taken(made(x))[3].X, x)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(kind, value):
    x = counts()
    x[3, 4] = value
    with pytest.raises(
        ValueError, match=r"X holds NaN or infinite values \(1, .*'g4' of cell 'c3'"
    ):
        taken(made(kind(x)))


def test_a_cell_far_from_all_others_is_a_doubt():
    x = np.vstack([pcs()] * 2)
    x[5, 1] = 1e6
    adata = ad.AnnData(x, obs=pd.DataFrame(index=[f"c{k}" for k in range(2 * N)]))
    _, _, notes, _ = taken(adata, form="pcs")
    assert "1 cells lie far from others, such as 'c5'" in notes


# ------------------------------------------------------------------------------- other matrices


X = counts()
ELSEWHERE = {  # a file: what is taken, and its form
    "scaled, counts in a layer": (made(scaled(), counts=X), "layers['counts']", "counts"),
    "of any name": (made(scaled(), X_counts=X), "layers['X_counts']", "counts"),
    "scaled, 300 genes": (made(scaled(300), c=counts(300)), "layers['c']", "counts"),
    "and raw is lognorm": (made(scaled(), raw=logged(), counts=X), "layers['counts']", "counts"),
    "and X_pca": (made(scaled(), pca=True, counts=X), "layers['counts']", "counts"),
    "scaled, raw counts": (made(scaled(), raw=counts(60)), "raw", "counts"),
    "scaled, raw lognorm": (made(scaled(), raw=logged(60)), "raw", "lognorm"),
    "scaled, X_pca": (made(scaled(), pca=True), "obsm['X_pca']", "pcs"),
    "zeros, X_pca": (made(0 * X, pca=True), "obsm['X_pca']", "pcs"),
    "zeros, counts": (made(0 * X, pca=True, counts=X), "layers['counts']", "counts"),
    "not finite": (made(scaled() + np.inf, counts=X), "layers['counts']", "counts"),
    "not logged": (made(normalised(), counts=X), "layers['counts']", "counts"),
    "imputed": (made(smooth(), counts=X), "layers['counts']", "counts"),
    "velocyto": (made(scaled(), counts=X, spliced=X // 2, unspliced=X - X // 2),
                 "layers['counts']", "counts"),
    "spliced only": (made(scaled(), spliced=X // 2, Ms=smooth()), "layers['spliced']", "counts"),
    "the same twice": (made(scaled(), raw=X, counts=X), "raw", "counts"),
    "lognorm": (made(logged(), counts=X), "X", "lognorm"),
    "counts": (made(X, raw=logged(), lognorm=logged()), "X", "counts"),
    "PCs by name": (made(pcs(), "PC", raw=pcs()), "X", "pcs"),
}  # fmt: skip


@pytest.mark.parametrize(("adata", "where", "form"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_takes_the_place_of_x(adata, where, form):
    before = adata.copy()
    found, why, _, chosen = taken(adata)
    assert found == form
    assert why.startswith(f"Took {where} as ")
    assert where == "X" or "because X holds" in why
    assert chosen.shape == (N, len(chosen.var_names))
    assert np.array_equal(adata.X, before.X, equal_nan=True)


def test_genes_follow_their_values():
    assert taken(made(scaled(), raw=counts(60)))[3].n_vars == 60
    chosen = taken(made(scaled(), pca=True))[3]
    assert list(chosen.var_names[:2]) == ["PC1", "PC2"]


SEVERAL = {
    "two of counts": made(scaled(), counts=X, corrected=X + 1),
    "raw and a layer": made(scaled(), raw=X, other=X + 1),
    "parts of counts": made(scaled(), spliced=X, unspliced=X + 1),
}


@pytest.mark.parametrize("adata", SEVERAL.values(), ids=SEVERAL)
def test_different_counts_are_asked_about(adata):
    with pytest.raises(ValueError, match=r"different counts are in \[.*layer= \(LAYER=\)"):
        taken(adata)


# ---------------------------------------------------------------------------- the user decides


FULL = made(scaled(), raw=logged(60), pca=True, counts=X, other=X + 1, part=ambient())
NAMED = {  # layer, form declared: where, form
    "a layer": ("counts", None, "layers['counts']", "counts"),
    "another layer": ("other", None, "layers['other']", "counts"),
    "raw": ("raw", None, "raw", "lognorm"),
    "PCs": ("X_pca", None, "obsm['X_pca']", "pcs"),
    "X, declared": ("X", "state", "X", "state"),
    "a layer, declared": ("part", "counts", "layers['part']", "counts"),
    "lognorm": (None, "lognorm", "raw", "lognorm"),
    "pcs": (None, "pcs", "obsm['X_pca']", "pcs"),
    "state": (None, "state", "X", "state"),
}


@pytest.mark.parametrize(("layer", "form", "where", "found"), NAMED.values(), ids=NAMED)
def test_the_user_decides(layer, form, where, found):
    got, why, _, _ = taken(FULL, layer=layer, form=form)
    assert got == found
    assert why.startswith(f"Took {where} as ")


REFUSED = {  # a file, what is declared: words of the refusal
    "no such layer": (FULL, {"layer": "count"}, "layer='count' is not there, expected one of"),
    "no such form": (FULL, {"form": "raw"}, "form='raw', expected one of"),
    "scaled": (FULL, {"layer": "X"}, "X holds negative values in 40 columns"),
    "fractions": (FULL, {"layer": "part"}, "ambient"),
    "counts < 0": (made(scaled()), {"form": "counts"}, "as counts but holds negative"),
    "counts, logged": (made(logged()), {"form": "counts"}, "as counts but holds log1p of"),
    "lognorm < 0": (made(scaled()), {"form": "lognorm"}, "as lognorm but holds negative"),
    "lognorm, counts": (made(X), {"form": "lognorm"}, "as lognorm but holds whole numbers"),
    "lognorm, large": (made(normalised()), {"form": "lognorm"}, "which were never logged"),
    "pcs, counts": (made(X), {"form": "pcs"}, "as pcs but holds whole numbers"),
    "pcs, logged": (made(logged()), {"form": "pcs"}, "as pcs but holds log1p"),
    "state, zeros": (made(0 * X), {"form": "state"}, "as state but holds no value but zero"),
    "layer, not it": (FULL, {"layer": "raw", "form": "counts"}, "raw was declared as counts"),
}


@pytest.mark.parametrize(("adata", "options", "says"), REFUSED.values(), ids=REFUSED)
def test_what_was_declared_is_checked(adata, options, says):
    with pytest.raises(ValueError, match=r"^my\.h5ad: ") as caught:
        taken(adata, **options)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_fractional_counts_may_be_declared():
    form, _, notes, chosen = taken(made(ambient()), form="counts")
    assert form == "counts"
    assert "fractional counts are kept" in notes
    assert np.array_equal(chosen.X, ambient())


RECORDED = {  # what the file tells of X, X: what it is taken for, and whether it is doubted
    "as it is": ("counts", counts(), "counts", False),
    "decoded": ("lognorm", logged() - 0.5, "lognorm", False),
    "logged since": ("counts", logged(), "lognorm", True),
    "nonsense": ("words", logged(), "lognorm", False),
    "coordinates": ("state", rng().normal(size=(N, 5)), "state", False),
}


@pytest.mark.parametrize(("told", "x", "form", "doubted"), RECORDED.values(), ids=RECORDED)
def test_what_the_file_tells_is_believed_unless_it_is_wrong(told, x, form, doubted):
    found, _, notes, _ = taken(made(x), recorded=told)
    assert found == form
    assert ("not believed" in notes) == doubted


# --------------------------------------------------------------------------- the user's own columns


def own_file(folder, *, uns=None, obsm=None, **columns):
    adata = made(counts())
    kinds = ["a", "b", "c", "a"] * (N // 4)
    adata.obs["cell_type"] = pd.Categorical(kinds)
    for name, values in columns.items():
        adata.obs[name] = values
    adata.obsm = obsm or {}
    adata.uns = uns or {}
    adata.write_h5ad(folder / "my.h5ad")
    return folder / "my.h5ad"


CULTURES = ["p", "q"] * (N // 2)
DENSITY = [1.0, 0.5] * (N // 2)
COLUMNS = {  # columns of the file: those set aside
    "a density of each cell": ({"density": rng().random(N) + 0.1}, {"density"}),
    "a density in words": ({"density": ["high"] * N}, {"density"}),
    "a density of zero": ({"density": [0.0] * N}, {"density"}),
    "one of each population": ({"density": DENSITY, "population": CULTURES}, set()),
    "a mass of each cell": ({"mass": rng().random(N) + 0.1}, {"mass"}),
    "a mass of each time": ({"mass": DAYS + 1}, set()),
    "another time": ({"time": "morning"}, {"time"}),
    "types as populations": ({"population": ["u", "v", "w", "u"] * (N // 4)}, {"population"}),
    "times as populations": ({"population": DAYS.astype(str)}, {"population"}),
    "populations": ({"population": CULTURES}, set()),
    "one population": ({"population": "all"}, set()),
}


@pytest.mark.parametrize(("columns", "aside"), COLUMNS.values(), ids=COLUMNS)
def test_own_columns_are_kept_under_another_name(columns, aside, tmp_path):
    adata = load(own_file(tmp_path, **columns), time_key="day")
    renamed = {name for name in columns if f"{name}_of_file" in adata.obs}
    assert renamed == aside
    warnings = " ".join(adata.uns["scimf"]["warnings"])
    for name in columns:
        assert (name in adata.obs) == (name not in aside or name == "time")
        assert (f"obs[{name!r}] of the file is now" in warnings) == (name in aside)
    assert adata.obs["time"].tolist() == DAYS.tolist()


def test_a_population_that_is_named_is_taken(tmp_path):
    path = own_file(tmp_path, population=["u", "v", "w", "u"] * (N // 4))
    adata = load(path, time_key="day", population_key="population")
    assert adata.obs["population"].nunique() == 3


def test_coordinates_and_records_of_others_are_not_ours(tmp_path):
    path = own_file(tmp_path, obsm={"X_scimf": pcs(3)}, uns={"scimf": {"theirs": 1}})
    adata = load(path, time_key="day")
    assert list(adata.obsm) == ["X_scimf_of_file"]
    assert "theirs" not in adata.uns["scimf"]
    assert "no record of this package" in " ".join(adata.uns["scimf"]["warnings"])


def test_what_this_package_wrote_is_read_again(tmp_path):
    adata = load(own_file(tmp_path, population=CULTURES), time_key="day")
    adata.obsm["X_scimf"] = pcs(3)
    adata.write_h5ad(tmp_path / "done.h5ad")
    again = load(tmp_path / "done.h5ad")
    assert list(again.obsm) == ["X_scimf"]
    assert list(again.obs) == list(adata.obs)
    assert again.uns["scimf"]["time_unit"] == "day"
