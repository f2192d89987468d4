"""Type means and pulls against loops over cells."""

import numpy as np
import pytest

from scimf import load
from scimf.interaction.type_means import TypeSnapshots, shares, uniform

WIDTHS = (0.5, 2.0)


@pytest.fixture(scope="module")
def data():
    adata = load("typed", seed=1, n_populations=3, n_cells=17, n_types=3, dim=2, times=(0.0, 1.0))
    adata.obsm["X_scimf"] = adata.X
    return adata[::-1].copy()  # in another order


def test_means_and_pulls_are_those_of_loops_over_cells(data):
    snapshots = TypeSnapshots.of(data)
    mean = snapshots.mean()
    pulls = snapshots.pulls(WIDTHS)
    obs = data.obs
    for t, time in enumerate(snapshots.times):
        for p, name in enumerate(snapshots.populations):
            here = (obs["time"] == time) & (obs["population"] == name)
            for a, receiver in enumerate(snapshots.types):
                x = data.X[here & (obs["cell_type"] == receiver)]
                assert len(x) == snapshots.count[t, p, a]
                if len(x):
                    np.testing.assert_allclose(mean[t, p, a], x.mean(0), rtol=1e-5)
                for b, sender in enumerate(snapshots.types):
                    y = data.X[here & (obs["cell_type"] == sender)]
                    expected = np.zeros((3, 2))
                    n_pairs = 0
                    for i, xi in enumerate(x):
                        for j, yj in enumerate(y):
                            if a == b and i == j:
                                continue
                            n_pairs += 1
                            r = np.linalg.norm(yj - xi)
                            values = [1, *(np.exp(-(r**2) / (2 * w**2)) for w in WIDTHS)]
                            expected += np.outer(values, yj - xi)
                    expected *= snapshots.sent[t, p, b] / max(n_pairs, 1)
                    np.testing.assert_allclose(pulls[t, p, a, b], expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_cells_is_kept(data):
    snapshots = TypeSnapshots.of(data)
    assert np.array_equal(snapshots.cells, np.asarray(data.X, float)[snapshots.rows])


def test_shares_are_pooled_unless_they_change():
    times = np.arange(4.0)
    steady = np.tile([[30.0, 70.0]], (4, 1, 1)) + [[[3, -3]], [[-3, 3]], [[1, -1]], [[0, 0]]]
    assert np.ptp(shares(steady, times), axis=0).max() == 0
    drifting = np.stack([[[20.0 + 20 * t, 80 - 20 * t]] for t in times])
    np.testing.assert_allclose(shares(drifting, times)[:, 0, 0], [0.2, 0.4, 0.6, 0.8])


def test_a_hash_gives_the_numbers_that_are_written_down():
    x = uniform(3, 10_000)
    assert 0.49 < x.mean() < 0.51 and 0.28 < x.std() < 0.30
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.03
    assert abs(np.corrcoef(x, uniform(4, 10_000))[0, 1]) < 0.03
    state = (2 + 3 * 0x9E3779B9) % 2**32  # place 2, by hand
    state ^= state >> 16
    state = state * 0x7FEB352D % 2**32
    state ^= state >> 15
    state = state * 0x846CA68B % 2**32
    state ^= state >> 16
    assert x[2] == state / 2**32


def test_cells_are_drawn_again_within_their_group(data):
    snapshots = TypeSnapshots.of(data)
    drawn = snapshots.redrawn(1)
    assert not np.array_equal(drawn, snapshots.cells)
    for first, last in zip(snapshots.start[:-1], snapshots.start[1:], strict=True):
        own = {tuple(x) for x in snapshots.cells[first:last]}
        assert {tuple(x) for x in drawn[first:last]} <= own


def test_noise_of_shares_is_that_of_catching_so_few_cells(data):
    snapshots = TypeSnapshots.of(data)
    caught = snapshots.count.sum(0)[0]
    rng = np.random.default_rng(0)
    n = int(caught.sum())
    share = rng.multinomial(n, caught / n, size=20_000) / n
    product = (share.T @ share) / len(share)
    noise = np.cov(share.T)
    np.testing.assert_allclose(snapshots.share_noise[0], noise / product, rtol=0.1)
