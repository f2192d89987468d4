# No public file is at hand: each test writes small ones of the public layout into a cache of its own.
import gzip
import hashlib

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scimf import execute, papersets, paths, registry
from scimf.autoencode import fit_counts
from scimf.counts import CountConfig
from scimf.datasets import load
from scimf.preprocess import fit_space, hold_out, named_split
from scimf.sde import SDEConfig
from scimf.train import fit

QUICK = SDEConfig(hidden=(8,), hidden_interaction=8, steps=2, batch_cells=8, dt=0.5)
STAGES = "03.3-HIGH 03.8-OBLONG 04.3-DOME 04.8-30% 05.3-50% 06.0-SHIELD 07.0-60% 08.0-75% 09.0-90% 10.0-BUD"
STAGES = [*STAGES.split(), "11.0-3-Somite", "12.0-6-Somite"]
HOURS = "00_02 01_03 02_04 03_07 04_08 06_10 08_12 10_14 12_16 14_18 16_20".split()
ALL = "8005 5604 13715 14132 16089 13777 11533 11568 24200 8865 7327 7122 7478 7080 14443 20615 21068 16228 7436"
USED = "800 560 1371 1413 1608 1377 1153 1156 2420 886 732 712 747 708 1444 2061 2106 1622 743"
GENES = [f"gene{k}" for k in range(12)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty folder in the place of the cache."""
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path


def counts(n, seed=0):  # (n, genes), whole
    return np.random.default_rng(seed).poisson(1.5, (n, len(GENES))).astype(np.float32)


def places(name):
    found = [paths.DATA / row["file"] for row in registry.entries()[name]["files"]]
    found[0].parent.mkdir(exist_ok=True)
    return found


def write_table(path, frame, **options):
    frame.to_csv(path, sep="\t", **options)


def write_zebrafish(per_stage=4):
    matrix, meta = places("zebrafish")
    stages = np.repeat(STAGES, per_stage)
    cells = [f"ZF_DS5_{i:04d}" for i in range(len(stages))]
    x = pd.DataFrame(np.log2(1 + counts(len(cells)).T), index=pd.Index(GENES, name="GENE"), columns=cells)
    write_table(matrix, x)
    obs = pd.DataFrame({"NAME": cells, "Stage": stages, "Segment": "1"})
    obs["Lineage_Notochord"] = np.where(np.arange(len(cells)) % 2, "TRUE", "FALSE")
    obs["Lineage_Spinal_Cord"] = np.where(np.arange(len(cells)) % 3, "FALSE", "TRUE")
    second = pd.DataFrame([["TYPE", *["group"] * 4]], columns=obs.columns)
    write_table(meta, pd.concat([second, obs[::-1]]), index=False)  # in another order than the matrix


def write_reprogramming(cells_a_day=(30,) * 19, n_genes=12):
    matrix, days = places("reprogramming")
    day = np.repeat(np.arange(19), cells_a_day) + np.where(np.arange(sum(cells_a_day)) % 2, 0.5, 0)
    cells = np.array([f"D{d}_C1_{i}" for i, d in enumerate(day)])
    rng = np.random.default_rng(0)
    x = sparse.random(len(cells) + 2, n_genes, 0.5, format="csr", dtype=np.float32, rng=rng)  # two cells have no day
    obs, var = (
        pd.DataFrame(index=[*cells, "undated1", "undated2"]),
        pd.DataFrame(index=[f"g{k}" for k in range(n_genes)]),
    )
    ad.AnnData(x, obs=obs, var=var).write_h5ad(matrix)
    write_table(days, pd.DataFrame({"id": cells, "day": day}), index=False)


def write_pancreas(per_week=6, scale=1.0):
    matrix, meta = places("pancreas")
    week = np.repeat(np.arange(8), per_week)
    cells = [f"S5d{w}.{i:05d}" for i, w in enumerate(week)]
    write_table(
        matrix, pd.DataFrame(scale * counts(len(cells)), index=pd.Index(cells, name="# library.barcode"), columns=GENES)
    )
    obs = {"library.barcode": cells, "Differentiation": 1 + week % 2, "CellWeek": week, "Assigned_cluster": "sc_beta"}
    write_table(meta, pd.DataFrame(obs)[::-1], index=False)


def write_drosophila(per_window=80):
    matrix, rows, columns = places("drosophila")
    window = np.repeat([f"hrs_{hours}" for hours in HOURS], per_window)
    entries = sparse.coo_matrix(counts(len(window)).T)  # (genes, cells)
    lines = zip(entries.row + 1, entries.col + 1, entries.data.astype(int), strict=True)
    head = f"%%MatrixMarket matrix coordinate integer general\n%\n{len(GENES)} {len(window)} {entries.nnz}\n"
    with gzip.open(matrix, "wt") as file:
        file.write(head + "".join(f"{gene} {cell} {value}\n" for gene, cell, value in lines))
    write_table(rows, pd.DataFrame(GENES), index=False, header=False)
    obs = {"cell": [f"CELL{i}" for i in range(len(window))], "exp": "exp1", "time": window}
    write_table(columns, pd.DataFrame(obs), index=False)


WRITERS = {
    "zebrafish": write_zebrafish,
    "reprogramming": write_reprogramming,
    "pancreas": write_pancreas,
    "drosophila": write_drosophila,
}
SETS = {
    "zebrafish": ("remove_recovery", papersets.STAGES, [4] * 12),
    "reprogramming": ("three_interpolation", papersets.DAYS, [3] * 19),
    "pancreas": ("leaveout4", papersets.WEEKS, [6] * 8),
    "drosophila": ("three_forecasting", papersets.WINDOWS, [4] * 11),
}


@pytest.mark.parametrize("name", SETS)
def test_from_public_files_to_a_model(name):
    split_name, times, cells = SETS[name]
    WRITERS[name]()
    adata, entry = load(name), registry.entries()[name]
    assert adata.obs["time"].dtype == np.float64
    assert adata.obs["time"].value_counts().sort_index().to_dict() == dict(zip(times, cells, strict=True))
    assert sparse.issparse(adata.X) and adata.X.dtype == np.float32 and adata.obs_names.is_unique
    about = adata.uns["scimf"]
    assert (about["name"], about["form"], about["time_unit"]) == (name, entry["form"], entry["time_unit"])
    assert about["sha256"].tolist() == [hashlib.sha256(file.read_bytes()).hexdigest() for file in places(name)]
    adata.write_h5ad(paths.DATA / "copy.h5ad")
    assert ad.read_h5ad(paths.DATA / "copy.h5ad").uns["scimf"]["sha256"].tolist() == about["sha256"].tolist()

    split = named_split(adata, split_name)
    assert split == hold_out(adata, times=papersets.SPLITS[name][split_name])
    train = adata[split.train_mask(adata)].copy()
    space = fit_space(adata, split, n_pcs=3, n_genes=6)
    alone = fit_space(train, hold_out(train), n_pcs=3, n_genes=6)
    assert space.names == alone.names and len(space.names) < len(GENES)  # held-out cells have no say in the genes
    model = fit(adata, split, space, config=QUICK, progress=False)
    sample = model.sample(times=list(split.held_times[:1]), n=5)
    assert sample.n_obs == 5 and np.isfinite(sample.X).all()


def test_every_named_split_of_every_set():
    for name, splits in papersets.SPLITS.items():
        times = np.array(SETS[name][1])
        adata = ad.AnnData(obs=pd.DataFrame({"time": times}, index=times.astype(str)))
        adata.uns["scimf"] = {"name": name}
        for split in splits:
            assert named_split(adata, split).held_times == papersets.SPLITS[name][split]
        with pytest.raises(ValueError, match=f"{name}: no split 'easy', expected one of .*all_times"):
            named_split(adata, "easy")
    with pytest.raises(ValueError, match="'emt', expected a set with named splits: zebrafish"):
        named_split(ad.AnnData(uns={"scimf": {"name": "emt"}}), "all_times")


# The published indices, and which time each stands for in the data's own unit.
@pytest.mark.parametrize(
    ("name", "split", "index"),
    [
        ("zebrafish", "three_interpolation", (4, 6, 8)),
        ("zebrafish", "two_forecasting", (10, 11)),
        ("zebrafish", "remove_recovery", (2, 4, 6, 8, 10, 11)),
        ("reprogramming", "remove_recovery", (5, 7, 9, 11, 15, 16, 17, 18)),
        ("pancreas", "leaveout7", (7,)),
        ("drosophila", "three_interpolation", (4, 6, 8)),
        ("drosophila", "three_forecasting", (8, 9, 10)),
        ("drosophila", "remove_recovery", (2, 4, 6, 8, 9, 10)),
    ],
)
def test_published_indices_became_times(name, split, index):
    assert papersets.SPLITS[name][split] == tuple(SETS[name][1][i] for i in index)


def test_zebrafish_values_and_lineages():
    write_zebrafish()
    adata = load("zebrafish")
    np.testing.assert_allclose(adata.X.toarray(), np.log1p(counts(48)), rtol=1e-6)
    kinds = adata.obs["cell_type"].tolist()
    assert kinds[:4] == ["Spinal_Cord", "Notochord", "unassigned", "several lineages"]


def test_pancreas_values_types_and_batches():
    write_pancreas()
    adata = load("pancreas")
    np.testing.assert_array_equal(adata.X.toarray(), counts(48))
    assert adata.obs["batch"].tolist()[:7] == ["1"] * 6 + ["2"] and set(adata.obs["cell_type"]) == {"sc_beta"}


def test_drosophila_values_are_those_of_the_drawn_cells(monkeypatch):
    write_drosophila()
    whole = load("drosophila")
    monkeypatch.setattr(papersets, "ENTRIES", 97)  # blocks that end in the middle of a cell
    adata = load("drosophila")
    rows = [int(cell.removeprefix("CELL")) for cell in adata.obs_names]
    np.testing.assert_array_equal(adata.X.toarray(), counts(80 * 11)[rows])
    assert (adata.X != whole.X).nnz == 0 and set(adata.obs["batch"]) == {"exp1"}


def test_cells_a_day_are_the_published_ones():
    cells, used = ([int(n) for n in row.split()] for row in (ALL, USED))
    write_reprogramming(cells, n_genes=2)
    adata = load("reprogramming")
    assert sum(cells) == 236_285 and adata.n_obs == 23_619
    assert adata.obs["time"].value_counts().sort_index().tolist() == used


def test_reprogramming_draws_the_same_cells_again_from_any_kind_of_matrix():
    write_reprogramming()
    matrix, first = places("reprogramming")[0], load("reprogramming")
    source = ad.read_h5ad(matrix)
    for kind in (np.asarray(source.X.todense()), source.X.tocsc()):
        source.X = kind
        source.write_h5ad(matrix)
        again = load("reprogramming")
        assert again.obs_names.equals(first.obs_names) and (again.X != first.X).nnz == 0


# --- conditions of scLDM


def write_conditions(name, **changes):
    for i, file in enumerate(places(name)):
        obs = pd.DataFrame(index=[f"c{k}" for k in range(40)])
        for column in set(papersets.CONDITIONS[name].values()) - {""}:
            obs[column] = pd.Categorical(np.where(np.arange(40) % 2, f"{column} a", f"{column} b"))
        adata = ad.AnnData(sparse.csr_matrix(counts(40, i)), obs=obs, var=pd.DataFrame(index=GENES))
        if name in ("tabula_muris", "hlca"):
            adata.layers["X_counts"], adata.X = adata.X, adata.X.log1p()
        if name == "replogle":
            adata.X = adata.X.toarray()
        for key, value in changes.items():
            setattr(adata, key, value)
        adata.write_h5ad(file)


@pytest.mark.parametrize("name", papersets.CONDITIONS)
def test_conditions_from_public_files_to_a_model(name):
    write_conditions(name)
    adata, files = load(name), places(name)
    assert adata.uns["scimf"]["time_unit"] == "none" and "time" not in adata.obs and adata.obs_names.is_unique
    np.testing.assert_array_equal(adata.X.toarray(), np.concatenate([counts(40, i) for i in range(len(files))]))
    for key, column in papersets.CONDITIONS[name].items():
        assert adata.obs[key].tolist()[:2] == ([f"{column} b", f"{column} a"] if column else ["k562", "k562"])
    if name == "dentate_gyrus":
        assert adata.obs["split"].tolist() == ["train"] * 40 + ["test"] * 40
    if name == "replogle":
        assert adata.obs["cell_line"].unique().tolist() == ["k562", "rpe1", "hepg2", "jurkat"]
    tiny = CountConfig(width=16, tokens=4, latent=4, layers=1, heads=2, cross_heads=1, batch_cells=8, steps=2)
    assert len(fit_counts(adata, config=tiny, progress=False).history["reconstruction"]) == 2


def fractions(name):
    write_conditions(name, **({"layers": {"X_counts": sparse.csr_matrix(counts(40) / 3)}} if name == "hlca" else {}))


@pytest.mark.parametrize(
    ("write", "name", "says"),
    [
        (
            lambda: write_conditions("hlca", obs=pd.DataFrame(index=[f"c{k}" for k in range(40)])),
            "hlca",
            r"'cell_type'",
        ),
        (lambda: fractions("hlca"), "hlca", r"layers\['X_counts'\].*fractional"),
        (lambda: write_conditions("parse_1m", X=sparse.csr_matrix(-counts(40))), "parse_1m", "negative"),
        (lambda: places("hlca")[0].write_text("not hdf5"), "hlca", "not an HDF5 file"),
    ],
)
def test_bad_conditions_are_named(write, name, says):
    write()
    with pytest.raises(ValueError, match=says) as caught:
        load(name)
    assert str(places(name)[0]) in str(caught.value)


def test_screens_without_a_common_gene():
    write_conditions("replogle")
    last = places("replogle")[-1]
    adata = ad.read_h5ad(last)
    adata.var_names = [f"other{k}" for k in range(len(GENES))]
    adata.write_h5ad(last)
    with pytest.raises(ValueError, match="no gene in common") as caught:
        load("replogle")
    assert last.name in str(caught.value)


# --- files that are not what they should be


def cut(index, share=0.6):
    def damage(files):
        content = files[index].read_bytes()
        files[index].write_bytes(content[: int(share * len(content))])

    return damage


def cut_inside_gzip(index, share=0.6, at=None):
    """A table that was cut first and packed afterwards: the packing is whole, the table is not."""

    def damage(files):
        content = gzip.decompress(files[index].read_bytes())
        files[index].write_bytes(gzip.compress(content[: at or int(share * len(content))]))

    return damage


def swap(one, other):
    def damage(files):
        contents = [gzip.decompress(f.read_bytes()) if f.suffix == ".gz" else f.read_bytes() for f in files]
        for to, content in ((one, contents[other]), (other, contents[one])):
            files[to].write_bytes(gzip.compress(content) if files[to].suffix == ".gz" else content)

    return damage


def edit(index, old, new, count=-1):
    def damage(files):
        packed = files[index].suffix == ".gz"
        content = gzip.decompress(files[index].read_bytes()) if packed else files[index].read_bytes()
        changed = content.replace(old.encode(), new.encode(), count)
        assert changed != content
        files[index].write_bytes(gzip.compress(changed) if packed else changed)

    return damage


def no_gzip(index):
    return lambda files: files[index].write_bytes(gzip.decompress(files[index].read_bytes()))


BAD = [
    ("zebrafish", cut(0), 0, "cut short"),
    ("zebrafish", cut_inside_gzip(0), 0, "expected 48 numbers"),
    ("zebrafish", no_gzip(0), 0, "damaged"),
    ("zebrafish", cut(1), 1, "expected the same 48 cells"),
    ("zebrafish", swap(0, 1), 1, r"columns \['NAME', 'Stage'\] are missing"),
    ("zebrafish", edit(1, "Stage", "Age"), 1, r"\['Stage'\] are missing"),
    ("zebrafish", edit(1, "12.0-6-Somite", "11.0-3-Somite"), 1, r"'Stage' has the times .*expected all of .*12\.0"),
    ("zebrafish", edit(1, "12.0-6-Somite", "late"), 1, r"'Stage' is 'late', expected one of \[3\.3"),
    ("zebrafish", edit(0, "ZF_DS5_0000", "another"), 1, "2 cells are only here or only in URD"),
    ("zebrafish", edit(0, "GENE", "CELL"), 0, "first column is 'CELL', expected 'GENE'"),
    ("zebrafish", edit(0, "\t0.0", "\tzero", 1), 0, "row 'gene0' lacks fields or has text"),
    ("zebrafish", edit(0, "\t0.0", "\t-2.0", 1), 0, "negative"),
    ("zebrafish", edit(1, "ZF_DS5_0001", "ZF_DS5_0000"), 1, r"names \['ZF_DS5_0000'\] more than once"),
    ("reprogramming", cut(0), 0, "cut short or damaged"),
    ("reprogramming", cut(1), 1, r"floor of 'day' has the times .*expected all of"),
    ("reprogramming", swap(0, 1), 1, "cannot be read, probably cut short, damaged or another file"),
    ("reprogramming", edit(1, "id\tday", "cell\tday"), 1, r"\['id'\] are missing"),
    ("reprogramming", edit(1, "_C1_", "_X_"), 1, r"'id' has .*expected cells of ExprMatrix"),
    ("pancreas", cut(0), 0, "cut short"),
    ("pancreas", cut(1), 1, "cut short"),
    ("pancreas", cut_inside_gzip(0), 0, "expected 12 numbers"),
    ("pancreas", cut_inside_gzip(1, at=200), 1, "expected the same 48 cells"),
    ("pancreas", swap(0, 1), 1, r"'library\.barcode', 'CellWeek'.* are missing"),
    ("pancreas", edit(1, "CellWeek", "Week"), 1, r"\['CellWeek'\] are missing"),
    ("pancreas", edit(0, "\tgene11", ""), 0, "more fields than the header"),
    ("drosophila", cut(0), 0, "cut short"),
    ("drosophila", cut_inside_gzip(0, at=3000), 0, "cut short|incomplete"),
    ("drosophila", cut(2), 2, "cut short"),
    ("drosophila", swap(1, 2), 2, r"\['cell', 'time'\] are missing"),
    ("drosophila", swap(0, 1), 0, "starts with 'gene0"),
    ("drosophila", edit(1, "gene11\n", ""), 0, "expected 11 genes and 880 cells"),
    ("drosophila", edit(2, "hrs_16_20", "hrs_14_18"), 2, r"'time' has the times .*18\.0"),
    ("drosophila", edit(0, "\n1 1 ", "\n13 1 ", 1), 0, "outside"),
    ("drosophila", edit(0, "\n1 1 ", "\n1 1 x", 1), 0, "incomplete"),
]


@pytest.mark.parametrize(("name", "damage", "index", "says"), BAD)
def test_bad_files_are_named(name, damage, index, says):
    WRITERS[name]()
    damage(places(name))
    with pytest.raises(ValueError, match=says) as caught:
        load(name)
    assert str(caught.value).startswith(str(places(name)[index])) and caught.type is ValueError


def test_fractions_are_no_counts():
    write_pancreas(scale=0.5)
    with pytest.raises(ValueError, match="fractional values, expected counts"):
        load("pancreas")


def test_raw_counts_are_no_logarithms():
    write_reprogramming()
    matrix = places("reprogramming")[0]
    source = ad.read_h5ad(matrix)
    source.X = source.X * 1000
    source.write_h5ad(matrix)
    with pytest.raises(ValueError, match="expected log1p values") as caught:
        load("reprogramming")
    assert str(matrix) in str(caught.value)


# --- sets to be had by hand


def test_a_missing_file_is_asked_for_by_hand_and_nothing_is_downloaded(monkeypatch):
    monkeypatch.setattr(registry, "_download", lambda *_: pytest.fail("asked the network"))
    write_zebrafish()
    meta = places("zebrafish")[1]
    meta.unlink()
    with pytest.raises(registry.DataUnavailable) as caught:
        load("zebrafish")
    assert not registry.available("zebrafish")
    for part in ("URD_Dropseq_Meta.txt", "sign in", "https://singlecell", f"Save it as {meta}"):
        assert part in str(caught.value)
    assert str(paths.DATA) not in str(caught.value).splitlines()[0]  # what a notebook records


def test_a_sha256_that_is_known_is_checked_all_the_same(monkeypatch):
    write_pancreas()
    entries = registry.entries()
    entries["pancreas"]["files"][0]["sha256"] = "0" * 64
    monkeypatch.setattr(registry, "entries", lambda: entries)
    with pytest.raises(registry.DataCorrupt, match="processed_counts"):
        load("pancreas")


def test_make_data_names_what_is_missing_by_hand_and_does_not_fail(monkeypatch, capsys):
    entries = {name: entry for name, entry in registry.entries().items() if name in ("zebrafish", "pancreas", "emt")}
    monkeypatch.setattr(registry, "entries", lambda: entries)
    monkeypatch.setattr(registry, "_download", lambda name, row, target: target)
    write_pancreas()
    execute.data()
    out = capsys.readouterr().out
    assert "pancreas: 2 files" in out and "zebrafish: not in the cache, by hand" in out and "emt: 1 files" in out
