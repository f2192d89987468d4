import numpy as np
import pytest
import torch

from scimf import load_model
from scimf.core.optimise import CHECKPOINT_EVERY
from scimf.data.space import fit_space
from scimf.data.split import hold_out
from scimf.dynamics.config import SDEConfig
from scimf.dynamics.fit import fit, fit_many
from scimf.dynamics.fitted import velocity
from scimf.dynamics.snapshots import Snapshots, TimeScale
from scimf.simulate import systems

QUICK = SDEConfig(
    hidden=(16,), hidden_interaction=16, steps=6, batch_cells=24, batch_groups=4, dt=0.5
)


def change(config, **settings):
    return SDEConfig.from_dict(config.to_dict() | settings)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.sde.parameters()])


def test_real_time_counts_gaps_and_index_counts_snapshots():
    real = TimeScale.of((0.0, 2.0, 3.0, 4.0), (0.0, 2.0, 4.0), "real")
    assert [real(t) for t in (0, 2, 3, 4, 6)] == [0, 1, 1.5, 2, 3]
    index = TimeScale.of((0.0, 2.0, 3.0, 7.0), (0.0, 2.0, 7.0), "index")
    assert [index(t) for t in (0, 1, 2, 3, 7)] == [0, 0.5, 1, 2, 3] and index.rate(5.0) == 0.25


def test_a_fit_lowers_the_loss(tiny):
    model = fit(*tiny, config=change(QUICK, steps=60), progress=False)
    history = model.history["data"]
    assert np.mean(history[-10:]) < 0.6 * np.mean(history[:10])


CHOICES = [
    {"start": "t0"},
    {"time": "index"},
    {"loss": "ot"},
    {"diffusion": "state"},
    {"diffusion": "none"},
    {"drift": "potential"},
    {"drift": "relaxing"},
    {"centred": True},
    {"average": 0.9},
    {"warm_steps": 3},
    {"interaction": "attention", "dropout": 0.1},
]


@pytest.mark.parametrize("settings", CHOICES)
def test_every_named_choice_runs_and_repeats(tiny, settings):
    config = change(QUICK, **settings)
    a, b = (fit(*tiny, config=config, seed=3, progress=False) for _ in range(2))
    assert torch.equal(weights(a), weights(b)) and np.isfinite(a.history["data"]).all()
    assert not torch.equal(weights(a), weights(fit(*tiny, config=config, seed=4, progress=False)))


def test_published_configuration_runs(tiny):
    model = fit(*tiny, config=SDEConfig.paper(steps=2), progress=False)
    assert model.standardiser.scale == 1 and len(model.history["data"]) == 2


@pytest.mark.parametrize(
    "settings", [{"interaction": "attention", "dropout": 0.1}, {"centred": True}]
)
def test_resumed_equals_uninterrupted(tiny, tmp_path, settings):
    config = change(QUICK, steps=CHECKPOINT_EVERY + 10, batch_groups=2, dt=2.0, **settings)
    whole = fit(*tiny, config=config, progress=False)

    def kill(step, terms):
        if step == CHECKPOINT_EVERY + 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(*tiny, config=config, cache=tmp_path, progress=kill)
    seen = []
    resumed = fit(
        *tiny, config=config, cache=tmp_path, progress=lambda step, terms: seen.append(step)
    )
    assert seen[0] == CHECKPOINT_EVERY and torch.equal(weights(whole), weights(resumed))
    assert resumed.history == whole.history
    again = fit(*tiny, config=config, cache=tmp_path, progress=lambda *_: pytest.fail("was cached"))
    assert torch.equal(weights(whole), weights(again))


def test_fit_many_gives_what_fit_gives(tiny, tmp_path):
    fits = fit_many(*tiny, configs={"a": QUICK}, seeds=[0, 1], cache=tmp_path, workers=2)
    assert set(fits) == {("a", 0), ("a", 1)}
    alone = fit(*tiny, config=QUICK, seed=1, progress=False)
    torch.testing.assert_close(weights(fits["a", 1]), weights(alone), rtol=1e-4, atol=1e-6)


def test_held_out_cells_change_nothing_that_is_fitted(tiny):
    adata, split, space = tiny
    changed = adata.copy()
    held = split.held_mask(adata)
    changed.obsm["X_scimf"][held] = 1e3
    a, b = (fit(x, split, space, config=QUICK, progress=False) for x in (adata, changed))
    assert torch.equal(weights(a), weights(b))


