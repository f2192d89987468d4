# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · A count matrix nobody measured
#
# **You will** join the two papers: the population SDE of scIMF runs in the latent space of scLDM's count autoencoder,
# and its cells are decoded to raw counts at a time that nobody measured.
#
# **You will learn to**
#
# - say why a small distance in principal components does not make a predicted cell a cell;
# - go from a raw count matrix to a predicted one in eight lines, on your own AnnData too;
# - set a forecast of counts between its floor, its ceiling and six rivals, two of which need no model at all.
#
# **You need** notebook 4 (held-out times) and notebooks 8 and 9, whose autoencoder and flow are used here.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach` | 2 CPU cores | the join far ahead of inverse PCA, level with a mixture of real cells; 3 seeds |
# | `paper` | any | the same with more populations, longer fits and 5 seeds |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch, and the simulation
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
datasets: list = ["mes_retinoic_acid"]  # real counts over time
n_populations: int = 8  # simulated populations
n_cells: int = 60  # simulated cells per population and time
n_genes: int = 150  # simulated genes
held_time: float = 2.0  # held-out time of the simulation
held_hour: float = 36.0  # held-out hour of the real set
n_seeds: int = 3  # training seeds on the simulation
real_seeds: int = 1  # training seeds on the real set
n_dims: int = 20  # coordinates in which cells move, of latents and of log expression
count_steps: int = 600  # optimiser steps of an autoencoder
sde_steps: int = 200  # optimiser steps of an SDE
flow_steps: int = 250  # optimiser steps of a flow

# %%
import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from dataclasses import replace
from sklearn.linear_model import LogisticRegression

import scimf
from scimf import countworlds, plots, realism, rivals, start_notebook
from scimf.autoencode import fit_counts, fit_counts_many, panel_counts
from scimf.counts import CountConfig
from scimf.flow import FlowConfig
from scimf.forecast import LibraryOverTime, fit_latent_space, forecast_counts
from scimf.generate import fit_flow

run = start_notebook("10_forecast_counts", globals())
run

# %% [markdown]
# ## Near, and yet no cell
#
# scIMF predicts points in principal components. Going back gives *expected* log expression, and an expected count is
# not a count. Take one gene with the mean $\mu = 0.4$ in every cell and dispersion $\theta = 2$. A measured cell shows
# a zero with probability
#
# $$
# P(x = 0) = \Bigl(1 + \frac{\mu}{\theta}\Bigr)^{-\theta}, \qquad
# \mathrm{Var}\,x = \mu + \frac{\mu^2}{\theta} ,
# $$
#
# a Poisson draw with $e^{-\mu}$ and the variance $\mu$, and the rounded expectation **always**, with variance 0. All
# three have the same expectation, or nearly: a distance between means cannot tell them apart.

# %%
mu, theta, rng = 0.4, 2.0, np.random.default_rng(seed)
by_rule = {"rounded": [1.0, 0.0], "Poisson": [np.exp(-mu), mu]}
by_rule["negative binomial"] = [(1 + mu / theta) ** -theta, mu + mu**2 / theta]
drawn = rng.poisson(mu * rng.gamma(theta, 1 / theta, 200_000))
assert np.allclose([(drawn == 0).mean(), drawn.var()], by_rule["negative binomial"], atol=0.01)
pd.DataFrame(by_rule, index=["zeros", "variance"]).T.round(3)

# %% [markdown]
# ## Cells shrink, too
#
# A decoder returns shares of genes; counts need a **library size** $L$, and that changes as cells develop. At a
# held-out time it is unknown, like all the rest. We take $\log L$ to be normal, its mean and spread on straight lines
# between the training times. By hand, halfway between two times:

# %%
world = countworlds.counted(
    scimf.load("typed", seed=seed, n_populations=n_populations, n_cells=n_cells), n_genes=n_genes
)
time, total = world.obs["time"].to_numpy(float), panel_counts(world).sum(1)
ends = [np.log(total[time == t]) for t in (1.0, 3.0)]
mean, spread = (np.mean([f(part) for part in ends]) for f in (np.mean, np.std))
library = LibraryOverTime.of(total[time != 2.0], time[time != 2.0])
by_module = [np.interp(2.0, library.times, values) for values in (library.mean, library.sd)]
assert np.allclose([mean, spread], by_module)
halfway, real = library.draw(np.full(20_000, 2.0)), total[time == 2.0]
print(f"median library at time 2: {np.median(halfway):.0f} predicted, {np.median(real):.0f} measured")
pd.Series(total).groupby(time).median()

