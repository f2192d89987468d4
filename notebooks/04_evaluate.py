# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4 · Predict what nobody measured
#
# **You will** predict a time and whole populations that no model has seen, and score the
# predictions beside the noise floor and beside predictions that need no model at all.
#
# **You will learn to**
#
# - read a score only together with its floor and its trivial baselines;
# - compare two models by a paired difference over training seeds, and over populations;
# - report a result that goes against you (the real data, at the end).
#
# **You need** notebook 3: its fits are read here, not repeated.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach` | 2 CPU cores | interacting below no interaction, interval below zero, 5 seeds |
# | `paper` | any | the same with 10 seeds |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch, and the simulation
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
datasets: list = ["cite_hspc"]  # real sets with a time to hold out
n_populations: int = 24  # simulated populations, as in notebook 3
n_cells: int = 100  # simulated cells per population and time, as in notebook 3
n_held_populations: int = 4  # populations nobody trained on, as in notebook 3
n_seeds: int = 5  # training seeds, as in notebook 3
n_steps: int = 300  # optimiser steps of a fit, as in notebook 3
held_day: float = 3.0  # held-out time of the real set
real_seeds: int = 3  # training seeds on the real set
real_steps: int = 200  # optimiser steps on the real set
real_cells: int = 1000  # cells on either side of a score on the real set

# %%
from dataclasses import replace

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

import scimf
from beside.panels import predicted_and_observed
from scimf import plots, start_notebook
from scimf.evaluation.baselines import BASELINES
from scimf.evaluation.distances import energy_distance
from scimf.evaluation.held_out import METRICS, Scoring

run = start_notebook("04_evaluate", globals())
run

# %% [markdown]
# ## What is held out
#
# Two things at once: **time 2** of every population, and **four populations** altogether, of which
# a prediction may use the first snapshot as a start. The first asks "can you fill a gap?", the
# second "can you predict a culture with another mix of cell types?". Only the second tells
# interaction from habit: those compositions were never seen.

# %%
typed = scimf.load("typed", seed=seed, n_populations=n_populations, n_cells=n_cells)
held = sorted(typed.obs["population"].cat.categories)[n_populations - n_held_populations :]
split = scimf.hold_out(typed, times=[2.0], populations=held)
space = scimf.fit_space(typed, split)
base = scimf.SDEConfig(steps=n_steps, batch_cells=n_cells, target_cells=n_cells)
configs = {
    "scimf": base,
    "no_interaction": scimf.matched_config(space.dim, base),
    "attention": replace(base, interaction="attention", dropout=0.1),
}
options = {"cache": run.fits, "device": run.device}
fits = scimf.fit_many(typed, split, space, configs=configs, seeds=range(n_seeds), **options)
print(f"{len(fits)} fits; held-out cells: {split.held_mask(typed).sum()} of {typed.n_obs}")

# %% [markdown]
# `attention` is the published *form* of the interaction under our training recipe, so that the
# three models differ in nothing but the interaction.
#
# ## A floor, by hand
#
# Two random halves of the same snapshot are not at distance zero. That distance is the **floor**:
# what another draw of real cells scores. It is a yardstick, not a wall: a prediction that averages
# out sampling noise can score a little lower. W1 and W2 in many dimensions are mostly floor. The
# unbiased energy distance has its floor at zero on average.

