import gzip
import struct

import numpy as np
import pandas as pd
import pytest
from evidence import embryos
from evidence.embryos import Embryos
from evidence.r_files import read_rda


def drawn(shares, cells, excess, rng, n):
    """Embryos whose shares vary: gamma-distributed around the mean of their group."""
    found = []
    for _ in range(n):
        own = shares
        if excess:
            own = rng.gamma(shares * cells / excess) + 1e-12
        found.append(rng.multinomial(cells, own / own.sum()))
    return np.array(found)


def growing(excess=0.0, seed=0, n=30):
    """Types that grow at their own rates, seven stages of one experiment."""
    rng = np.random.default_rng(seed)
    start, rates = rng.normal(0, 1, 20), rng.normal(0, 0.12, 20)
    counts, rows = [], []
    for stage in (18, 20, 24, 28, 34, 38, 48):
        share = np.exp(start + rates * (stage - 30))
        counts.append(drawn(share / share.sum(), 2000, excess, rng, n))
        rows += [(float(stage), "ctrl-uninj", "E1")] * n
    about = pd.DataFrame(rows, columns=["stage", "target", "experiment"])
    return Embryos(np.concatenate(counts), about, [f"type {k}" for k in range(20)])


def test_types_that_grow_at_their_own_rates_are_foretold_down_to_the_floor():
    found = embryos.held_out_stages(growing()).mean()
    assert found["one rate for each type"] < found["growth between neighbours"] + 1e-4
    assert found["growth between neighbours"] < 0.5 * found["mixture"] < found["copy"]
    assert found["floor"] < found["one rate for each type"] < 4 * found["floor"]


def test_embryos_that_vary_more_than_draws_of_cells_are_seen_to():
    assert embryos.overdispersion(growing()).value == pytest.approx(1, abs=0.1)
    assert embryos.overdispersion(growing(excess=2.0)).value == pytest.approx(3, rel=0.2)


def knocked_out(adds, seed=0):
    rng = np.random.default_rng(seed)
    base, one, two = rng.normal(0, 1, 40), rng.normal(0, 0.8, 40), rng.normal(0, 0.8, 40)
    both = one + two if adds else rng.normal(0, 1.1, 40)
    counts, rows = [], []
    for target, effect in {"ctrl-inj": 0 * one, "a": one, "b": two, "a-b": both}.items():
        share = np.exp(base + effect)
        counts.append(drawn(share / share.sum(), 3000, 2.0, rng, 16))
        rows += [(36.0, target, "E1")] * 16
    about = pd.DataFrame(rows, columns=["stage", "target", "experiment"])
    return Embryos(np.concatenate(counts), about, [f"type {k}" for k in range(40)])


def test_effects_that_add_foretell_the_double_and_others_do_not():
    found = embryos.two_at_once(knocked_out(adds=True), ("a", "b"), "a-b", 36.0, draws=30)
    assert found["adding"].lo > 0.8
    assert found["adding"].value > max(found["a"].value, found["b"].value)
    assert found["halves"].value > 0.8
    found = embryos.two_at_once(knocked_out(adds=False), ("a", "b"), "a-b", 36.0, draws=30)
    assert abs(found["adding"].value) < 0.4


# ---------------------------------------------------------------------- what R saves, with slots


def word(text):
    return struct.pack(">ii", 9, len(text)) + text.encode()


def texts(values):
    return struct.pack(">ii", 16, len(values)) + b"".join(word(value) for value in values)


def pairs(items):
    body = b""
    for name, value in items.items():
        body += struct.pack(">ii", 2 | 0x400, 1) + word(name) + value
    return body + struct.pack(">i", 254)


def test_an_object_with_slots_and_compact_vectors_are_read(tmp_path):
    numbers = struct.pack(">iidd", 14, 2, 18.0, 96.0)
    form = struct.pack(">i", 2)
    three = struct.pack(">i", 2).join([b"", struct.pack(">i", 1) + word("deferred_string")])
    three += form + struct.pack(">i", 1) + word("base") + form + struct.pack(">iii", 13, 1, 16)
    three += struct.pack(">i", 254)
    state = form + numbers + struct.pack(">iii", 13, 1, 0)  # a pair that ends in a number
    compact = struct.pack(">i", 238) + three + state + struct.pack(">i", 254)
    content = struct.pack(">i", 25 | 0x200) + pairs({"stage": compact, "name": texts(["a", "b"])})
    header = b"X\n" + struct.pack(">iii", 2, 0, 0)
    file = tmp_path / "saved.RDS.gz"
    file.write_bytes(gzip.compress(gzip.compress(header + content)))
    found = read_rda(file)
    assert found["stage"]["values"] == ["18.0", "96.0"]
    assert found["name"]["values"] == ["a", "b"]
