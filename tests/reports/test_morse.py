import numpy as np
from evidence.morse import morse, morse_force


def test_it_says_what_is_true():
    adata = morse(seed=1, n_populations=3, n_cells=12)
    assert np.isfinite(adata.X).all()
    assert adata.uns["scimf"]["name"] == "morse"
    assert adata.obs.groupby(["population", "time"], observed=True).size().eq(12).all()
    assert np.abs(adata.obsm["drift_interaction"]).max() > 0


def test_morse_force_is_minus_the_slope_of_its_potential():
    shape = {"repulsion": (1.0, 0.5), "attraction": (0.5, 2.0), "strength": 3.0}
    r = np.linspace(0.1, 5, 50)
    h = 1e-5

    def potential(r):
        return 3.0 * (np.exp(-r / 0.5) - 0.5 * np.exp(-r / 2.0))

    slope = (potential(r + h) - potential(r - h)) / (2 * h)
    force = morse_force(r, **shape)
    np.testing.assert_allclose(force, -slope, rtol=1e-6)
    assert force[0] > 0 > force[-1]  # near apart, far together


def test_morse_pair_sums_are_the_plain_loops():
    # With one time, all cells of a population are measured.
    shape = {"repulsion": (1.0, 0.5), "attraction": (0.5, 2.0), "strength": 3.0}
    adata = morse(n_populations=1, n_cells=7, times=(0.0,), **shape)
    x = adata.X.astype(float)
    expected = np.zeros_like(x)
    for i in range(7):
        for j in range(7):
            if i != j:
                away = x[i] - x[j]
                r = np.linalg.norm(away)
                expected[i] += morse_force(r, **shape) * away / r / 6
    found = adata.obsm["drift_interaction"]
    density = adata.obs["density"].iloc[0]
    np.testing.assert_allclose(found, density * expected, atol=1e-5)