# %%
snapshot = ((typed.obs["population"] == "p00") & (typed.obs["time"] == 2.0)).to_numpy()
truth = typed.X[snapshot]
order = np.random.default_rng(seed).permutation(len(truth))
a = truth[order[: len(truth) // 2]]
b = truth[order[len(truth) // 2 :]]
within_a = cdist(a, a).sum() / (len(a) * (len(a) - 1))  # no cell is paired with itself
within_b = cdist(b, b).sum() / (len(b) * (len(b) - 1))
by_hand = cdist(a, b).mean() - within_a / 2 - within_b / 2
assert np.isclose(by_hand, energy_distance(a, b))
print(f"floor of population p00 at time 2, {len(a)} against {len(b)} cells: {by_hand:.4f}")

# %% [markdown]
# ## Predictions without a model
#
# `evaluate` puts these beside every score. None of them looks at held-out cells, either:
#
# - *copy previous*, *copy nearest*: nothing moves;
# - *neighbour mixture*: cells of the times before and after, by closeness; *mixture of all times*:
#   equal parts;
# - *mean shift*: all cells before, moved by one vector; *last velocity*: moved on as the mean moved
#   last;
# - *OT interpolation*: pair cells before and after by optimal transport, walk straight lines;
# - *other populations*: what all the others look like at that time.

# %%
{name: function.__doc__.split("\n")[0] for name, function in BASELINES.items()}

# %% [markdown]
# ## The table
#
# For each training seed every model predicts every held-out snapshot, starting from the latest
# observed snapshot of that population. A row of the table is the mean over snapshots of one kind,
# and over seeds.

# %%
samples = {}
for (name, s), model in fits.items():
    gap = model.sample([2.0])
    unseen = model.sample([1.0, 3.0, 4.0], populations=held)
    samples[f"{name} {s}"] = ad.concat([gap, unseen], index_unique="-")
scores = scimf.evaluate(samples, typed, split)
parts = scores["method"].str.extract(r"^(\w+) ?(\d*)$")  # baselines and floor have no training seed
scores["method"] = parts[0]
scores["seed"] = parts[1]
by_kind = scores.groupby(["metric", "kind", "method", "seed"])["value"].mean()
overall = by_kind.groupby(["metric", "method", "seed"]).mean()  # over the two kinds
table = by_kind.groupby(["kind", "method", "metric"]).mean().unstack()[list(METRICS)]
table.sort_values(["kind", "energy_distance"]).round(4)

# %% [markdown]
# Read a column from its floor. Baselines that need a later snapshot (mixture, interpolation) do not
# exist for a population that was held out altogether; *other populations* does not exist for a time
# that was held out everywhere. (*Floor, same types* compares two draws of real cells with the same
# composition of types: some of the noise of a floor is composition.)

# %%
kinds = {"time": "held-out time", "population": "held-out populations"}
rows = {}
for key, values in by_kind["energy_distance"].groupby(["kind", "method"]):
    rows[key] = scimf.interval(values)  # over seeds; a mean alone for what has none
energy = pd.DataFrame(rows).T.rename_axis(["kind", "method"])

fig, panels = plt.subplots(1, 2, figsize=(7, 3.0))
for ax, (kind, title) in zip(panels, kinds.items(), strict=True):
    part = energy.loc[kind]
    order = [m for m in (*configs, *BASELINES) if m in part.index]
    floor = part.loc["floor", "mean"]
    plots.scores(ax, part.loc[order], xlabel="energy distance to held-out cells", floor=floor)
    ax.set_title(title, loc="left")
run.save_figure(fig, "fig4a_heldout_energy_distance", data=energy.reset_index())

# %% [markdown]
# **Figure 4a.** Energy distance between predicted and held-out cells, mean and 95 % interval over
# training seeds; dashed, the floor (real against real). On the left, note **OT interpolation**: for
# a gap between two known snapshots a straight line through the data needs no model and is at least
# as good as ours. A gap is an easy question. On the right nothing can be interpolated, and a model
# of the cells is all there is.
#
# ## Is the interaction needed?
#
# Both models have the same size, see the same cells, and share seeds. So the question is the
# **paired difference**, and an answer is an interval. Two kinds of replicate can be meant: another
# training run (seed), and another population. The first says whether the result would survive a
# rerun, the second whether it would survive other data. We show both.

# %%
over_seeds = overall["energy_distance"]
run.record({"typed.energy_distance.floor": float(over_seeds["floor"].mean())})
for name in configs:
    run.record({f"typed.energy_distance.{name}": scimf.interval(over_seeds[name])})
    for kind in kinds:
        run.record({f"typed.held_out_{kind}.energy_distance.{name}": rows[kind, name]})

# %%
differences = {}
without = over_seeds["no_interaction"]
differences["difference"] = scimf.interval(over_seeds["scimf"] - without)
differences["attention_difference"] = scimf.interval(over_seeds["attention"] - without)
for name, found in differences.items():
    run.record({f"typed.energy_distance.{name}": found})
for kind in kinds:
    part = by_kind["energy_distance", kind]
    differences[kind] = scimf.interval(part["scimf"] - part["no_interaction"])
    run.record({f"typed.held_out_{kind}.energy_distance.difference": differences[kind]})
pd.DataFrame(differences).T.round(5)

# %%
energy_scores = scores[scores["metric"] == "energy_distance"]
per_population = energy_scores.groupby(["population", "method"])["value"].mean().unstack()
pair = per_population[["no_interaction", "scimf"]]
by_population = scimf.interval(pair["scimf"] - pair["no_interaction"])  # a population is the unit
wins = float((pair["scimf"] < pair["no_interaction"]).mean())
for key in ("mean", "lo", "hi"):
    place = f"typed.energy_distance.difference_over_populations.{key}"
    run.record({place: by_population[key]})
run.record({"typed.share_of_populations_won": wins, "typed.n_populations_compared": len(pair)})
print(f"interacting model closer in {wins:.0%} of {len(pair)} populations")
print("mean difference {mean:.4f}, 95 % interval {lo:.4f} to {hi:.4f}".format(**by_population))

# %%
fig, ax = plt.subplots(figsize=(3.4, 2.8))
names = {"xlabel": "no interaction", "ylabel": "scIMF (additive)"}
plots.agreement(ax, *pair.to_numpy().T, **names, size=10)
ax.set_title("energy distance, one dot a population", loc="left")
run.save_figure(fig, "fig4b_population_by_population", data=per_population)

# %% [markdown]
# **Figure 4b.** Below the line: the interacting model is closer to that population's held-out
# cells. A single population is scored with few cells, so dots scatter; the interval over
# populations is wider than that over seeds, and it is the one that speaks for populations not
# simulated here.

# %%
better = "the interacting model predicts held-out cells better than its twin"
claim = f"over seeds, {better} (interval below zero)"
run.expect(claim, differences["difference"]["hi"] < 0)
run.expect("so it does for held-out populations", differences["population"]["hi"] < 0)
print("at the held-out time alone: {mean:.4f} [{lo:.4f}, {hi:.4f}]".format(**differences["time"]))

# %% [markdown]
# At the held-out **time** alone it is a tie (`teach`): between two snapshots that both models have
# seen there is little left to explain. (An earlier version of this page, with other random numbers,
# had that interval just below zero and claimed it; the claim is withdrawn.) The interaction is
# needed where nothing was seen: in a new mix of cell types.

# %%
unseen = energy.loc["population", "mean"]
best_baseline = unseen[unseen.index.intersection(list(BASELINES))].min()
skills = {}
for name in configs:
    skills[name] = (best_baseline - unseen[name]) / (best_baseline - unseen["floor"])
    run.record({f"typed.held_out_population.skill.{name}": skills[name]})
pd.Series(skills, name="skill on held-out populations (1 = floor, 0 = best baseline)").round(3)

# %% [markdown]
# ## Look at the cells
#
# A number hides what went wrong. Here is the last time of a population nobody trained on: observed
# cells in grey, each prediction on top, through two principal components of the training cells.

# %%
view = PCA(2, random_state=0).fit(typed.X[split.train_mask(typed)])
there = typed[(typed.obs["population"] == held[0]).to_numpy()]
observed = there.X[(there.obs["time"] == 4.0).to_numpy()]
clouds = {"copy_previous": there.X[(there.obs["time"] == 0.0).to_numpy()]}
for name in ("no_interaction", "scimf"):
    clouds[name] = fits[name, 0].sample([4.0], populations=held[:1]).obsm["X_scimf"]

# %%
fig, panels = plt.subplots(1, 3, figsize=(7, 2.3), sharex=True, sharey=True)
grey = view.transform(observed)
for ax, (name, cloud) in zip(panels, clouds.items(), strict=True):
    style = {"title": plots.METHOD_LABELS[name], "colour": plots.METHOD_COLOURS[name]}
    on_top = view.transform(cloud)
    predicted_and_observed(ax, grey, on_top, labels=("PC 1", "PC 2"), **style)
run.save_figure(fig, "fig4c_predicted_and_observed_simulation")

# %% [markdown]
# **Figure 4c.** Held-out population at time 4 (grey) and three predictions from its cells at time
# 0.
#
# ## Real cells: a day between two days
#
# CITE-seq of human blood stem cells, days 2, 3, 4 and 7, as 50 principal components that were
# fitted by others **on all days, the held-out one included**. We hold out day 3; every cell is
# pushed from day 2, the previous observed day. The settings are those of the simulation, widened
# for 50 dimensions; nothing was chosen on day 3. In `teach` the fits are short and three in number,
# so read the order of the rows, not the digits. They take about two minutes; read on meanwhile:
# there is one population and one composition here, so nothing below can *prove* an interaction.

# %%
real = run.load(datasets)
size = {"hidden": (128, 128), "hidden_interaction": 128, "batch_cells": 256, "target_cells": 512}
wide = scimf.SDEConfig(**size, steps=real_steps)
real_splits = {}
real_fits = {}
for name, adata in real.items():
    real_splits[name] = scimf.hold_out(adata, times=[held_day])
    real_space = scimf.fit_space(adata, real_splits[name])
    two = {"scimf": wide, "no_interaction": scimf.matched_config(real_space.dim, wide)}
    seeds = {"configs": two, "seeds": range(real_seeds)}
    real_fits[name] = scimf.fit_many(adata, real_splits[name], real_space, **seeds, **options)

# %%
real_samples = {}
real_scores = {}
for name, adata in real.items():
    tables = []
    for s in range(real_seeds):
        cells = {}
        for method in ("scimf", "no_interaction"):
            cells[method] = real_fits[name][method, s].sample([held_day], n=2 * real_cells)
            real_samples[name, method, s] = cells[method].obsm["X_scimf"]
        scoring = Scoring(n=real_cells, draws=1)
        tables.append(
            scimf.evaluate(cells, adata, real_splits[name], scoring=scoring).assign(seed=s)
        )
    real_scores[name] = pd.concat(tables, ignore_index=True)

# %%
for name, table in real_scores.items():
    for (metric, method), values in table.groupby(["metric", "method"])["value"]:
        learned = method in ("scimf", "no_interaction")
        found = scimf.interval(values) if learned else float(values.mean())
        run.record({f"{name}.day3.{metric}.{method}": found})
    n = table["n"].iloc[0]
    print(f"{name}, day {held_day:g}, n = {n} cells on either side, {real_seeds} seeds")
    means = table.pivot_table(index="method", columns="metric", values="value")[list(METRICS)]
    print(means.sort_values("energy_distance").round(3).to_string())

# %%
labels = {"energy_distance": "energy distance", "w1": "W1"}
for table in real_scores.values():
    fig, panels = plt.subplots(1, 2, figsize=(7, 2.6))
    for ax, (metric, label) in zip(panels, labels.items(), strict=True):
        rows = {}
        for method, values in table[table["metric"] == metric].groupby("method")["value"]:
            rows[method] = scimf.interval(values)
        shown = pd.DataFrame(rows).T
        order = [m for m in ("scimf", "no_interaction", *BASELINES) if m in shown.index]
        floor = shown.loc["floor", "mean"]
        plots.scores(ax, shown.loc[order], xlabel=f"{label}, day {held_day:g}", floor=floor)
    run.save_figure(fig, "fig4d_real_heldout_scores", data=table.drop(columns="population"))

# %% [markdown]
# **Figure 4d.** Held-out day 3 of `cite_hspc`: mean over three training seeds with 95 % interval;
# dashed, the floor.
#
# The honest reading: in energy distance both models beat copying, and the one with an interaction
# is closer on average, though the intervals of three seeds overlap. In W1, which rewards a narrow
# cloud, neither is far from copying. And **mixing the cells of the two neighbouring days beats both
# in energy distance**, with no model at all, while straight optimal-transport lines have the lowest
# W1. Day 3 carries a shift of its mean that no other day contains; a model that interpolates cannot
# know it. Notebook 5 asks what a drift looks like, not how far this score can be improved.

# %%
for name, adata in real.items():
    x = adata.obsm["X_scimf"][:, :2]
    day = adata.obs["time"].to_numpy(float)
    rng = np.random.default_rng(seed)
    observed = x[rng.choice(np.flatnonzero(day == held_day), real_cells, replace=False)]
    before = x[rng.choice(np.flatnonzero(day == day.min()), real_cells, replace=False)]
    clouds = {"copy_previous": before}
    for method in ("no_interaction", "scimf"):
        clouds[method] = real_samples[name, method, 0][:real_cells, :2]
    fig, panels = plt.subplots(1, 3, figsize=(7, 2.3), sharex=True, sharey=True)
    for ax, (method, cloud) in zip(panels, clouds.items(), strict=True):
        style = {"title": plots.METHOD_LABELS[method], "colour": plots.METHOD_COLOURS[method]}
        predicted_and_observed(ax, observed, cloud, labels=("PC 1", "PC 2"), **style)
    run.save_figure(fig, "fig4e_predicted_and_observed_real")

# %% [markdown]
# **Figure 4e.** Day 3 (grey) and three predictions of it, first two components, 1,000 cells each.


# %%
def real_energy(method):
    """Mean energy distance of one method on the real held-out day."""
    table = real_scores["cite_hspc"]
    rows = (table["metric"] == "energy_distance") & (table["method"] == method)
    return table.loc[rows, "value"].mean()


run.expect(
    "on CITE day 3 both models beat copying day 2",
    lambda: max(real_energy("scimf"), real_energy("no_interaction")) < real_energy("copy_previous"),
    needs="cite_hspc",
)
run.expect(
    "on CITE day 3 the neighbour mixture beats both models",
    lambda: real_energy("mixture") < min(real_energy("scimf"), real_energy("no_interaction")),
    needs="cite_hspc",
)

# %% [markdown]
# ## Exercise 4.1 · Predict
#
# If twice as many cells are drawn on either side, which floor shrinks: that of W1, of the energy
# distance, of both?

# %% tags=["solution"]
held_cells = typed[split.held_mask(typed)].copy()
floors = pd.DataFrame()
for n in (5, 20):
    scored = scimf.evaluate(held_cells, typed, split, scoring=Scoring(n=n))
    floors[n] = scored[scored["method"] == "floor"].groupby("metric")["value"].mean()
# W1 shrinks with n; the energy distance only gets less noisy
assert floors.loc["w1", 20] < floors.loc["w1", 5]
floors.loc[["w1", "energy_distance"]].round(3)

# %% [markdown]
# ## Exercise 4.2 · Your own prediction
#
# Score a method of your own: take the cells of the previous time and add the mean shift between the
# two neighbours.

# %% tags=["solution"]
observed = typed[~typed.obs["population"].isin(held).to_numpy()]
mine = observed[(observed.obs["time"] == 1.0).to_numpy()].copy()
where = [observed.obs["population"].astype(str), observed.obs["time"]]
means = pd.DataFrame(observed.obsm["X_scimf"], index=observed.obs_names).groupby(where).mean()
shift = means.xs(3.0, level="time") - means.xs(1.0, level="time")
mine.obsm["X_scimf"] = mine.obsm["X_scimf"] + shift.loc[mine.obs["population"]].to_numpy() / 2
mine.obs["time"] = 2.0

result = scimf.evaluate(mine, typed, split)
found = result[result["metric"] == "energy_distance"].groupby("method")["value"].mean()
assert found["model"] < found["copy_previous"]
found.round(4)

# %% [markdown]
# ## Exercise 4.3 · Why paired?
#
# Compute the standard error of the difference as if the two models had been trained with unrelated
# seeds. Pairing helps only where both models find the same seeds hard. Do they here?

# %% tags=["solution"]
ours = over_seeds["scimf"]
twin = over_seeds["no_interaction"]
unpaired = np.sqrt((ours.var() + twin.var()) / n_seeds)
paired = (ours - twin).std() / np.sqrt(n_seeds)
print(f"standard error: paired {paired:.5f}, unpaired {unpaired:.5f}")
# pairing helps exactly where hard seeds are hard for both
assert (paired < unpaired) == (ours.corr(twin) > 0)

# %% [markdown]
# ## What you have now
#
# - a table in which every score stands beside its floor and its baselines;
# - a paired answer to "is the interaction needed?" on a simulation where the truth is yes;
# - one caveat: on real data a mixture of two days is a strong rival, and most published tables do
#   not print it.

# %%
run.finish()
