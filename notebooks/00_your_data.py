# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0 · Your data
#
# **You will** bring a file of your own through the whole road: a doctor looks at it, a time is held out and predicted,
# every cell gets a velocity, and you get one page to send to a colleague.
#
# **You will learn to**
#
# - say what a file must hold, and read what is doubtful about yours *before* anything is fitted;
# - read a held-out score between its floor and its trivial baselines;
# - know which question your design cannot answer, however long you train.
#
# **You need** a file of cells with the time of each. Nothing else in this repository needs to be read first.
#
# ```
# make figures DATA=my.h5ad TIME_KEY=day TYPE_KEY=cell_type HELD_OUT=3
# ```
#
# runs this notebook on your file and leaves the rest alone; without `DATA` it runs on an example that it writes itself.
# `.h5ad`, `.loom`, 10x Genomics (`.h5` or a folder, with `CELLS=table.csv` for the times) and `.csv` are read.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach` | 2 CPU cores | a report in two or three minutes; short fits, three training seeds |
# | `paper` | any | longer fits, five training seeds |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
data: str = ""  # your file; empty: an example is written and used
cells: str = ""  # a table that is joined to it by the names of the cells; empty: none
time_key: str = "time"  # column with the time of each cell
type_key: str = ""  # column with its type; empty: "cell_type" if there is one
population_key: str = ""  # column with its population (culture, embryo, donor); empty: "population" if there is one
batch_key: str = ""  # column with its batch; empty: "batch" if there is one
form: str = ""  # "counts", "lognorm", "pcs" or "state"; empty: detected
held_out: list = []  # times nobody may see; empty: the one in the middle
n_pcs: int = 20  # principal components
n_seeds: int = 3  # training seeds
n_steps: int = 300  # optimiser steps of a fit
draws: int = 5  # random draws of cells that a score is averaged over

# %%
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import scimf
from scimf import plots, start_notebook
from scimf.baselines import BASELINES
from scimf.countworlds import counted
from scimf.doctor import cost, examine
from scimf.report import write_report
from scimf.verdict import null_fits

run = start_notebook("00_your_data", globals())
run

# %% [markdown]
# ## What a file must hold
#
# Cells as rows, with raw counts (best), log-normalised values, or coordinates such as PCs; and a column that says when
# each cell was taken, as numbers or as text like `day 3`. Types, populations and batches help if they are there. The
# example has all but populations: five cell types in one culture, seen through 300 genes at six uneven days.

# %%
days = {"t": [0.0, 0.5, 1.0, 2.0, 3.0, 4.0], "n": [300, 260, 240, 280, 250, 200]}  # cells differ, as they do
states = scimf.load("typed", seed=seed, n_populations=1, n_cells=300, times=tuple(days["t"]))
example = counted(states, seed=seed, n_genes=300)
rng, when = np.random.default_rng(seed), example.obs["time"].to_numpy()
rows = [rng.choice(np.flatnonzero(when == t), n, replace=False) for t, n in zip(days["t"], days["n"], strict=True)]
example = example[np.concatenate(rows), :].copy()
example.obs = pd.DataFrame({"day": [f"day {t:g}" for t in example.obs["time"]], "kind": example.obs["cell_type"]})
example.obs["lane"] = np.where(example.obs["day"].isin(["day 0", "day 0.5"]), "lane 1", "lane 2")
example = ad.AnnData(example.X, obs=example.obs, var=example.var[[]])  # nothing else: a file like any other
example.write_h5ad(run.build / "example.h5ad")
example.obs.sample(4, random_state=seed)

# %%
keys = {"time_key": time_key, "type_key": type_key, "population_key": population_key, "batch_key": batch_key}
if not data:
    keys = {"time_key": "day", "type_key": "kind", "batch_key": "lane"}
