# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Your data
#
# **You will** bring a file of your own through the whole road: a doctor looks at it, a time is held
# out and predicted, every cell gets a velocity, and you get one page to send to a colleague.
#
# **You will learn to**
#
# - say what a file must hold, and read what is doubtful about yours *before* anything is fitted;
# - read a held-out score between its floor and its trivial baselines;
# - know which question your design cannot answer, however long you train.
#
# **You need** a file of cells with the time of each. Nothing else in this repository needs to be
# read first.
#
# ```
# make figures DATA=my.h5ad TIME_KEY=day TYPE_KEY=cell_type HELD_OUT=3
# ```
#
# runs this notebook on your file and leaves the rest alone; without `DATA` it runs on an example
# that it writes itself. `.h5ad`, `.loom`, 10x Genomics (`.h5` or a folder, with `CELLS=table.csv`
# for the times) and `.csv` are read. Where a file can be read in two ways, you are asked, and say
# it with one more option:
#
# | option | says |
# | --- | --- |
# | `LAYER=counts` | which values are taken: `X`, `raw`, a layer or `X_pca` |
# | `FORM=counts` | what they are: `counts`, `lognorm`, `pcs` or `state` |
# | `GENES=`, `LABELS=` | which columns of a table are genes, which labels: `a,b`, `Gene*`, `a:z` |
# | `SEP=tab` | what separates the columns of a table |
# | `BINS=60`, `BINS="4 equal"` | how a continuous time is cut into snapshots |
# | `DROP=mixed` | labels of the time column that are no time: their cells are left out |
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach` | 2 CPU cores | done in two or three minutes; short fits, three training seeds |
# | `paper` | any | longer fits, five training seeds |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
data: str = ""  # your file; empty: an example is written and used
cells: str = ""  # a table that is joined to it by the names of the cells; empty: none
time_key: str = "time"  # column with the time of each cell
type_key: str = ""  # column with its type; empty: "cell_type" if there is one
population_key: str = ""  # its population (culture, embryo, donor); empty: "population" if there
batch_key: str = ""  # column with its batch; empty: "batch" if there is one
reading: dict = {}  # options of scimf.load: form, layer, genes, labels, sep, bins, drop
held_out: list = []  # times nobody may see, numbers or labels; empty: the one in the middle
n_pcs: int = 20  # principal components
n_seeds: int = 3  # training seeds
n_steps: int = 300  # optimiser steps of a fit
draws: int = 5  # random draws of cells that a score is averaged over

# %%
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import scimf
from beside.diagnose import FEW_OF_A_TYPE, VARIED, examine
from beside.maps import influence_map, plan_map
from beside.simulated_counts import counted
from scimf import plots, start_notebook
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.held_out import Scoring
from scimf.interaction.plan import Design

run = start_notebook("10_your_data", globals())
run

# %% [markdown]
# ## What a file must hold
#
# Cells as rows, with raw counts (best), log-normalised values, or coordinates such as PCs; and a
# column that says when each cell was taken, as numbers or as text like `day 3`. Types, populations
# and batches help if they are there.

# %% [markdown] tags=["example"]
# The example has all but populations: five cell types in one culture, seen through 300 genes at six
# uneven days.

# %% tags=["example"]
days = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0)
states = scimf.load("typed", seed=seed, n_populations=1, n_cells=300, times=days)
full = counted(states, seed=seed, n_genes=300)
time = full.obs["time"].to_numpy()
rng = np.random.default_rng(seed)
rows = []
for day, n in zip(days, (300, 260, 240, 280, 250, 200), strict=True):  # cells differ, as they do
    rows.append(rng.choice(np.flatnonzero(time == day), n, replace=False))
part = full[np.concatenate(rows)]
obs = pd.DataFrame({"day": part.obs["time"].map("day {:g}".format), "kind": part.obs["cell_type"]})
obs["lane"] = np.where(part.obs["time"] < 1, "lane 1", "lane 2")
example = ad.AnnData(part.X, obs=obs, var=full.var[[]])  # nothing else: a file like any other
aside = TemporaryDirectory()
folder = Path(aside.name)  # what is only an example is no result
obs.sample(4, random_state=seed)

# %%
given = {"time_key": time_key, "type_key": type_key, "population_key": population_key}
given |= {"batch_key": batch_key, "cells": cells, **reading}
path = Path(data).expanduser().absolute()
if not data:
    given |= {"time_key": "day", "type_key": "kind", "batch_key": "lane"}
    path = folder / "example.h5ad"
    example.write_h5ad(path)
adata = scimf.load(path, **{key: value for key, value in given.items() if value})
times = np.unique(adata.obs["time"])
middle = times[len(times) // 2 : -1][:1].tolist()  # with two times, none
split = scimf.hold_out(adata, times=held_out or middle)
held = list(split.held_times)
print(adata.uns["scimf"]["detected"])
print(f"held out: {held or 'nothing, for there are but two times'}")

# %% [markdown]
# ## The doctor
#
# What was found, what will be done, and **what is doubtful**. Read the last part before you read
# any result: no score further down can mend what is said there. What would stop the work at its end
# stops it here: the file that will hold the results is written once, still without them.

# %%
findings = examine(adata, split, n_pcs=n_pcs, output=run.build / "done.h5ad")
doubts = findings.loc[findings["part"] == "doubtful", ["what", "says"]]
run.record({"cells": adata.n_obs, "times": len(times), "doubts": len(doubts)})
findings.style.hide(axis="index").set_uuid("findings")

# %% [markdown]
# ## Coordinates
#
# Genes, scaling and principal components are fitted on training cells only; the held-out time is
# passed through them afterwards. A look at the cells, in the first two coordinates:


# %%
def view(z):
    """First two coordinates; data of one column lie on a line."""
    return np.pad(z[:, :2], ((0, 0), (0, max(0, 2 - z.shape[1]))))


space = scimf.fit_space(adata, split, n_pcs=n_pcs)
x = view(adata.obsm["X_scimf"])
when = adata.obs["time"].to_numpy()
axes = ("coordinate 1", "coordinate 2")
typed = "cell_type" in adata.obs
print("\n".join(space.warnings))

# %%
fig, panels = plt.subplots(1, 1 + typed, figsize=(7, 2.6), squeeze=False)
bar = f"time ({adata.uns['scimf']['time_unit']})"
plots.cells(panels[0, 0], x, when, labels=axes, bar=bar)
if typed:
    names = adata.obs["cell_type"].astype(str)
    common = names.value_counts().index[:8]
    shown = names.where(names.isin(common), "other types").to_numpy()
    plots.cells(panels[0, 1], x, shown, labels=axes)
run.save_figure(fig, "fig10a_your_cells")

# %% [markdown]
# **Figure 10a.** Your cells by time and, where there are types, by type.
#
# ## Two models
#
# In one, cells move each other; in the other, with as many parameters, they do not (notebook 2).
# A few steps are measured on this machine first, so that you know what you are waiting for. Fits
# are kept: a run that was killed goes on where it was.

# %%
width = 64 if space.dim <= 20 else 128
growth = "state" if "mass" in adata.obs else "none"  # cells multiply where totals are known
sizes = {"hidden": (width, width), "hidden_interaction": width, "growth": growth}
config = scimf.SDEConfig(**sizes, steps=n_steps)
pair = {"scimf": config, "no_interaction": scimf.matched_config(space.dim, config)}
stamps = []


def note_time(step, terms):
    """What a fit calls after every step."""
    stamps.append(perf_counter())


for settings in pair.values():
    few = replace(settings, steps=4, warm_steps=0)
    scimf.fit(adata, split, config=few, progress=note_time)
gaps = np.diff(np.reshape(stamps, (len(pair), -1)))  # (models, 3), seconds a step
seconds = np.median(gaps, axis=1).sum() * n_steps * n_seeds
print(f"all fits one after another: {seconds:.0f} s")

# %%
options = {"cache": run.fits, "device": run.device}
fits = scimf.fit_many(adata, split, space, configs=pair, seeds=range(n_seeds), **options)

# %% [markdown]
# ## The held-out time
#
# Every row is a prediction of cells that nothing above has seen. The **floor** is what another draw
# of real cells scores; a prediction that averages out sampling noise can be lower. The baselines
# need no model: copy the snapshot before or after, mix the two, or go straight from one to the
# other (optimal transport). If a model is not clearly below the best of them, it has not earned
# your trust.

# %%
scores = pd.DataFrame(columns=["metric", "method", "seed", "value", "time"])
scoring = Scoring(draws=draws, metrics=("energy_distance", "w1"))
if held:
    parts = []
    for s in range(n_seeds):
        samples = {name: fits[name, s].sample(held) for name in pair}
        parts.append(scimf.evaluate(samples, adata, split, scoring=scoring).assign(seed=s))
    scores = pd.concat(parts)
by_seed = scores.groupby(["method", "metric", "seed"])["value"].mean()
known = set(scores["method"])
order = [method for method in ("floor", *pair, *BASELINES) if method in known]
table = by_seed.groupby(["method", "metric"]).mean().unstack().reindex(order)
table.round(3)

# %%
rows = {"energy_distance": {}, "w1": {}}
for metric, found in rows.items():
    for method in order[1:]:
        values = by_seed[method, metric]
        trained = method in pair
        found[method] = scimf.interval(values) if trained else {"mean": values.mean()}
        recorded = found[method] if trained else float(values.mean())
        run.record({f"held_out.{metric}.{method}": recorded})

# %%
fig, panels = plt.subplots(1, 2, figsize=(7, 2.6))
names = ("energy distance", "W1")
for ax, (metric, found), name in zip(panels, rows.items(), names, strict=True):
    if found:
        floor = {"floor": table.at["floor", metric]}
        label = f"{name} at the held-out time"
        plots.scores(ax, pd.DataFrame(found).T, xlabel=label, **floor)
run.save_figure(fig, "fig10b_your_held_out_time", data=scores)

# %% [markdown]
# **Figure 10b.** Mean over training seeds, with 95 % intervals; dashed, the floor.

# %%
trust = "Nothing was held out, so nothing was checked."
if held:
    far = table["energy_distance"]
    closer = far["scimf"] < far.drop(["floor", *pair]).min()
    is_closer = "is" if closer else "is NOT"
    trust = f"Mean over training seeds: the model {is_closer} closer to the held-out cells"
    trust += " than the best trivial baseline."
print(trust)

# %% [markdown]
# ## Where cells go
#
# The velocity of a cell is the drift of the model in its own snapshot: what the cell does by itself
# and what the others do to it, added. It is written to `obsm["velocity_scimf"]`, in units of the
# coordinates per unit of time.

# %%
scimf.velocity(fits["scimf", 0], adata)
here = np.random.default_rng(seed).choice(adata.n_obs, min(250, adata.n_obs), replace=False)
arrows = view(adata.obsm["velocity_scimf"][here])
fig, ax = plt.subplots(figsize=(4.2, 3.2))
shade = plt.get_cmap("viridis")((when[here] - when.min()) / np.ptp(when))
plots.arrows(ax, x[here], arrows, background=x, colours=shade, labels=axes)
run.save_figure(fig, "fig10c_your_velocities")

# %% [markdown]
# **Figure 10c.** Drift of 250 cells (dark: early, bright: late), all cells in grey; arrows are
# scaled to fit.
#
# ## Do your cells interact?
#
# One culture that is sampled over time cannot say: what moves a cell always comes together with the
# day and with what it would have done anyway. Several populations of different composition can.
# First, from numbers of cells and densities alone, which pairs of types could be told, and what
# would have to be added; then the answer, in seconds (report `interaction_test` says how often it
# is wrong). Where the answer is "cannot be told", no map is drawn: notebook 5 shows how convincing
# a wrong one looks.

# %%
plans = {}
if typed:
    kinds = adata.obs["cell_type"].astype(str)
    frequent = kinds.map(kinds.value_counts()) >= FEW_OF_A_TYPE
    of_types = adata[frequent.to_numpy()].copy()
    if of_types.obs["cell_type"].nunique() > 1:
        measured = Design.of(of_types)
        varied = measured.varied(VARIED)
        designs = {"as measured": measured, "of other compositions": varied}
        plans = {name: scimf.plan_experiment(design) for name, design in designs.items()}

# %%
if plans:
    fig, panels = plt.subplots(1, 2, figsize=(7, 3.4))
    for ax, (name, plan) in zip(panels, plans.items(), strict=True):
        plan_map(ax, plan)
        ax.set_title(f"{name} (populations: {len(designs[name].density)})", loc="left")
    number = "the number: populations that find the pair four times out of five"
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, title=number)
    run.save_figure(fig, "fig10d_what_can_be_told", data=plans)
for name, plan in plans.items():
    told = plan["verdict"].value_counts().to_dict()
    print(f"{name} (populations: {len(designs[name].density)}): {told}")

# %% [markdown]
# **Figure 10d** (with cell types only). Receiver on the left, sender below. *Told*: the strength of
# the pair comes out to within a fifth; *ranked*: strong is told from weak; a dash: no number of
# populations finds the pair. Left, your data; right, as many cells in populations in each of which
# one type is four times as frequent or as rare, by sorting or by mixing: take it to a colleague.

# %%
verdict = scimf.do_cells_interact(adata, seed=seed)
verdict_says = str(verdict)
for answer in ("yes", "no", "cannot be told"):
    run.record({f"interact.{answer.replace(' ', '_')}": int(verdict.answer == answer)})
print(verdict_says)

# %%
interactions = pd.DataFrame()
if plans and verdict.answer == "yes":
    try:
        interactions = scimf.who_moves_whom(of_types, seed=seed).table
    except ValueError as refusal:  # a type that is too rare in every population
        print(refusal)
if len(interactions):
    fig, ax = plt.subplots(figsize=(4.2, 3.6))
    values = interactions.rename(columns={"strength": "value"})
    influence_map(ax, values, unit=f"per {adata.uns['scimf']['time_unit']}")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    run.save_figure(fig, "fig10e_who_moves_whom", data=interactions)
interactions.round(3).head(20)

# %% [markdown]
# **Figure 10e** (where cells interact). A triangle to the right of the line in its square: the
# sender pulls the receiver closer; to the left: it pushes it away. Bars are 95 % intervals from
# leaving out one population after the other; filled: q of at most 0.05, that is, about one in
# twenty is false.
#
# ## What you take home
#
# A page to send: this notebook with its pictures and without its code, which the run above (`make
# figures DATA=...`) writes as `report.html` beside the file `done.h5ad` in the build folder. That
# file opens in any AnnData tool:
#
# | key | what |
# | --- | --- |
# | `obs["time"]`, `obs["cell_type"]`, ... | as they were understood |
# | `obsm["X_scimf"]` | coordinates (cells, PCs) |
# | `obsm["velocity_scimf"]` | `velocity_intrinsic_scimf` plus `velocity_interaction_scimf` |
# | `obs["growth_rate"]` | net rate of division, if the model grows |
# | `uns["scimf"]` | provenance, the warnings, and the verdict |

