# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1 · From raw cells to snapshots
#
# **You will** load simulated and real time courses of single cells, look at what was measured and
# what was not, and turn them into coordinates a model can use, without letting a held-out cell leak
# into them.
#
# **You will learn to**
#
# - read the few columns every time course needs: time, population, cell type, density;
# - check a simulator against its closed form before trusting it as ground truth;
# - fit genes, scaler and principal components on training times only, and prove it;
# - bring your own `.h5ad` file.
#
# **You need** to be at ease with `anndata` and NumPy. No stochastic calculus yet.
#
# | profile | machine | simulated cells | what you should see |
# | --- | --- | --- | --- |
# | `smoke` | 2 CPU cores | hundreds | that it runs |
# | `teach` | 2 CPU cores | 12,000 | every assertion holds; real sets if you have them |
# | `paper` | 2 CPU cores | 12,000 | the same |
#
# How long each notebook took on our machine is recorded in `results/published/`.

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch, and the simulations
device: str = "cpu"  # "auto", "cpu" or "cuda"
datasets: list = [  # real sets, if at hand
    "cite_hspc",
    "reprogramming_cut",
    "larry_clones",
    "pbmc_activation",
    "emt",
]
n_populations: int = 24  # simulated populations
n_cells: int = 100  # simulated cells per population and time
n_moment_cells: int = 2000  # cells per time for the check against the closed form

# %%
import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

import scimf
from beside.maps import pair_matrix
from beside.moments import linear_moments
from scimf import plots, start_notebook

run = start_notebook("01_data", globals())
run

# %% [markdown]
# ## A cell is measured once
#
# Sequencing destroys the cell. A time course is therefore a set of **snapshots**: at each time
# other cells, never the same one twice. No arrow connects a cell of day 2 with a cell of day 3;
# that arrow is what the model has to supply.
#
# We begin with cells whose arrows we know, because we simulated them. Five cell types live in 24
# populations. A cell of type $a$ does two things at once,
#
# $$
# \mathrm{d}x_i = \underbrace{\theta(\mu_{a_i} - x_i)}_{\text{intrinsic}}\,\mathrm{d}t
#   + \underbrace{\frac{s}{N-1}\sum_{j \ne i} A_{a_i a_j}
#   \frac{x_j - x_i}{\sqrt{1 + \lVert x_j - x_i\rVert^2}}}_{\text{interaction}}\,\mathrm{d}t
#   + \sigma\,\mathrm{d}W_i ,
# $$
#
# it drifts towards its fate $\mu_a$, and it is pulled ($A_{ab} > 0$) or pushed ($A_{ab} < 0$) by
# cells of type $b$. $s$ is the density of the population. The code is `scimf/simulate/typed.py`,
# and it says the same as this formula.

# %%
typed = scimf.load("typed", seed=seed, n_populations=n_populations, n_cells=n_cells)
typed.obs.groupby("time", observed=True).agg(
    cells=("population", "size"),
    populations=("population", "nunique"),
    types=("cell_type", "nunique"),
)

# %% [markdown]
# Four columns of `obs` describe a cell besides its state. `time` is in real units, here arbitrary
# ones. `density` is how crowded the population is relative to the others: an experimenter knows it.
# The model is given the time, the population and its density. It **never sees `cell_type`**: types
# are for our questions and our pictures.

# %%
typed.obs.sample(4, random_state=0)[["time", "population", "cell_type", "density"]]

# %% [markdown]
# The eight coordinates cannot be drawn, so we look through two principal components. They serve for
# pictures only.

# %%
view = PCA(2, random_state=0).fit(typed.X[(typed.obs["time"] == 0).to_numpy()])
xy = view.transform(typed.X)
labels = ("PC 1", "PC 2")
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6))
plots.cells(left, xy, typed.obs["time"].to_numpy(), labels=labels, bar="time (a.u.)")
plots.cells(right, xy, typed.obs["cell_type"].to_numpy(str), labels=labels)
run.save_figure(fig, "fig1a_simulated_cells")

# %% [markdown]
# **Figure 1a.** All simulated cells, coloured by time (left) and by type (right). Types stay apart
# while they move, so a model that sees only the state can tell them.
#
# ## Who moves whom, and why one population is not enough
#
# The truth is a matrix: row = receiver, column = sender. It is **not** symmetric; no pair is active
# in both directions.

# %%
truth = typed.uns["scimf"]["truth"]
matrix = pd.DataFrame(truth["type_matrix"], index=truth["types"], columns=truth["types"])
assert not ((matrix != 0) & (matrix.T != 0)).to_numpy().any()
matrix.round(2)

# %%
counted = pd.crosstab(typed.obs["population"], typed.obs["cell_type"], normalize="index")
composition = counted.loc[truth["populations"], truth["types"]]
relative_density = truth["density"] / truth["density"].max()

fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.6), width_ratios=(1, 1.6))
pair_matrix(left, matrix, label="$A_{ab}$ (pull > 0)", truth=truth["type_matrix"])
colours = plots.type_colours(list(composition.columns))
composition.plot.bar(stacked=True, width=0.9, color=colours, ax=right)
right.plot(relative_density, "D", color="white", mec="black", ms=3, label="density / max")
right.set(xlabel="population", ylabel="share of cells", xticks=[])
right.legend(loc="center left", bbox_to_anchor=(1, 0.5))
tables = {"matrix": matrix, "composition": composition}
run.save_figure(fig, "fig1b_type_matrix_and_compositions", data=tables)

# %% [markdown]
# **Figure 1b.** Left, the true type matrix, active pairs framed (solid: pull, dotted: push). Right,
# what the populations are made of, and how dense they are.
#
# Why so many populations? Along one single population every message arrives at the same time as
# everything else that happens to a cell, so "B pushes A" and "A goes there by itself" predict the
# same snapshots. Only when compositions differ does the message differ while the cell stays the
# same. Notebook 5 comes back to this.
#
# ## Is the simulator right?
#
# A ground truth deserves a test of its own. For linear attraction, $b(x) = -\theta x$ and $K(x, y)
# = \kappa(y - x)$, the moments are known exactly:
#
# $$
# m_t = m_0 e^{-\theta t}, \qquad \dot S = -2(\theta + \kappa) S + \sigma^2 .
# $$
#
# The mean knows nothing of $\kappa$: attraction moves cells towards each other, not the population.
# The spread sees the **sum** $\theta + \kappa$: from one population's spread alone, the intrinsic
# drift and the interaction cannot be told apart.

# %%
line = scimf.load("linear", seed=seed, n_populations=1, n_cells=n_moment_cells)
by_time = line.to_df().groupby(line.obs["time"])
means = by_time.mean()  # (times, 2)
variances = by_time.var().mean(axis=1)  # (times,), mean over the two axes
known = {"mean": means.loc[0].to_numpy(), "variance": float(variances.loc[0])}
for key in ("theta", "kappa", "sigma"):
    known[key] = float(line.uns["scimf"]["truth"][key])

grid = np.linspace(0, 3, 50)
exact = [linear_moments(t, **known) for t in grid]

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7, 2.3))
left.plot(grid, [mean for mean, _ in exact], label=["closed form, x1", "closed form, x2"])
left.plot(means.index, means, "ko", ms=4)
left.set(xlabel="time (a.u.)", ylabel="mean")
left.legend()
right.plot(grid, [variance for _, variance in exact], color="C2", label="closed form")
right.plot(variances.index, variances, "ko", ms=4, label="simulated cells")
right.set(xlabel="time (a.u.)", ylabel="variance per axis", ylim=(0, None))
right.legend()
moments = means.add_suffix("_mean").join(by_time.var().add_suffix("_var"))
run.save_figure(fig, "fig1c_linear_attraction_moments", data=moments)

# %% [markdown]
# **Figure 1c.** Simulated cells (dots) on the exact curves.

# %%
exact_means = np.array([linear_moments(t, **known)[0] for t in means.index])  # (times, 2)
mean_error = float(np.abs(means.to_numpy() - exact_means).max())
run.record({"linear.mean_error": mean_error, "linear.n_cells": n_moment_cells})
run.expect("the simulated means follow the closed form within 0.1", mean_error < 0.1)

# %% [markdown]
# ## Your own file
#
# Most readers come with a file. `load` takes a path and the name of the time column; it looks at
# the values to find out whether they are counts, log-normalised expression or ready-made principal
# components, and says what it found. Here we write such a file first: Poisson counts of 300 genes
# driven by the simulated states.

# %%
rng = np.random.default_rng(seed)
loadings = rng.normal(0, 0.6, size=(typed.n_vars, 300))
chosen = np.sort(rng.choice(typed.n_obs, size=min(1500, typed.n_obs), replace=False))
counts = rng.poisson(np.exp(typed.X[chosen] @ loadings)).astype(np.float32)  # (cells, genes)
obs = typed.obs.iloc[chosen].rename(columns={"time": "day"})[["day", "cell_type"]]
mine = ad.AnnData(counts, obs=obs)
mine.var_names = [f"gene{k}" for k in range(300)]
mine.write_h5ad(run.build / "my.h5ad")

# %%
my = scimf.load(run.build / "my.h5ad", time_key="day", type_key="cell_type")
my.uns["scimf"]["form"], my.uns["scimf"]["detected"]

# %% [markdown]
# ## Hold out first, then fit
#
# Everything that is *fitted*, also a list of genes or a mean, can carry information about a time
# that was to be predicted. So the order is fixed: say what is held out, then fit the space on the
# rest.

# %%
split = scimf.hold_out(my, times=[2.0])
space = scimf.fit_space(my, split, n_pcs=10, n_genes=200)
print(f"training times {split.train_times}, held out {split.held_times}")
print(f"{space.dim} coordinates from {len(space.names)} genes")

# %% [markdown]
# What `fit_space` does to one cell, written out: normalise to 10,000 counts, take logarithms,
# standardise with the training mean and s.d., project on the training components.