# %% [markdown]
# ## Counts whose cells are known to talk
#
# The system is `typed`, in which cell types pull and push each other, seen through genes: loadings, a softmax, library
# sizes that fall by a tenth per unit of time, and negative-binomial noise. One middle time is held out in **every**
# population. Everything below is fitted to the other times.
#
# First a choice, and it is made on training cells alone: a fifth of them is set aside, one binomial half of each is
# encoded and the other half scored (notebook 8). The candidates are scLDM's set transformer and a plain MLP of equal
# latent size, the MLP with and without count splitting in training. Fits are short: who wins here wins *at this size*.

# %%
split = scimf.hold_out(world, times=[held_time])
train = split.train_mask(world)
aside = train & (np.random.default_rng(seed).random(world.n_obs) < 0.2)
mlp = CountConfig(architecture="mlp", tokens=8, latent=4, lr=1e-3, batch_cells=128, steps=count_steps, split=True)
candidates = {"MLP, split": mlp, "MLP, not split": replace(mlp, split=False)}
candidates["set, split"] = CountConfig(tokens=8, latent=4, steps=count_steps // 3, split=True)
options = {"cache": run.fits, "device": run.device}
tried = fit_counts_many(world, train & ~aside, genes=list(world.var_names), configs=candidates, seeds=[seed], **options)
errors = {name: realism.split_error(fitted, panel_counts(world[aside])) for (name, _), fitted in tried.items()}
errors["one profile"] = realism.profile_error(panel_counts(world[train & ~aside]), panel_counts(world[aside]))
pd.Series(errors, name="count-split error of training cells set aside (nats a cell)").round(1)

# %%
run.record({f"typed.choice.{name.replace(', ', '_').replace(' ', '_')}": value for name, value in errors.items()})
run.expect("on training cells set aside, the split MLP reconstructs best", errors["MLP, split"] == min(errors.values()))

# %% [markdown]
# The set transformer had a third of the steps, which already took it longer; published runs are far longer. We go on
# with the split MLP: what follows needs `encode` and `decode` and nothing else.
#
# ## The sphere
#
# Every latent token is put at zero mean and mean square 1, the surface of a sphere. The SDE knows nothing of it: a step
# of noise leaves the surface, outwards on average, because with $\langle z, \epsilon \rangle$ zero in the mean
#
# $$
# \frac{1}{D}\,\|z + \sigma\epsilon\|^2 \approx 1 + \sigma^2 .
# $$
#
# The decoder begins by projecting, so it cannot see how far out a token is: $z$ and $3z$ are the same cell.

# %%
counts = tried["MLP, split", seed]
z = counts.encode(world[:500])  # (cells, tokens, latent)
noisy = z + 0.3 * np.random.default_rng(seed).standard_normal(z.shape).astype(np.float32)
size = {"encoded": (z**2).mean(-1), "after noise of 0.3": (noisy**2).mean(-1)}
ones = np.ones(len(z))
seen = [counts.decode(part, ones)[0] for part in (noisy, 3 * noisy)]
assert np.allclose(size["encoded"], 1, atol=1e-3) and np.allclose(*seen, atol=1e-6)
assert abs(size["after noise of 0.3"].mean() - (1 + 0.3**2)) < 0.05
pd.DataFrame({name: np.quantile(value, [0.05, 0.5, 0.95]) for name, value in size.items()}, index=[5, 50, 95]).round(3)

# %% [markdown]
# Nothing breaks, but the SDE is trained in directions on which no count depends. Exercise 10.3 goes without a sphere.
#
# ## The join, and its rivals
#
# Everything is fitted to training cells by `fitted` and predicts the held-out time as a matrix of counts
# (`scimf/rivals.py`):
#
# - **joined**: encode, move by the interacting SDE, decode, draw with the library of that time;
# - **PCA scIMF**: the same SDE settings in principal components of log-normalised counts, then the inverse: $e^x - 1$,
#   cut at zero, as shares of the same library. Once *rounded*, as it is often done, and once with *Poisson* draws, so
#   that it is not beaten for want of noise alone;
# - **latent flow**: cells generated from noise (notebook 9). It was told the time as a label and knows no time between
#   labels: half its cells come from each neighbour, with the library of the held-out time;
# - **copy previous**, **neighbour mixture**: real measured cells of other times, which look like cells by construction;
# - **OT interpolation**: pairs in principal components, straight lines, inverse PCA, Poisson.
#
# The real held-out cells are cut in halves. One is the truth, the other is the **floor**; the **ceiling** is that other
# half encoded and redrawn: no latent model can be expected beyond its own autoencoder.


# %%
def fitted(adata, held, s):
    """Fit the join and what its rivals need to training cells, with seed s."""
    split, known = scimf.hold_out(adata, times=[held]), {"seed": s, "cache": run.fits, "progress": False}
    adata.obs["when"], train = adata.obs["time"].astype(str), split.train_mask(adata)
    latent, logs, on = adata.copy(), adata.copy(), {"device": run.device}
    coder = fit_counts(adata, train, genes=list(adata.var_names), config=mlp, **known, **on)
    tokens = fit_latent_space(coder, latent, split, n_dims=n_dims)
    space = scimf.fit_space(logs, split, n_pcs=n_dims)
    joined = scimf.fit(latent, split, tokens, config=sde, **known, **on)
    pca = scimf.fit(logs, split, space, config=sde, **known, **on)
    labels = [name for name in ("when", "population") if name in adata.obs]
    flow = fit_flow(coder, adata, train, conditions=labels, config=small_flow, **known)
    return {"joined": joined, "pca": pca, "flow": flow}


# %% [markdown]
# The fits take a minute or two. Read on meanwhile: the components in which distances are *scored* are fitted to
# training cells, so that the floor is zero on average; those in which the rival *moves* are its own. A seed also
# draws its own halves.

# %%
sde = scimf.SDEConfig(steps=sde_steps, batch_cells=128, target_cells=128, batch_groups=8)
small_flow = FlowConfig(width=64, blocks=2, lr=2e-3, average=0.98, steps=flow_steps)
fit_counts_many(world, train, configs={"split": mlp}, genes=list(world.var_names), seeds=range(n_seeds), **options)
models = {s: fitted(world, held_time, s) for s in range(n_seeds)}
clouds = {s: rivals.forecasts(world, split, held_time, **models[s], column="when", seed=s) for s in models}
project, tables = realism.log_pca(panel_counts(world[train])), {}
for s, found in clouds.items():
    scored = {k: realism.generation_scores(v, found["truth"], project) for k, v in found.items() if k != "truth"}
    tables[s] = pd.DataFrame(scored).T
SCORES = ["energy_distance", "frechet", "zero_fraction_error", "log10_mean_error", "log10_variance_error"]
table = pd.concat(tables, names=["seed", "method"])[SCORES].rename_axis(columns="score")
table.groupby("method", sort=False).mean().round(3)

# %% [markdown]
# `zero_fraction_error`: root mean square over genes of predicted minus real share of zeros; the other two errors are
# those of the log10 of a gene's mean and variance (0.3 is a factor of two). A column is read from its floor.

# %%
names = {
    "joined": "joined: scIMF in latents",
    "pca_rounded": "scIMF in PCs, rounded",
    "pca_poisson": "scIMF in PCs, Poisson",
    "flow": "latent flow, two times",
    "copy_previous": "copy previous",
    "mixture": "neighbour mixture",
    "ot_interpolation": "OT interpolation",
}
colours = dict(
    zip(names.values(), ("#0072B2", "#D55E00", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"), strict=True)
)

# %%
gaps = table.xs("joined", level="method") - table.xs("pca_poisson", level="method")
rows = {key: scimf.interval(values) for key, values in table.stack().groupby(["method", "score"], sort=False)}
rows |= {("difference", score): scimf.interval(gaps[score]) for score in SCORES}
run.record({f"typed.{method}.{score}": value for (method, score), value in rows.items()})
pd.DataFrame({score: rows["difference", score] for score in SCORES}).T.round(4)

# %%
shown = {"energy_distance": "energy distance (log-count PCs)", "zero_fraction_error": "error in share of zeros"}
shown["log10_variance_error"] = "error in log10 variance"
fig, panels = plt.subplots(1, 3, figsize=(7, 2.6), sharey=True)
for ax, (score, label) in zip(panels, shown.items(), strict=True):
    part = pd.DataFrame({names[m]: rows[m, score] for m in names}).T
    ends = {k: rows[k, score]["mean"] for k in ("floor", "ceiling")}
    plots.dots_between(ax, part, xlabel=label, colours=colours, **ends)
drawn_from = pd.DataFrame(rows).T.rename_axis(["method", "score"]).reset_index()
run.save_figure(fig, "fig10a_scores_at_the_held_out_time", data=drawn_from)

# %% [markdown]
# **Figure 10a.** Predictions of the held-out time, mean and 95 % interval over training seeds; dashed, the floor
# (half of the real cells against the other half), dotted, the ceiling (that half through the autoencoder and back).
#
# - The join lies **at its ceiling**: what it still misses, its autoencoder misses, not its SDE.
# - The same SDE in principal components is far off, *with* noise as without. Exercise 10.1 asks why.
# - **The neighbour mixture is level with the join**, and ahead in zeros. Between two measured times, mixing real cells
#   remains the rival to beat (notebook 4). It cannot say anything of a time after the last; that is not tested here.
# - The latent flow was fitted for seconds and its seeds differ widely; this says little about flows fitted for long.

# %%
gap, level = rows["difference", "energy_distance"], {k: rows[k, "energy_distance"]["mean"] for k in names}
run.expect("the join beats scIMF in PCs with Poisson draws in energy distance (interval below zero)", gap["hi"] < 0)
for score in ("zero_fraction_error", "log10_variance_error"):
    best = min(rows[k, score]["mean"] for k in ("pca_rounded", "pca_poisson"))
    run.expect(f"the join beats both PC forecasts in {score}", rows["joined", score]["mean"] < best)
run.expect("the join beats copying the previous time in energy distance", level["joined"] < level["copy_previous"])

# %% [markdown]
# ## Look at the genes
#
# One dot is one gene. On the diagonal, the predicted cells have as many zeros as the measured ones.

# %%
first = clouds[0]
panels_of = ["ceiling", "joined", "pca_rounded", "pca_poisson", "mixture", "ot_interpolation"]
titles = names | {"ceiling": "ceiling (autoencoder)"}
share = {name: (first[name] == 0).mean(0) for name in ["truth", *panels_of]}
fig, panels = plt.subplots(2, 3, figsize=(7, 4.6), sharex=True, sharey=True)
for ax, name in zip(panels.flat, panels_of, strict=True):
    plots.agreement(ax, share["truth"], share[name], xlabel="", ylabel="", size=6)
    ax.set_title(titles[name], loc="left")
fig.supxlabel("share of zeros, real", fontsize=8)
fig.supylabel("share of zeros, predicted", fontsize=8)
run.save_figure(fig, "fig10b_zeros_of_every_gene", data=pd.DataFrame(share, index=world.var_names).rename_axis("gene"))

# %% [markdown]
# **Figure 10b.** Share of cells without a count, gene by gene, real (half of the held-out cells) against predicted; one
# training seed. Above the line: too many zeros.

# %%
moments = {k: np.stack([first[k].mean(0), first[k].var(0)], 1) for k in ["truth", *panels_of]}
fig, panels = plt.subplots(2, 3, figsize=(7, 4.8), sharex=True, sharey=True)
for ax, name in zip(panels.flat, panels_of, strict=True):
    colour = colours.get(names.get(name), "#000000")
    plots.mean_variance(ax, moments["truth"], moments[name], title=titles[name], colour=colour)
    ax.label_outer()
panels[0, 0].legend()
frame = {f"{k}_{what}": v[:, i] for k, v in moments.items() for i, what in enumerate(("mean", "variance"))}
run.save_figure(fig, "fig10c_mean_and_variance", data=pd.DataFrame(frame, index=world.var_names).rename_axis("gene"))

# %% [markdown]
# **Figure 10c.** Variance against mean of every gene, real in grey. Counts lie above the dashed Poisson line, more so
# the larger the mean. All but the rounded one keep to the curve: a gene that is too low slides *along* it.
#
# ## Marker genes
#
# Do predicted cells of a type express what makes that type? A type's **markers** are the three genes whose mean log
# expression, on *training* cells, exceeds that of every other type the most. Predicted cells have no label; a logistic
# regression on the log principal components of training cells gives one, to real cells of the held-out time as well.

# %%
known, kinds = panel_counts(world[train]), world.obs["cell_type"].to_numpy().astype(str)[train]
log = pd.DataFrame(np.log1p(1e4 * known / known.sum(1, keepdims=True)), columns=world.var_names)
by_type = log.groupby(kinds).mean()
others = {k: by_type.drop(index=k).max() for k in by_type.index}
markers = {k: list((by_type.loc[k] - others[k]).nlargest(3).index) for k in by_type.index}
reader = LogisticRegression(max_iter=2000).fit(project(known), kinds)
held = world[split.held_mask(world)]
right = (reader.predict(project(panel_counts(held))) == held.obs["cell_type"].to_numpy().astype(str)).mean()
run.record({"typed.reader.accuracy_on_held_out_cells": right})
print(f"the reader names {right:.0%} of the held-out cells by their true type")
pd.DataFrame(markers, index=["first", "second", "third"]).T

# %%
expressed = {}
for s, cloud in clouds.items():
    for name in ["truth", "floor", "ceiling", *names]:
        log = pd.DataFrame(np.log1p(1e4 * cloud[name] / cloud[name].sum(1, keepdims=True).clip(1)))
        means = log.set_axis(world.var_names, axis=1).groupby(reader.predict(project(cloud[name]))).mean()
        expressed[s, name] = {f"{k}: {g}": means[g].get(k, np.nan) for k in markers for g in markers[k]}
expressed = pd.DataFrame(expressed)  # (markers, seed x prediction)
wrong = {s: expressed[s].sub(expressed[s]["truth"], axis=0).drop(columns="truth") for s in clouds}
wrong = pd.DataFrame({s: (error**2).mean() ** 0.5 for s, error in wrong.items()})
run.record({f"typed.{name}.marker_error": scimf.interval(values) for name, values in wrong.iterrows()})
found, wrong = expressed[0], wrong.mean(axis=1)
best = wrong[["pca_rounded", "pca_poisson"]].min()
run.expect("the join is nearer in marker expression than both PC forecasts", wrong["joined"] < best)
found[["truth", "floor", "joined", "pca_poisson", "mixture"]].round(2)

# %%
fig, panels = plt.subplots(1, 3, figsize=(7, 2.5), sharex=True, sharey=True)
for ax, name in zip(panels, ("joined", "pca_poisson", "mixture"), strict=True):
    plots.agreement(ax, found["truth"].to_numpy(), found[name].to_numpy(), xlabel="real", ylabel="", size=12)
    ax.set_title(names[name], loc="left")
panels[0].set_ylabel("predicted (log1p per 10,000)")
run.save_figure(fig, "fig10d_marker_genes", data=found.rename_axis("marker"))
wrong.sort_values().round(3).rename("marker error, root mean square, mean over training seeds")

# %% [markdown]
# **Figure 10d.** Mean log expression of three markers per type at the held-out time; one training seed. The table is
# the mean of all. The join has the smallest error of what was trained; with few seeds the intervals overlap.
#
# ## Real counts, and few of them
#
# Mouse embryonic stem cells leave pluripotency under retinoic acid: nine times from 0 to 96 hours, 41 genes, single
# population. **A cell has a median of about a dozen counts in all**, spread over seven genes or so: that is very
# little. One count more or less moves log expression by whole units, and a mean of a tenth of a count rests on thirty
# molecules. We hold out one time, and drop cells without any count on the panel (they have no composition at all).

# %%
real = {}
for name, adata in run.load(datasets).items():
    real[name] = adata[np.asarray(adata.X.sum(1)).ravel() > 0].copy()
    dropped, x = adata.n_obs - real[name].n_obs, panel_counts(real[name])
    print(
        f"{name}: {real[name].n_obs} cells, {dropped} without a count dropped; median total {np.median(x.sum(1)):.0f},"
    )
    print(f"{(x > 0).sum(1).mean():.1f} genes seen per cell, {(x == 0).mean():.0%} of all entries are zero")

# %%
real_rows = {}
for name, adata in real.items():
    on, seeds = realism.log_pca(panel_counts(adata[(adata.obs["time"] != held_hour).to_numpy()])), {}
    for s in range(real_seeds):
        fits, gap = fitted(adata, held_hour, s), scimf.hold_out(adata, times=[held_hour])
        answer = rivals.forecasts(adata, gap, held_hour, **fits, column="when", seed=s)
        scored = {k: realism.generation_scores(v, answer["truth"], on) for k, v in answer.items() if k != "truth"}
        seeds[s] = pd.DataFrame(scored).T
    part = pd.concat(seeds, names=["seed", "method"])[SCORES].rename_axis(columns="score")
    gaps = part.xs("joined", level="method") - part.xs("pca_poisson", level="method")
    means = {(name, *key): scimf.interval(v) for key, v in part.stack().groupby(["method", "score"], sort=False)}
    real_rows |= means | {(name, "difference", score): scimf.interval(gaps[score]) for score in SCORES}
    print(part.groupby("method", sort=False).mean().round(3).to_string())
run.record({".".join(key): value for key, value in real_rows.items()})

# %%
for name in real:
    fig, panels = plt.subplots(1, 3, figsize=(7, 2.6), sharey=True)
    for ax, (score, label) in zip(panels, shown.items(), strict=True):
        part = pd.DataFrame({names[m]: real_rows[name, m, score] for m in names}).T
        ends = {k: real_rows[name, k, score]["mean"] for k in ("floor", "ceiling")}
        plots.dots_between(ax, part, xlabel=label, colours=colours, **ends)
    data = pd.DataFrame(real_rows).T.rename_axis(["set", "method", "score"]).reset_index()
    run.save_figure(fig, "fig10e_real_counts_at_the_held_out_hour", data=data)

# %% [markdown]
# **Figure 10e.** As figure 10a, for the held-out hour of `mes_retinoic_acid`. In `teach` there is **one** training
# seed: an example, not a result; the interval is in `paper`.
#
# The picture repeats, less kindly. The join is far ahead of inverse PCA, but its ceiling itself is far from the floor:
# an autoencoder of a dozen counts a cell loses much of the cell. The **neighbour mixture** is level in energy distance
# and zeros (ahead in `paper`) and **has the smaller errors in mean and variance per gene**: nothing is lost there.

# %%
needs, level = ["mes_retinoic_acid"], {key: value["mean"] for key, value in real_rows.items()}
for score in ("energy_distance", "zero_fraction_error", "log10_variance_error"):
    keys = [("mes_retinoic_acid", method, score) for method in ("joined", "pca_poisson")]
    claim = f"on the real counts the join beats scIMF in PCs with Poisson draws in {score}"
    run.expect(claim, lambda keys=keys: level[keys[0]] < level[keys[1]], needs)
keys = [("mes_retinoic_acid", method, "log10_mean_error") for method in ("mixture", "joined")]
claim = "on the real counts the neighbour mixture beats the join in the mean of genes"
run.expect(claim, lambda: level[keys[0]] < level[keys[1]], needs)

# %% [markdown]
# ## The same call on your own AnnData
#
# Needed: counts in `X` or in `layers["counts"]`, gene names, and `obs["time"]`. (This fit is far too short to be good.)

# %%
when = np.repeat([0.0, 1.0, 2.0, 3.0], 80)
counts = np.random.default_rng(seed).poisson(np.exp(np.outer(when - 1.5, np.linspace(-0.5, 0.5, 12))))
mine = ad.AnnData(counts.astype(np.float32), obs=pd.DataFrame({"time": when}, index=[f"c{i}" for i in range(320)]))
mine.var_names = [f"Gene{k}" for k in range(12)]

split_mine = scimf.hold_out(mine, times=[2.0])
coder = fit_counts(mine, split_mine.train_mask(mine), config=replace(mlp, steps=60), cache=run.fits, progress=False)
tokens = fit_latent_space(coder, mine, split_mine)
moved = scimf.fit(mine, split_mine, tokens, config=replace(sde, steps=20), cache=run.fits, progress=False)
forecast_counts(moved, [2.0], n=100)

# %% [markdown]
# ## Exercise 10.1 · Whose fault is it?
#
# The SDE in principal components is trained like the other. Take it out of the question: send *real* held-out cells
# through principal components and back, with their own library sizes. How far are they from the truth?

# %% tags=["solution"]
other = ad.AnnData(first["floor"], var=world.var[[]])
back = models[0]["pca"].space
returned = rivals.redraw(back, back.encode(other), first["floor"].sum(1), seed=seed)
through = {"through PCs and back": realism.generation_scores(returned, first["truth"], project)["energy_distance"]}
through |= {name: tables[0].loc[name, "energy_distance"] for name in ("floor", "ceiling", "joined", "pca_poisson")}
run.record({"typed.pca_ceiling.energy_distance": through["through PCs and back"]})
run.expect("the way back costs more than the forecast", through["through PCs and back"] > through["joined"])
pd.Series(through).sort_values().round(3)

# %% [markdown]
# Most of it is the way back. Two likely reasons, not taken apart here: the exponential of a mean logarithm is not the
# mean (Jensen), and the components keep counting noise of their cells, to which Poisson draws add fresh noise.
#
# ## Exercise 10.2 · Silence
#
# Fit the join again without interaction (`scimf.widened_twin`). Does the forecast of this gap get worse?

# %% tags=["solution"]
quiet, coder = world.copy(), models[0]["joined"].space.counts
tokens = fit_latent_space(coder, quiet, split, n_dims=n_dims)
twin = scimf.widened_twin(len(tokens.components), sde)
silent = scimf.fit(quiet, split, tokens, config=twin, seed=0, cache=run.fits, progress=False)
n_each = -(-len(first["truth"]) // n_populations)
answer = forecast_counts(silent, [held_time], n=n_each, seed=0).X.toarray()
quiet_score = realism.generation_scores(answer, first["truth"], project)["energy_distance"]
pair = {"no_interaction": quiet_score, "joined": through["joined"]}
run.record({"typed.no_interaction.energy_distance": pair["no_interaction"]})
worth = abs(pair["joined"] - pair["no_interaction"]) < through["pca_poisson"] - through["joined"]
run.expect("the decoder is worth more in this gap than the interaction", worth)
pd.Series(pair).round(3)  # one seed, and a gap between two known times: notebook 4 says why this is no test

# %% [markdown]
# ## Exercise 10.3 · Without a sphere
#
# With `kl_weight` above zero tokens are Gaussian and nothing is projected: the SDE lives in the whole space, where its
# noise belongs. Is the forecast better for it?

# %% tags=["solution"]
free, known = world.copy(), {"cache": run.fits, "progress": False}
gaussian = fit_counts(free, train, genes=list(free.var_names), config=replace(mlp, kl_weight=0.1), **known, seed=0)
tokens = fit_latent_space(gaussian, free, split, n_dims=n_dims)
model = scimf.fit(free, split, tokens, config=sde, **known, seed=0)
answer = forecast_counts(model, [held_time], n=n_each, seed=0).X.toarray()
size = (gaussian.encode(free) ** 2).mean(-1)
assert size.std() > 0.01  # no sphere: tokens differ in length
both = pd.DataFrame({"joined, KL": realism.generation_scores(answer, first["truth"], project)}).T[SCORES]
run.record({f"typed.joined_kl.{score}": float(both[score].iloc[0]) for score in SCORES})
pd.concat([both, tables[0].loc[["joined", "ceiling"], SCORES]]).round(3)

# %% [markdown]
# ## What you have now
#
# - a forecast of raw counts at a time nobody measured, its library sizes included, from any AnnData with counts;
# - the reason why it is decoded by a count model and not by inverse PCA;
# - one caveat: in a gap between two measured times, a mixture of their cells is as good, and needs nothing.

# %%
run.finish()