def test_damaged_and_foreign_checkpoints_are_refused(tiny, tmp_path):
    fit(*tiny, config=QUICK, cache=tmp_path, progress=False)
    (file,) = tmp_path.iterdir()
    content = torch.load(file, weights_only=True)
    torch.save(content | {"identity": "other"}, file)
    with pytest.raises(ValueError, match="another fit"):
        fit(*tiny, config=QUICK, cache=tmp_path, progress=False)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"{file.name}: damaged"):
        fit(*tiny, config=QUICK, cache=tmp_path, progress=False)


def test_divergence_stops_and_names_step_and_term(tiny):
    with pytest.raises(
        FloatingPointError, match=r"step \d+: (data|kinetic|gradient norm) is (nan|inf)"
    ):
        fit(
            *tiny,
            config=change(QUICK, steps=50, lr=1e20, clip=1e20, kinetic_weight=1.0),
            progress=False,
        )


def test_missing_coordinates_and_nan_are_named(tiny):
    adata, split, _ = tiny
    bare = adata.copy()
    del bare.obsm["X_scimf"]
    with pytest.raises(KeyError, match="fit_space"):
        fit(bare, split, config=QUICK)
    broken = adata.copy()
    broken.obsm["X_scimf"][0, 0] = np.nan
    with pytest.raises(ValueError, match="X_scimf"):
        fit(broken, split, config=QUICK)


def test_samples_have_time_population_origin_and_coordinates(tiny):
    adata, split, _ = tiny
    model = fit(*tiny, config=QUICK, progress=False)
    cells = model.sample([2.0, 2.5], n=30, seed=1)
    assert cells.n_obs == 2 * 5 * 30 and cells.obsm["X_scimf"].shape[1] == 4
    starts = cells.obs.groupby([cells.obs["population"].astype(str), "time"])["start_time"].first()
    assert (
        starts["p00", 2.0] == 1.0 and starts["p04", 2.0] == 0.0
    )  # a held-out population offers only its first time
    assert set(cells.obs["start_cell"]) <= set(adata.obs_names)
    assert np.array_equal(cells.X, model.sample([2.0, 2.5], n=30, seed=1).X)
    with pytest.raises(ValueError, match="no earlier snapshot"):
        model.sample([0.0])
    with pytest.raises(ValueError, match="unknown"):
        model.sample([2.0], populations=["nobody"])
    with pytest.raises(ValueError, match=r"'E9'.*those seen are \[0\.0, 1\.0"):
        model.sample(["E9"])
    assert np.array_equal(cells.X, model.sample(["2", "2.5"], n=30, seed=1).X)


def test_samples_say_what_they_are(tiny, tmp_path):
    adata, split, space = tiny
    model = fit(adata, split, space, config=QUICK, progress=False)
    model.save(tmp_path / "model.pt")
    for one in (model, load_model(tmp_path / "model.pt")):
        about = one.sample([2.0], n=5).uns["scimf"]
        assert about["form"] == space.form == "state"
        assert about["time_unit"] == adata.uns["scimf"]["time_unit"]


def test_drift_is_own_plus_heard_per_real_time(tiny):
    adata, split, space = tiny
    model = fit(adata, split, space, config=QUICK, progress=False)
    own, heard = model.drift(adata)
    rows = ((adata.obs["population"] == "p01") & (adata.obs["time"] == 1.0)).to_numpy()
    x = model.standardiser.transform(adata.obsm["X_scimf"][rows])[None]
    density = torch.tensor([adata.obs["density"][rows].iloc[0]], dtype=torch.float32)
    expected = (
        model.sde.drift(x, density=density)[0].detach().numpy()
        * model.standardiser.scale
        * model.time_scale.rate(1.0)
    )
    np.testing.assert_allclose((own + heard)[rows], expected, rtol=1e-4, atol=1e-5)


def test_velocity_is_stored_with_its_two_parts(tiny):
    adata = tiny[0].copy()
    total = velocity(fit(*tiny, config=QUICK, progress=False), adata)
    intrinsic = adata.obsm["velocity_intrinsic_scimf"]
    interaction = adata.obsm["velocity_interaction_scimf"]
    assert np.allclose(total, intrinsic + interaction)
    assert np.array_equal(total, adata.obsm["velocity_scimf"])


def test_density_must_be_one_positive_number_per_population(tiny):
    adata, split, space = tiny
    broken = adata.copy()
    broken.obs.loc[broken.obs_names[0], "density"] = 9.0
    with pytest.raises(ValueError, match="density"):
        Snapshots.of(broken, split.train_mask(broken))