# %%
columns = my.var_names.get_indexer(space.names)
cell = counts[0]  # (genes,)
logged = np.log1p(1e4 * cell / cell.sum())
by_hand = space.components @ ((logged[columns] - space.mean) / space.scale)
np.testing.assert_allclose(by_hand, my.obsm["X_scimf"][0], rtol=1e-3, atol=1e-3)
by_hand.round(2)

# %% [markdown]
# And the proof that nothing leaks: replace **every** held-out cell by noise, fit again, compare.

# %%
tampered = my.copy()
held = split.held_mask(tampered)
tampered.X[held] = rng.poisson(5.0, size=(held.sum(), tampered.n_vars))
again = scimf.fit_space(tampered, split, n_pcs=10, n_genes=200)
assert again.names == space.names
assert np.array_equal(again.mean, space.mean)
assert np.array_equal(again.components, space.components)
assert np.array_equal(tampered.obsm["X_scimf"][~held], my.obsm["X_scimf"][~held])
print(f"{held.sum()} held-out cells replaced: genes, scaler and components are unchanged")

# %% [markdown]
# Predictions return to genes through the same linear map, `space.decode`. Ten components cannot
# carry 200 noisy genes, so the way back is a smoothed cell, not the measured one.

# %%
back = space.decode(my.obsm["X_scimf"])  # (cells, genes)
original = np.log1p(1e4 * counts / counts.sum(1, keepdims=True))[:, columns]
round_trip = float(np.corrcoef(back.ravel(), original.ravel())[0, 1])
run.record({"own_file.round_trip_correlation": round_trip})
print(f"correlation of expression before and after the round trip: {round_trip:.2f}")

# %% [markdown]
# ## Real time courses
#
# The same call loads real data by name. Files come from their public addresses and are checked
# against a sha256; if a set cannot be had (no network and no local copy), the notebook says so and
# goes on. Point `SCIMF_DATA` to a folder that already holds them to work offline. Read the
# warnings: two of them change what a result may claim.

# %%
real = run.load(datasets)
columns = ["cells", "columns", "form", "times", "unit", "types"]
table = pd.DataFrame(columns=columns, index=pd.Index([], name="data set"))
for name, adata in real.items():
    about = adata.uns["scimf"]
    n_times = adata.obs["time"].nunique()
    n_types = adata.obs["cell_type"].nunique() if "cell_type" in adata.obs else 0
    row = [adata.n_obs, adata.n_vars, about["form"], n_times, about["time_unit"], n_types]
    table.loc[name] = row
table

# %% [markdown]
# Times are uneven, and cells are not spread evenly over them. Both matter: a gap of three days is
# not a gap of one, and a snapshot of thirty cells has a high noise floor.

# %%
shown = {"typed": typed, **real}
sizes = {}
fig, panels = plt.subplots(1, len(shown), figsize=(7, 1.9), squeeze=False)
for ax, (name, adata) in zip(panels[0], shown.items(), strict=True):
    sizes[name] = adata.obs["time"].value_counts().sort_index()
    ax.vlines(sizes[name].index, 0, sizes[name].to_numpy(), lw=2)
    ax.set_title(name.replace("_", "\n"), loc="left")
    ax.set(xlabel=f"time ({adata.uns['scimf']['time_unit']})", ylim=(0, None))
panels[0, 0].set_ylabel("cells")
table = pd.concat(sizes).rename("cells").to_frame()
run.save_figure(fig, "fig1d_cells_per_time", data=table)

# %% [markdown]
# **Figure 1d.** Cells per time of every set at hand.
#
# ## Exercise 1.1 · Predict before you run
#
# The last two days of a time course are held out. Which of these may still look at their cells: the
# choice of genes, the scaler, the PCA, the picture in figure 1a?

# %% tags=["solution"]
may_look = {"genes": False, "scaler": False, "PCA": False, "picture": True}
allowed = [name for name, may in may_look.items() if may]
assert allowed == ["picture"]  # a picture is not a prediction

# %% [markdown]
# ## Exercise 1.2 · Hold out the first time
#
# Ask `hold_out` to hold out the first time of `my`. Read the message. Why is it refused?

# %% tags=["solution"]
try:
    scimf.hold_out(my, times=[0.0])
except ValueError as error:
    message = str(error)
assert "first time" in message  # a simulation has to start somewhere
message

# %% [markdown]
# ## Exercise 1.3 · A leak, made on purpose
#
# Fit the space of `my` with nothing held out, and show in two lines that its components differ from
# the honest ones.

# %% tags=["solution"]
leaky = scimf.fit_space(my.copy(), scimf.hold_out(my), n_pcs=10, n_genes=200)
assert leaky.names != space.names or not np.allclose(leaky.components, space.components)

# %% [markdown]
# ## What you have now
#
# - snapshots with time in real units, and a simulation whose arrows are known and checked;
# - coordinates in `obsm["X_scimf"]` that no held-out cell has touched;
# - one caveat: ready-made principal components (here `cite_hspc`) were fitted by others on all
#   days. Every number from them carries that warning.

# %%
run.finish()
