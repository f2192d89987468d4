import bz2
import struct

import numpy as np
import pandas as pd
import pytest
from evidence import wave
from evidence.r_files import read_rda


def flags(kind, *, attributes=False, tag=False):
    return struct.pack(">i", kind | 0x200 * attributes | 0x400 * tag)


def text(word):
    return flags(9) + struct.pack(">i", len(word)) + word.encode()


def texts(words):
    return flags(16) + struct.pack(">i", len(words)) + b"".join(map(text, words))


def symbol(word):
    return flags(1) + text(word)


def numbers(values, kind=14, attributes=False):
    packed = np.asarray(values, ">f8" if kind == 14 else ">i4").tobytes()
    return flags(kind, attributes=attributes) + struct.pack(">i", len(values)) + packed


def named(*pairs):
    content = b""
    for name, item in pairs:
        content += flags(2, tag=True) + symbol(name) + item
    return content + flags(254)


def saved(path, item):
    head = b"RDX2\nX\n" + struct.pack(">3i", 2, 0x30400, 0x20300)
    path.write_bytes(bz2.compress(head + item))
    return path


def matrix(genes, cells, values):
    """Genes x cells, as R stores it."""
    names = flags(19) + struct.pack(">i", 2) + texts(genes) + texts(cells)
    shape = numbers([len(genes), len(cells)], kind=13)
    about = named(("dim", shape), ("dimnames", names))
    return numbers(np.asarray(values).T.ravel(), attributes=True) + about


def test_a_matrix_and_texts_of_r_are_read(tmp_path):
    item = named(("m", matrix(["g", "h"], ["x", "y", "z"], [[1, 2, 3], [4, 5, 6]])))
    found = read_rda(saved(tmp_path / "m.rda", item))["m"]
    assert found["dim"]["values"].tolist() == [2, 3]
    assert found["values"].reshape(3, 2).T.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found["dimnames"]["values"][1]["values"] == ["x", "y", "z"]
    codes = numbers([2, 1], kind=13, attributes=True) + named(("levels", texts(["a", "b"])))
    factor = read_rda(saved(tmp_path / "f.rda", named(("f", codes))))["f"]
    assert wave._texts(factor) == ["b", "a"]


def test_a_symbol_that_comes_again_is_the_same(tmp_path):
    again = flags(2, tag=True) + struct.pack(">i", 255 | 1 << 8) + numbers([2.0])
    item = flags(2, tag=True) + symbol("one") + numbers([1.0]) + again + flags(254)
    assert read_rda(saved(tmp_path / "s.rda", item))["one"]["values"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"cells, genes", "not a file that R saved"),
        (b"RDX2\nX\n" + struct.pack(">3i", 2, 0, 0) + flags(14), "cut short"),
        (b"RDX2\nX\n" + struct.pack(">3i", 2, 0, 0) + flags(3), "kind 3, expected numbers"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, says):
    file = tmp_path / "wrong.rda"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"wrong.rda: .*{says}"):
        read_rda(file)


def test_cells_are_read_without_replicate_batches(tmp_path, monkeypatch):
    labels = ["2h LPS ", "4h LPS Rep", "Unstimulated Rep", "Unstimulated", "4h PAM"]
    cells = [f"c{k}" for k in range(5)]
    values = [[20, 0, 0, 0, 3], [0, 5, 0, 0, 7], [80, 5, 10, 10, 0]]
    expression = matrix(["Ifnb1", "Ifit1", "Actb"], cells, values)
    files = [
        saved(tmp_path / "exprdata.rda", named(("exprdata", expression))),
        saved(tmp_path / "celltype.rda", named(("celltype", texts(labels)))),
    ]
    monkeypatch.setattr(wave.registry, "fetch", lambda name: files)
    found = wave.read_wave()
    assert list(found.index) == ["c0", "c2", "c4"]
    assert list(found["stimulus"]) == ["LPS", "none", "PAM"]
    assert list(found["time"]) == [2, 0, 4]
    assert list(found["makes"]) == [True, False, False]
    assert found.loc["c4", "answer"] == pytest.approx(np.log1p(7000))


def dishes(difference, seed=0):
    rng = np.random.default_rng(seed)
    makes = np.arange(80) < 10
    answer = 3 + difference * makes + rng.standard_normal(80)
    return pd.DataFrame({"stimulus": "LPS", "time": 4.0, "makes": makes, "answer": answer})


def test_makers_against_silent_has_the_size_it_says():
    yes = 0
    for seed in range(200):
        found = wave.makers_against_silent(dishes(0.0, seed), stimulus="LPS", time=4.0)
        yes += not found["lo"] <= 0 <= found["hi"]
    assert yes <= 20
    shown = 0
    for seed in range(100):
        found = wave.makers_against_silent(dishes(1.1, seed), stimulus="LPS", time=4.0)
        shown += found["lo"] > 0
    assert 0.65 < shown / 100 < 0.97  # the smallest that can be told, at 80 %, is about 1.1
    assert found["smallest"] == pytest.approx(1.1, abs=0.4)


def test_three_stimuli_reach_a_sixth():
    index = pd.MultiIndex.from_product([wave.STIMULI, [2.0, 4.0]])
    table = pd.DataFrame({"makers": [0.4, 0, 0.1, 0, 0, 0], "answer": [0, 3, 0, 2, 0, 1]}, index)
    found = wave.p_of_stimuli(table)
    assert found["p"] == found["floor"] == pytest.approx(1 / 6)
    assert found["correlation"] > 0.8
