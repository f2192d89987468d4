"""A model that was saved and loaded gives what it gave before; other files are refused by name."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from beside.simulated_counts import counted, factorial

import scimf
from scimf.core.checkpoints import read_checkpoint, write_checkpoint
from scimf.counts.config import CountConfig
from scimf.counts.flow import FlowConfig
from scimf.counts.forecast import fit_latent_space, forecast_counts
from scimf.simulate import systems

SDE = scimf.SDEConfig(
    hidden=(8,), rank=2, hidden_interaction=8, batch_cells=16, target_cells=16, steps=3
)
COUNTS = CountConfig(width=8, tokens=2, latent=4, layers=1, heads=2, steps=3)
FLOW = FlowConfig(width=8, blocks=1, heads=2, steps=3, average=0.5)


def loaded(model, folder):
    path = folder / "model.pt"
    model.save(path)
    return scimf.load_model(path)


def assert_same_values(first, second):
    """Compare nested dictionaries of weights, arrays and plain values."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same_values(first[key], second[key])
    elif isinstance(first, np.ndarray):
        assert first.dtype == second.dtype
        np.testing.assert_array_equal(first, second)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, tuple | list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same_values(one, other)
    else:
        assert first == second


def assert_same_sde(model, again, adata):
    assert again.config == model.config
    assert again.seed == model.seed
    assert again.history == model.history
    assert again.time_scale == model.time_scale
    assert again.standardiser.scale == model.standardiser.scale
    np.testing.assert_array_equal(again.standardiser.centre, model.standardiser.centre)
    assert_same_values(dict(again.sde.state_dict()), dict(model.sde.state_dict()))
    assert not again.sde.training
    assert again.starts.density == model.starts.density
    for key in model.starts.cells:
        np.testing.assert_array_equal(again.starts.cells[key], model.starts.cells[key])
        assert list(again.starts.names[key]) == list(model.starts.names[key])
    before = model.sample([2.0], n=30, seed=4)
    after = again.sample([2.0], n=30, seed=4)
    np.testing.assert_array_equal(after.X, before.X)
    assert after.obs.equals(before.obs)
    for one, other in zip(again.drift(adata), model.drift(adata), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"centred": True},
        {"interaction": "attention", "dropout": 0.1, "time": "index"},
        {"stages": (1.0, 2.0), "diffusion": "state"},
    ],
)
def test_an_sde_without_space_is_saved(tiny, tmp_path, changes):
    adata, split, _ = tiny
    model = scimf.fit(adata, split, config=replace(SDE, **changes), seed=3, progress=False)
    again = loaded(model, tmp_path)
    assert again.space is None
    assert_same_sde(model, again, adata)


def test_an_sde_with_its_space_is_saved(tmp_path):
    adata = counted(systems.typed(n_populations=3, n_cells=25, n_types=3, dim=3), n_genes=30)
    split = scimf.hold_out(adata, times=[2.0])
    space = scimf.fit_space(adata, split, n_pcs=4)
    model = scimf.fit(adata, split, space, config=SDE, progress=False)
    again = loaded(model, tmp_path)
    assert_same_sde(model, again, adata)
    assert_same_values(again.space.to_dict(), space.to_dict())
    assert again.space.split == split
    np.testing.assert_array_equal(again.space.encode(adata), space.encode(adata))


def test_an_sde_with_a_latent_space_is_saved(tmp_path):
    adata = counted(systems.typed(n_populations=3, n_cells=25, n_types=3, dim=3), n_genes=30)
    split = scimf.hold_out(adata, times=[2.0])
    counts = scimf.fit_counts(adata, split.train_mask(adata), config=COUNTS, progress=False)
    space = fit_latent_space(counts, adata, split)
    model = scimf.fit(adata, split, space, config=SDE, progress=False)
    again = loaded(model, tmp_path)
    assert_same_sde(model, again, adata)
    assert again.space.split == split
    assert again.space.library == space.library
    assert again.space.names == space.names
    before = forecast_counts(model, [2.0], seed=1)
    assert (before.X != forecast_counts(again, [2.0], seed=1).X).nnz == 0
    scimf.fit(adata, split, again.space, config=SDE, progress=False)


