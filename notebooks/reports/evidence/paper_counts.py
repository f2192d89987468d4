"""Count boards of the scLDM paper: reconstruction, generation, combinations nobody trained on."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from beside import generation_metrics, reconstruction_metrics
from beside.many_fits import fit_counts_many, fit_flow_many
from scimf.counts.autoencoder import AUTOENCODERS
from scimf.counts.config import CountConfig
from scimf.counts.fit_autoencoder import choose_panel, panel_counts
from scimf.counts.flow import DiffusionTransformer, FlowConfig
from scimf.counts.likelihood import log_normalised

from evidence.latent_baselines import generation_samples
from evidence.unseen_combinations import combination_cells, score_combination

if TYPE_CHECKING:
    from anndata import AnnData
    from scimf.counts.fit_autoencoder import FittedCounts

BATCH = 256  #: cells over which the paper's correlation is taken
TEST_SHARE = 0.2  #: where the files do not say which cells are for testing


@dataclass(frozen=True, kw_only=True)
class CountSizes:
    """How much is fitted and compared.

    Attributes
    ----------
    n_genes, n_cells, n_test
        Most variable genes, most training cells and most test cells.
    steps, published_steps, flow_steps
        Optimiser steps of our autoencoders, of the published one (0: not fitted) and of flows.
    flow_size
        Width and blocks of a flow.
    n_combinations
        Most held-out treatments.
    published_changes
        Changes of the published autoencoder.
    """

    n_genes: int
    n_cells: int
    n_test: int
    steps: int
    published_steps: int
    flow_steps: int
    flow_size: tuple[int, int]
    n_combinations: int
    published_changes: dict[str, Any] = field(default_factory=dict)


def autoencoders(sizes: CountSizes) -> dict[str, CountConfig]:
    """Ours, a plain network of equal latent size, and the published configuration."""
    ours = CountConfig(steps=sizes.steps, tokens=8, lr=8e-3, split=True)
    cheaper = {"architecture": "mlp", "lr": 1e-3, "batch_cells": 128}
    found = {"set": ours, "plain": replace(ours, **cheaper)}
    if sizes.published_steps:
        changes = {"steps": sizes.published_steps, **sizes.published_changes}
        found["published"] = CountConfig.paper("dentate_gyrus", **changes)
    return found


def flow_config(sizes: CountSizes, **changes) -> FlowConfig:
    """Return the settings of a flow, with changes."""
    width, blocks = sizes.flow_size
    return FlowConfig(steps=sizes.flow_steps, width=width, blocks=blocks, **changes)


def published_sizes() -> dict[str, float]:
    """Count the numbers of the published autoencoder and denoiser of the Dentate Gyrus set.

    17,002 genes; 14 clusters; the denoiser in millions, as it is printed.
    """
    config = CountConfig.paper("dentate_gyrus")
    with torch.device("meta"):  # nothing is allocated
        coder = AUTOENCODERS[config.architecture](17_002, config)
        denoiser_config = FlowConfig(width=256, blocks=8, heads=8)
        denoiser = DiffusionTransformer(config.tokens, config.latent, (14,), denoiser_config)
    count = [sum(p.numel() for p in model.parameters()) for model in (coder, denoiser)]
    return {"dentate_gyrus": count[0], "denoiser_millions": count[1] / 1e6}


def score(adata: "AnnData", about: dict[str, Any], sizes: CountSizes, **options) -> pd.DataFrame:
    """Score a set on its question in ``paper_boards.toml``.

    That is :func:`score_cells` where it has a condition, otherwise :func:`score_combinations`.
    """
    if "condition" in about:
        return score_cells(adata, about["condition"], sizes, **options)
    return score_combinations(adata, about, sizes, **options)


# ------------------------------------------------------------------------------ held-out cells


def is_test_cell(adata: "AnnData", seed: int = 0) -> np.ndarray:  # (cells,)
    """Whether a cell is for testing: as the files say, otherwise a fifth of them at random."""
    if "split" in adata.obs:
        return (adata.obs["split"] == "test").to_numpy()
    return np.random.default_rng(seed).random(adata.n_obs) < TEST_SHARE


def score_cells(
    adata: "AnnData",
    condition: str,
    sizes: CountSizes,
    *,
    seeds: range,
    cache: Path,
    device: str = "auto",
) -> pd.DataFrame:
    """Reconstruct held-out cells, and generate as many.

    Returns
    -------
    DataFrame
        ``row, seed, metric, value``. Of autoencoders the paper's ``re``, ``pcc`` and ``mse``, and
        ``split_error``, which does not reward memory; of generated cells the scores of
        :func:`beside.generation_metrics.generation_table`.
    """
    train, test = _train_and_test(adata, sizes)
    options = {"cache": cache, "device": device}
    genes = list(train.var_names)
    fits = fit_counts_many(train, genes=genes, configs=autoencoders(sizes), seeds=seeds, **options)
    real = {"test": panel_counts(test), "train": panel_counts(train)}
    rows = []
    for (name, seed), fitted in fits.items():
        for metric, value in reconstruction(fitted, real["test"], seed=seed).items():
            rows.append((name, seed, metric, value))
    constant = reconstruction_metrics.profile_error(real["train"], real["test"])
    rows.append(("constant", None, "split_error", constant))
    shared = {"adata": train, "conditions": (condition,), "config": flow_config(sizes)}
    jobs = [shared | {"counts": fitted, "seed": seed} for (_, seed), fitted in fits.items()]
    flows = dict(zip(fits, fit_flow_many(jobs, cache=cache), strict=True))
    for seed in seeds:
        others = {name: flows[name, seed] for name, k in flows if k == seed and name != "set"}
        cells = generation_samples(flows["set", seed], test, train=train, others=others, seed=seed)
        table = generation_metrics.generation_table(cells, **real, seed=seed)
        for row, scores in table.iterrows():
            rows += [(row, seed, metric, value) for metric, value in scores.items()]
    table = pd.DataFrame(rows, columns=["row", "seed", "metric", "value"])
    return table.astype({"seed": "Int64"})


def _train_and_test(adata: "AnnData", sizes: CountSizes) -> tuple["AnnData", "AnnData"]:
    """Draw cells of both kinds, on genes chosen on training cells."""
    held = is_test_cell(adata)
    rng = np.random.default_rng(0)
    train = _drawn(adata, ~held, sizes.n_cells, rng)
    test = _drawn(adata, held, sizes.n_test, rng)
    panel = choose_panel(train, n_genes=sizes.n_genes)
    return _with_counts(train[:, panel]), _with_counts(test[:, panel])


def _drawn(adata: "AnnData", among: np.ndarray, n: int, rng: np.random.Generator) -> "AnnData":
    rows = rng.permutation(np.flatnonzero(among))[:n]
    return adata[np.sort(rows)].copy()


def _with_counts(adata: "AnnData") -> "AnnData":
    """Leave out cells without a count on the panel: they have no profile."""
    return adata[np.asarray(adata.X.sum(1)).ravel() > 0].copy()


def reconstruction(
    fitted: "FittedCounts", counts: np.ndarray, *, seed: int = 0
) -> dict[str, float]:
    """Score reconstructed cells as the paper does, and without rewarding memory.

    ``re``: minus log likelihood of the very counts that were encoded, in nats a cell. ``pcc`` and
    ``mse``: of drawn against real cells, both log1p of 10,000 per cell; the correlation is of each
    gene over the cells of a batch, and the mean over genes that vary and over batches.
    """
    latents = fitted.encode_as_trained(counts, seed=seed)
    library = counts.sum(1)
    mean, dispersion = fitted.decode(latents, library)
    drawn = _logged(fitted.draw(latents, library, seed=seed).X.toarray())
    real = _logged(counts)
    by_batch = []
    for start in range(0, len(real), BATCH):
        part = slice(start, start + BATCH)
        by_batch.append(_correlation_of_genes(drawn[part], real[part]))
    return {
        "re": reconstruction_metrics.negative_log_likelihood(counts, mean, dispersion),
        "pcc": float(np.mean(by_batch)),
        "mse": float(((drawn - real) ** 2).mean()),
        "split_error": reconstruction_metrics.split_error(fitted, counts, seed=seed),
    }


def _logged(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, np.float32)
    return log_normalised(torch.as_tensor(counts)).numpy().astype(float)


def _correlation_of_genes(x: np.ndarray, y: np.ndarray) -> float:
    """Mean Pearson correlation of columns that vary on both sides; 0 if there are none."""
    x = x - x.mean(0)
    y = y - y.mean(0)
    size = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    varies = size > 0
    found = (x * y).sum(0)[varies] / size[varies]
    return float(found.mean()) if len(found) else 0.0


# ------------------------------------------------------------------------ held-out combinations


def score_combinations(
    adata: "AnnData",
    about: dict[str, Any],
    sizes: CountSizes,
    *,
    seeds: range,
    cache: Path,
    device: str = "auto",
) -> pd.DataFrame:
    """Predict treatments of one kind of cells that nobody trained on.

    Parameters
    ----------
    adata
        Counts with two conditions in ``obs``.
    about
        The set in ``paper_boards.toml``: ``of`` (the kind of cells), ``treatment``, ``control`` and
        ``held``.
    sizes, seeds, cache, device
        As in :func:`score_cells`.

    Returns
    -------
    DataFrame
        ``row, seed, metric, value``, means over the held-out treatments: joint and additive
        guidance beside control cells, the mean shift and the floor.
    """
    ((kind, value),) = about["of"].items()
    columns = (kind, about["treatment"])
    adata = _those_that_count(adata, about, sizes)
    of_kind = (adata.obs[kind] == value).to_numpy()
    treatment = adata.obs[about["treatment"]].astype(str)
    treatments = held_treatments(treatment[of_kind], about, sizes.n_combinations)
    held = of_kind & treatment.isin(treatments).to_numpy()
    panel = choose_panel(adata, ~held, n_genes=sizes.n_genes)
    adata = _with_counts(adata[:, panel])
    treatment = adata.obs[about["treatment"]].astype(str)
    held = ((adata.obs[kind] == value) & treatment.isin(treatments)).to_numpy()
    training = {"genes": panel, "seeds": seeds, "cache": cache, "device": device}
    configs = {"plain": replace(autoencoders(sizes)["plain"], split=False)}
    coders = fit_counts_many(adata, ~held, configs=configs, **training)
    tables = []
    for (_, seed), coder in coders.items():
        shared = {"counts": coder, "adata": adata, "cells": ~held, "conditions": columns}
        kinds = ("joint", "additive")
        jobs = []
        for guidance in kinds:
            config = flow_config(sizes, guidance=guidance)
            jobs.append(shared | {"config": config, "seed": seed})
        flows = dict(zip(kinds, fit_flow_many(jobs, cache=cache), strict=True))
        for name in treatments:
            target = {kind: value, about["treatment"]: name}
            tables.append(_one_combination(adata, flows, target, about["control"], seed))
    table = pd.concat(tables, ignore_index=True)
    return table.groupby(["row", "seed", "metric"], as_index=False, sort=False)["value"].mean()


def held_treatments(treatment: pd.Series, about: dict[str, Any], most: int) -> list[str]:
    """Treatments to hold out: those of the paper where they are known, else drawn with seed 0."""
    there = sorted(set(treatment) - {about["control"]})
    if len(there) == treatment.nunique():
        raise ValueError(f"{about['treatment']}: expected {about['control']!r} among {there[:5]}")
    if about["held"]:
        there = [name for name in about["held"] if name in there]
    return sorted(np.random.default_rng(0).permutation(there)[:most].tolist())


def _those_that_count(adata: "AnnData", about: dict[str, Any], sizes: CountSizes) -> "AnnData":
    """Keep what the question is about, and training cells at random up to their number."""
    ((kind, value),) = about["of"].items()
    treatment = adata.obs[about["treatment"]].astype(str)
    of_kind = (adata.obs[kind] == value).to_numpy()
    asked = held_treatments(treatment[of_kind], about, sizes.n_combinations)
    asked = treatment.isin([*asked, about["control"]]).to_numpy()
    rng = np.random.default_rng(0)
    others = rng.permutation(np.flatnonzero(~asked))[: sizes.n_cells]
    same_treatment = rng.permutation(np.flatnonzero(asked & ~of_kind))[: sizes.n_cells]
    kept = np.concatenate([np.flatnonzero(asked & of_kind), same_treatment, others])
    return adata[np.sort(kept)].copy()


def _one_combination(
    adata: "AnnData", flows: dict, target: dict[str, str], control: str, seed: int
) -> pd.DataFrame:
    is_asked = np.ones(adata.n_obs, bool)
    for column, value in target.items():
        is_asked &= (adata.obs[column] == value).to_numpy()
    asked = adata.obs[is_asked]
    predictions = {}
    for name, flow in flows.items():
        predictions[name] = flow.sample(asked, seed=seed).X.toarray()
    flow = flows["joint"]
    library = flow.library.draw(flow.conditions.labels(asked), seed=seed)
    cells = combination_cells(adata, flow.counts.genes, target, control=control)
    scores = score_combination(predictions, *cells, library, seed=seed)
    long = scores.rename_axis("row").reset_index().melt("row", var_name="metric")
    return long.assign(seed=seed)