given = {key: value for key, value in {**keys, "cells": cells, "form": form}.items() if value}
adata = scimf.load(Path(data).absolute() if data else run.build / "example.h5ad", **given)
times = np.unique(adata.obs["time"])
held = held_out or times[len(times) // 2 : -1][:1].tolist()  # the one in the middle; with two times, none
split = scimf.hold_out(adata, times=held)
print(adata.uns["scimf"]["detected"])
print(f"held out: {held or 'nothing, for there are but two times'}")

# %% [markdown]
# ## The doctor
#
# What was found, what will be done, and **what is doubtful**. Read the last part before you read any result: no score
# further down can mend what is said there.

# %%
findings = examine(adata, split, n_pcs=n_pcs)
doubts = findings.loc[findings["part"] == "doubtful", ["what", "says"]]
run.record({"cells": adata.n_obs, "times": len(times), "doubts": len(doubts)})
findings.style.hide(axis="index").set_uuid("findings")

# %% [markdown]
# ## Coordinates
#
# Genes, scaling and principal components are fitted on training cells only; the held-out time is passed through them
# afterwards. A look at the cells, in the first two coordinates:

# %%
space = scimf.fit_space(adata, split, n_pcs=n_pcs)
x, when = adata.obsm["X_scimf"], adata.obs["time"].to_numpy()
axes, unit, typed = ("coordinate 1", "coordinate 2"), adata.uns["scimf"]["time_unit"], "cell_type" in adata.obs


def view(z):
    """First two coordinates; data of one column lie on a line."""
    return np.pad(z[:, :2], ((0, 0), (0, max(0, 2 - z.shape[1]))))


# %%
fig, panels = plt.subplots(1, 1 + typed, figsize=(7, 2.6), squeeze=False)
plots.cells_by_time(panels[0, 0], view(x), when, unit=unit, labels=axes)
if typed:
    names = adata.obs["cell_type"].astype(str)
    common = names.where(names.isin(names.value_counts().index[:8]), "other types").to_numpy()
    plots.cells_by_type(panels[0, 1], view(x), common, labels=axes)
run.save_figure(fig, "fig0a_your_cells")
print("\n".join(space.warnings))

# %% [markdown]
# **Figure 0a.** Your cells by time and, where there are types, by type.
#
# ## Two models
#
# One hears its population, the other, with as many parameters, does not (notebook 2 derives both). A few steps are
# measured on this machine first, so that you know what you are waiting for. Fits are kept: a run that was killed goes
# on where it was.

# %%
width = (64, 64) if space.dim <= 20 else (128, 128)
config = scimf.SDEConfig(hidden=width, hidden_interaction=width[0], steps=n_steps)
pair = {"scimf": config, "no_interaction": scimf.widened_twin(space.dim, config)}
expected = cost(adata, split, configs=pair, n_seeds=n_seeds)
print("all fits one after another: {seconds:.0f} s; memory so far: {peak_mebibytes:.0f} MiB".format(**expected))
options = {"cache": run.fits, "device": run.device}
fits = scimf.fit_many(adata, split, space, configs=pair, seeds=range(n_seeds), **options)

# %% [markdown]
# ## The held-out time
#
# Every row is a prediction of cells that nothing above has seen. The **floor** is what a perfect prediction scores,
# the baselines need no model: copy the snapshot before or after, mix the two, or go straight from one to the other
# (optimal transport). If a model is not clearly below the best of them, it has not earned your trust.

# %%
parts = []
for s in range(n_seeds if held else 0):
    samples = {name: fits[name, s].sample(held) for name in pair}
    wanted = {"draws": draws, "metrics": ("energy_distance", "w1")}
    parts.append(scimf.evaluate(samples, adata, split, **wanted).assign(seed=s))
scores = pd.concat(parts) if parts else pd.DataFrame(columns=["metric", "method", "seed", "value", "time"])
by_seed = scores.groupby(["metric", "method", "seed"])["value"].mean()
order = [m for m in ("floor", *pair, *BASELINES) if m in set(scores["method"])]
table = {m: {k: by_seed[k, m].mean() for k in ("energy_distance", "w1")} for m in order}
table = pd.DataFrame(table).T.rename_axis("method")
table.round(3)

# %%
fig, panels = plt.subplots(1, 2, figsize=(7, 2.6))
for ax, (metric, name) in zip(panels, {"energy_distance": "energy distance", "w1": "W1"}.items(), strict=True):
    rows = {m: scimf.interval(by_seed[metric, m]) if m in pair else {"mean": table.at[m, metric]} for m in order[1:]}
    for m, row in rows.items():
        run.record({f"held_out.{metric}.{m}": row if m in pair else float(row["mean"])})
    if rows:
        plots.scores(ax, pd.DataFrame(rows).T, xlabel=f"{name} at the held-out time", floor=table.at["floor", metric])
run.save_figure(fig, "fig0b_your_held_out_time", data=scores)

# %% [markdown]
# **Figure 0b.** Mean over training seeds, with 95 % intervals; dashed, the floor.

# %%
best = table["energy_distance"].drop(["floor", *pair], errors="ignore").min() if len(table) else np.nan
model = table["energy_distance"].get("scimf", np.nan)
trust = "Mean over training seeds: the model is closer to the held-out cells than every trivial baseline."
worse = "Mean over training seeds: the model is NOT closer to the held-out cells than the best trivial baseline."
trust = trust if model < best else worse
trust = trust if held else "Nothing was held out, so nothing was checked."
print(trust)

# %% [markdown]
# ## Where cells go
#
# The velocity of a cell is the drift of the model, in the company of its own snapshot: what it does by itself and what
# it hears, added. It is written to `obsm["velocity_scimf"]` in units of the coordinates per unit of time.

# %%
scimf.velocity(fits["scimf", 0], adata)
here = np.random.default_rng(seed).choice(adata.n_obs, min(250, adata.n_obs), replace=False)
arrows = view(adata.obsm["velocity_scimf"][here])
fig, ax = plt.subplots(figsize=(4.2, 3.2))
shade = plt.get_cmap("viridis")((when[here] - when.min()) / np.ptp(when))
plots.arrows(ax, view(x[here]), arrows, background=view(x), colours=shade, labels=axes)
run.save_figure(fig, "fig0c_your_velocities")

# %% [markdown]
# **Figure 0c.** Drift of 250 cells (dark: early, bright: late), all cells in grey; arrows are scaled to fit.
#
# ## Do your cells interact?
#
# One culture that is sampled over time cannot say: what a cell hears always comes together with the day and with what
# it would have done anyway. Several populations of different composition can, and then the test of notebook 5 is run
# here. If the answer is "cannot be told", no map of influences is drawn: notebook 5 shows how convincing a wrong one
# looks. With eight populations or more this takes some minutes.

# %%
verdict = scimf.do_cells_interact(adata, n_pcs=n_pcs, seed=seed, **options)
print(verdict)
answers = {"yes": "interact.yes", "no": "interact.no", "cannot be told": "interact.cannot_be_told"}
run.record({key: int(verdict.answer == answer) for answer, key in answers.items()})
told = typed and verdict.answer != "cannot be told"
influences = pd.DataFrame()
if told:
    nulls = null_fits(adata, split, config=config, n=10, seed=seed, **options)
    influences = scimf.edges([fits["scimf", s] for s in range(n_seeds)], nulls, adata)
    fig, ax = plt.subplots(figsize=(4.2, 3.6))
    plots.influence_map(ax, influences)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    run.save_figure(fig, "fig0d_who_moves_whom", data=influences)
influences.head(10)

# %% [markdown]
# ## What you take home
#
# The page `report.html` and the file `done.h5ad` in the build folder, which any AnnData tool reads:
#
# | key | what |
# | --- | --- |
# | `obs["time"]`, `obs["cell_type"]`, ... | as they were understood |
# | `obsm["X_scimf"]` | coordinates (cells, PCs) |
# | `obsm["velocity_scimf"]` | velocity, the sum of `velocity_own_scimf` and `velocity_heard_scimf` |
# | `uns["scimf"]` | provenance, the warnings, and the verdict |
#
# CellRank takes the velocity as it is: `VelocityKernel(adata, attr="obsm", xkey="X_scimf", vkey="velocity_scimf")`.
# scVelo wants layers, so give it the coordinates as if they were genes:
# `AnnData(adata.obsm["X_scimf"], layers={"Ms": adata.obsm["X_scimf"], "velocity": adata.obsm["velocity_scimf"]})`.

# %%
adata.uns["scimf"]["verdict"] = str(verdict)
adata.uns["scimf"]["held_out_scores"] = table.to_json()
adata.write_h5ad(run.build / "done.h5ad")
pictures = {"Your cells": "fig0a_your_cells", "Velocities": "fig0c_your_velocities"}
pictures |= {"Who moves whom": "fig0d_who_moves_whom"} if told else {}
story = {"What is doubtful": doubts, "What was found and done": findings[findings["part"] != "doubtful"]}
story |= {"The held-out time": trust, "Scores (floor: what a perfect prediction scores)": table.round(3)}
story |= {"In a picture": run.figures / "fig0b_your_held_out_time.png", "Do your cells interact?": str(verdict)}
story |= {heading: run.figures / f"{name}.png" for heading, name in pictures.items()}
page = write_report(run.build / "report.html", title=f"{adata.uns['scimf']['name']}: scIMF", parts=story)
print(f"{page.name}: {page.stat().st_size / 1024:.0f} KiB, beside {run.build.name}/done.h5ad")

# %% [markdown]
# ## Exercise 0.1 · Break the file
#
# A file that cannot be used should be refused at once, in words. Take the example, spoil it in three ways (no time for
# some cells, negative counts, two cells of one name) and read what you are told.

# %% tags=["solution"]
lost, negative, double = example.copy(), example.copy(), example.copy()
lost.obs["day"] = lost.obs["day"].where(lost.obs["day"] != "day 2")
negative.X = negative.X - 1
double.obs_names = ["same", "same", *double.obs_names[2:]]
refused = {}
for name, spoilt in {"lost": lost, "negative": negative, "double": double}.items():
    spoilt.write_h5ad(run.build / f"{name}.h5ad")
    try:
        scimf.load(run.build / f"{name}.h5ad", time_key="day")
    except ValueError as error:
        refused[name] = str(error).split(": ", 1)[1]
print("\n".join(f"{name}: {says}" for name, says in refused.items()))
assert len(refused) == 3

# %% [markdown]
# ## What you have now
#
# - a report on your cells that says what it cannot know;
# - a file with coordinates and velocities for the tools you already use;
# - one caveat: one held-out time is one test. Hold out others (`HELD_OUT=`) before you believe a ranking.

# %%
run.finish()