@pytest.fixture(scope="module")
def cells():
    return factorial(seed=1, n_cells=80, n_genes=20)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"split": True, "kl_weight": 0.1, "dispersion": "cell"},
        {"architecture": "mlp"},
        {"architecture": "mlp", "likelihood": "gaussian"},
    ],
)
def test_an_autoencoder_is_saved(cells, tmp_path, changes):
    model = scimf.fit_counts(cells, config=replace(COUNTS, **changes), seed=2, progress=False)
    again = loaded(model, tmp_path)
    assert again.config == model.config
    assert again.genes == model.genes
    assert again.seed == 2
    assert again.history == model.history
    assert not again.model.training
    z = model.encode(cells)
    np.testing.assert_array_equal(again.encode(cells), z)
    library = np.full(len(z), 50.0)
    for one, other in zip(again.decode(z, library), model.decode(z, library), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("conditions", [(), ("cell_type", "perturbation")])
def test_a_flow_is_saved(cells, tmp_path, conditions):
    counts = scimf.fit_counts(cells, config=COUNTS, progress=False)
    options = {"conditions": conditions, "config": FLOW, "progress": False}
    model = scimf.fit_flow(counts, cells, seed=2, **options)
    again = loaded(model, tmp_path)
    assert again.model.config == FLOW
    assert again.conditions == model.conditions
    assert again.seed == 2
    assert again.history == model.history
    assert_same_values(again.mean, model.mean)
    assert_same_values(again.sd, model.sd)
    assert_same_values(vars(again.library), vars(model.library))
    assert_same_values(vars(again.depth), vars(model.depth))
    assert again.counts.genes == counts.genes
    before = model.sample(cells.obs[:30], seed=5)
    after = again.sample(cells.obs[:30], seed=5)
    assert (before.X != after.X).nnz == 0
    np.testing.assert_array_equal(after.obsm["X_latent"], before.obsm["X_latent"])
    assert after.obs.equals(before.obs)


@pytest.fixture
def saved(cells, tmp_path):
    path = tmp_path / "some folder" / "model.pt"
    scimf.fit_counts(cells, config=COUNTS, progress=False).save(path)
    return path


def test_loading_leaves_the_random_state_alone(saved):
    state = torch.get_rng_state()
    scimf.load_model(str(saved), device="cpu")
    assert torch.equal(torch.get_rng_state(), state)


def refused(path):
    """Return the sentence with which a file is refused, which names the file."""
    with pytest.raises(ValueError) as caught:
        scimf.load_model(path)
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence


def test_a_damaged_file_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[len(content) // 2] ^= 1
    saved.write_bytes(content)
    assert "damaged" in refused(saved)
    saved.write_bytes(content[: len(content) // 2])
    assert "damaged" in refused(saved)
    saved.write_bytes(b"")
    assert "damaged" in refused(saved)


def test_a_file_that_is_something_else_is_refused(saved, tmp_path):
    path = tmp_path / "other"
    np.savez(path.with_suffix(".npz"), x=np.zeros(3))
    assert "not a model" in refused(path.with_suffix(".npz"))
    torch.save(np.random.default_rng(0), path)  # would need unpickling
    assert "not a model" in refused(path)
    torch.save(torch.zeros(3), path)
    assert "not a saved model" in refused(path)
    write_checkpoint(path, {"step": 3, "weights": {}})  # a checkpoint of a training
    assert "not a saved model" in refused(path)
    write_checkpoint(path, {"kind": "flow", "config": {}})
    assert "incomplete" in refused(path)
    content = read_checkpoint(saved)
    content["config"]["new_setting"] = 1
    write_checkpoint(path, content)
    assert "another version" in refused(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        scimf.load_model(tmp_path / "nowhere")


def test_a_file_is_replaced_as_a_whole_or_not_at_all(cells, saved, monkeypatch):
    before = saved.read_bytes()
    model = scimf.load_model(saved)

    def full_disk(content, path):
        path.write_bytes(b"half a model")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="model.pt.*cannot be written"):
            model.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model.pt"]
    scimf.fit_counts(cells, config=COUNTS, seed=7, progress=False).save(saved)
    assert scimf.load_model(saved).seed == 7