# %%
adata.uns["scimf"]["verdict"] = verdict_says
adata.uns["scimf"]["held_out_scores"] = table.to_json()
adata.write_h5ad(run.build / "done.h5ad")
print(f"{adata.uns['scimf']['name']}, in short")
print(trust)
print(verdict_says)
print("What is doubtful:")
doubts.style.hide(axis="index").set_uuid("doubts")

# %% [markdown]
# ## On to CellRank, scVelo and LIANA+
#
# They take `done.h5ad` as it is, but need packages that are older or newer than ours. Give them an
# environment of their own: `pip install "cellrank>=2.0.7" "scvelo>=0.3.4" "liana>=1.10"`, and with
# Python 3.11 `"numpy<2.3"`, too. `make test-interop` builds one and runs the lines below on the
# example.
#
# ```python
# import anndata as ad
# import pandas as pd
# import scanpy as sc
#
# adata = ad.read_h5ad("done.h5ad")
# sc.pp.neighbors(adata, use_rep="X_scimf")
# ```
#
# **CellRank** asks where cells end up. It lets a cell step to those of its neighbours that lie in
# the direction of its velocity (of which the length plays no part); one step in five goes to any
# similar cell, so that noise in the velocity does not trap it. The kernel is what its estimators
# of fates start from.
#
# ```python
# import cellrank as cr
#
# drift = cr.kernels.VelocityKernel(adata, attr="obsm", xkey="X_scimf", vkey="velocity_scimf")
# alike = cr.kernels.ConnectivityKernel(adata)
# kernel = 0.8 * drift.compute_transition_matrix() + 0.2 * alike.compute_transition_matrix()
# ```
#
# If your model grows (notebook 6), `velocity` also writes `obs["growth_rate"]`. Of two places to
# step to, the one where cells divide then gets more descendants. Rows of a kernel sum to one, so
# this says where descendants are, not how many. A step has no length in time; here it is a tenth.
#
# ```python
# import numpy as np
#
# became = np.exp(0.1 * adata.obs["growth_rate"].to_numpy())
# moves = kernel.transition_matrix.multiply(became)
# growing = cr.kernels.PrecomputedKernel(moves.multiply(1 / moves.sum(axis=1)).tocsr(), adata)
# ```
#
# **scVelo** draws streams. It expects a velocity for every gene, so give it the coordinates as if
# they were genes.
#
# ```python
# import scvelo as scv
#
# layers = {"Ms": adata.obsm["X_scimf"], "velocity": adata.obsm["velocity_scimf"]}
# flat = ad.AnnData(adata.obsm["X_scimf"], obs=adata.obs, layers=layers)
# flat.obsm["X_pca"] = flat.X
# sc.pp.neighbors(flat, use_rep="X_pca")
# scv.tl.velocity_graph(flat)
# scv.pl.velocity_embedding_stream(flat, basis="pca", color="cell_type")
# ```
#
# **LIANA+** asks which types *could* talk: whether one expresses a ligand and another its receptor,
# here within each time, for cells meet nobody else. That they do, or that it moves them, it does
# not say. It needs types and log-normalised genes (if yours are already, leave out
# `normalize_total` and `log1p`). The two pairs are made up, as the genes of the example are; with
# human genes leave `resource=pairs` out, with genes of the mouse write
# `resource_name="mouseconsensus"` instead: both tables come with LIANA+.
#
# ```python
# import liana as li
#
# sc.pp.normalize_total(adata, target_sum=1e4)
# sc.pp.log1p(adata)
# pairs = pd.DataFrame({"ligand": ["gene1", "gene2"], "receptor": ["gene3", "gene4"]})
# where = {"sample_key": "time", "groupby": "cell_type", "use_raw": False}
# li.mt.rank_aggregate.by_sample(adata, **where, resource=pairs)
# adata.uns["liana_res"].head()  # strongest first within each time
# ```

# %% [markdown]
# ## Exercise 10.1 · Break the file
#
# A file that cannot be used should be refused at once, in words. Take the example, spoil it in
# three ways (no time for some cells, negative counts, two cells of one name) and read what you are
# told.

# %% tags=["solution"]
lost = example.copy()
lost.obs["day"] = lost.obs["day"].where(lost.obs["day"] != "day 2")
negative = example.copy()
negative.X = negative.X - 1
double = example.copy()
double.obs_names = ["same", "same", *double.obs_names[2:]]
refused = {}
for name, spoilt in {"lost": lost, "negative": negative, "double": double}.items():
    spoilt.write_h5ad(folder / f"{name}.h5ad")
    try:
        scimf.load(folder / f"{name}.h5ad", time_key="day")
    except ValueError as error:
        refused[name] = str(error).split(": ", 1)[1]
assert len(refused) == 3
pd.Series(refused, name="what you are told")

# %% [markdown]
# ## What you have now
#
# - a page on your cells that says what it cannot know;
# - a file with coordinates and velocities for the tools you already use;
# - one caveat: one held-out time is one test. Hold out others (`HELD_OUT=`) before you believe a
#   ranking.

# %%
run.finish()