def test_linear_attraction_is_learned():
    """The additive form recovers a known drift split when compositions differ."""
    adata = systems.linear(seed=0, n_populations=10, n_cells=60)
    split = hold_out(adata)
    space = fit_space(adata, split)
    config = SDEConfig(
        steps=250, batch_cells=60, batch_groups=10, dt=0.25, sigma=0.2, hidden=(32, 32)
    )
    model = fit(adata, split, space, config=config, progress=False)
    own, heard = model.drift(adata)
    true = adata.obsm["drift_intrinsic"] + adata.obsm["drift_interaction"]
    assert np.linalg.norm(own + heard - true) < 0.5 * np.linalg.norm(true)
    assert np.corrcoef(heard.ravel(), adata.obsm["drift_interaction"].ravel())[0, 1] > 0.5


def test_averaged_weights_differ_from_the_last_and_are_what_is_cached(tiny, tmp_path):
    decay, config = 0.5, change(QUICK, steps=4)
    whole = fit(*tiny, config=change(config, average=decay), progress=False)
    last = fit(*tiny, config=config, progress=False)
    assert (
        not torch.equal(weights(whole), weights(last)) and whole.history == last.history
    )  # the path is the same
    cached = fit(*tiny, config=change(config, average=decay), cache=tmp_path, progress=False)
    again = fit(*tiny, config=change(config, average=decay), cache=tmp_path, progress=False)
    assert torch.equal(weights(cached), weights(again)) and torch.equal(
        weights(cached), weights(whole)
    )


def test_warm_start_regresses_on_straight_lines():
    adata = systems.linear(seed=0, n_populations=4, n_cells=40, sigma=0.01, kappa=0.0)
    split = hold_out(adata)
    space = fit_space(adata, split)
    config = change(
        QUICK, steps=150, warm_steps=150, hidden=(32,), interaction="none", batch_cells=40
    )
    model = fit(adata, split, space, config=config, progress=False)
    own, _ = model.drift(adata)
    assert np.corrcoef(own.ravel(), adata.obsm["drift_intrinsic"].ravel())[0, 1] > 0.9


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="warm_steps"):
        SDEConfig(warm_steps=1, start="t0")
    with pytest.raises(ValueError, match="average"):
        SDEConfig(average=1.0)


def test_heard_weight_makes_the_heard_drift_smaller(tiny):
    sizes = []
    for weight in (0.0, 10.0):
        config = SDEConfig(
            interaction_weight=weight,
            hidden=(16,),
            hidden_interaction=16,
            steps=20,
            lr=1e-2,
            dt=0.5,
        )
        model = fit(*tiny, config=config, progress=False)
        sizes.append(float(np.square(model.drift(tiny[0])[1]).mean()))
        assert ("interaction" in model.history) == (weight > 0)
    assert sizes[1] < sizes[0] / 4


def test_heard_decay_shrinks_the_interaction_and_nothing_else(tiny):
    still = change(QUICK, steps=1, lr=0.1, schedule="step")
    plain, shrunk = (
        fit(*tiny, config=change(still, interaction_decay=d), progress=False).sde
        for d in (0.0, 2.0)
    )
    assert all(
        torch.equal(a, b)
        for a, b in zip(plain.intrinsic.parameters(), shrunk.intrinsic.parameters(), strict=True)
    )
    torch.manual_seed(0)
    begun = type(plain)(
        plain.dim, still
    ).interaction.parameters()  # the weights of step 0, less lr * decay of them
    for start, a, b in zip(
        begun, plain.interaction.parameters(), shrunk.interaction.parameters(), strict=True
    ):
        torch.testing.assert_close(a - b, 0.2 * start, atol=1e-6, rtol=1e-4)


def test_staged_fit_is_resumed_and_knows_the_time(tiny, tmp_path):
    config = SDEConfig(interaction="none", stages=(1.0,), hidden=(16,), steps=3, dt=0.5)
    first, again = (fit(*tiny, config=config, cache=tmp_path, progress=False) for _ in range(2))
    assert again.config == config
    np.testing.assert_array_equal(first.drift(tiny[0])[0], again.drift(tiny[0])[0])
    np.testing.assert_array_equal(
        first.sample([2.0], seed=1).obsm["X_scimf"], again.sample([2.0], seed=1).obsm["X_scimf"]
    )
