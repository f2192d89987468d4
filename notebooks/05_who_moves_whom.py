# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5 · Who moves whom
#
# **You will** ask whether an experiment can tell who moves whom, read the answer within seconds
# where it can, and see how convincing a wrong one looks where it cannot.
#
# **You will learn to**
#
# - plan: which pairs of cell types can be told, and how many cultures that takes;
# - derive the regression behind a map of who moves whom, and do it by hand in ten lines;
# - read such a map with its certainty, and ask what would happen in another culture;
# - compare velocities of real cells with the way to the next day, and recognise a wrong map.
#
# **You need** notebook 1; for one section, what a linear regression is. Reports `closed_form` and
# `interaction_test` prove the same tools against known truths; `fates_and_ligands` goes on with
# sister cells and genes.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach` | 2 CPU cores | all pairs of a simulation in seconds; real cells cannot tell |
# | `paper` | any | the same with longer fits and more training seeds |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "auto"  # "auto": a GPU when there is one; "cpu" or "cuda"
datasets: list = ["reprogramming_cut", "larry_clones"]  # real sets with cell types and genes
n_populations: int = 24  # simulated populations
n_cells: int = 100  # simulated cells per population and time
permutations: int = 999  # of every p-value
n_seeds: int = 3  # training seeds of every fit that is read
n_steps: int = 200  # optimiser steps on the simulation
n_pcs: int = 20  # principal components of the real sets
real_steps: int = 200  # optimiser steps on the real sets

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import scimf
from beside.counterfactual import Change, Simulation, what_if
from beside.maps import influence_map, plan_map
from beside.panels import shifts, velocities
from beside.removal import errors_of_removal
from beside.two_readings import compare_readings, influence_over_seeds, two_types
from beside.velocities import agreement_table
from scimf import start_notebook
from scimf.interaction.plan import Design

run = start_notebook("05_who_moves_whom", globals())
run

# %% [markdown]
# ## Can these data tell at all?
#
# Two real sets: fibroblasts on the way to stem cells (a cut of Schiebinger et al. 2019: days 10,
# 10.5 and 11) and blood progenitors with inherited barcodes (a cut of Weinreb et al. 2020: days 2,
# 4 and 6). Beside them a simulation, `typed`, in which five cell types pull and push each other. It
# has many **populations**: cultures, embryos or donors whose cells meet each other and nobody else.
#
# In one culture, B cells increase while A cells mature. Did B cause it? Only cultures with
# different amounts of B can tell. So ask first, before anything is fitted.

# %%
real = run.load(datasets)
typed = scimf.load("typed", seed=seed, n_populations=n_populations, n_cells=n_cells)
splits, spaces = {}, {}
for name, adata in {**real, "typed": typed}.items():
    splits[name] = scimf.hold_out(adata)  # all days are used: nothing is predicted here
    spaces[name] = scimf.fit_space(adata, splits[name], n_pcs=n_pcs)
for adata in real.values():
    kinds = adata.obs["cell_type"].astype(str)
    adata.obs["kind"] = kinds.where(kinds.map(kinds.value_counts()) >= 20, "rare")

# %%
verdicts = {name: scimf.do_cells_interact(adata) for name, adata in real.items()}
for name in datasets:
    closed = name in verdicts and verdicts[name].answer == "cannot be told"
    run.expect(f"{name} cannot tell", closed, needs=name)
for name, adata in real.items():
    print(f"{name}. {verdicts[name]}")
    run.record({f"{name}.n_times": adata.obs["time"].nunique(), f"{name}.n_cells": adata.n_obs})

# %% [markdown]
# **Real sets: cannot be told.** Each is one population: whatever a cell receives on a day, it
# receives together with everything else that happens that day. No analysis below lifts that. What
# would? That can be computed from **numbers of cells and densities alone**. We ask for a pull that
# brings a cell 10 % closer to another type from one snapshot to the next, if one cell in five is of
# that type. In the middle a plan: cultures of some 4,000 cells at each time, 16 times as many as
# there are now, in which each type in turn is four times as frequent or as rare, by sorting or by
# mixing.

# %%
designs = {f"{n_populations} cultures, simulated": Design.of(typed)}
if "larry_clones" in real:
    adata = real["larry_clones"]
    measured = Design.of(adata[(adata.obs["kind"] != "rare").to_numpy()].copy())
    planned = measured.varied(fold=4).more(cells=16)
    name = f"{len(planned.density)} cultures, planned"
    designs = {"1 culture, as measured": measured, name: planned, **designs}
plans = {name: scimf.plan_experiment(design) for name, design in designs.items()}
pd.DataFrame({name: plan["verdict"].value_counts() for name, plan in plans.items()}).fillna(0)

# %%
fig, panels = plt.subplots(1, len(plans), figsize=(7, 3.0), squeeze=False)
for ax, (name, plan) in zip(panels[0], plans.items(), strict=True):
    plan_map(ax, plan)
    ax.set_title(name, loc="left")
for ax in panels[0, 1:]:
    ax.set_ylabel("")
number = "the number: cultures that find the pair four times out of five"
fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, title=number)
run.save_figure(fig, "fig5a_what_can_be_told", data=pd.concat(plans, names=["design", "row"]))

# %% [markdown]
# **Figure 5a.** Take this one to a colleague. A square is a pair of types, receiver on the left and
# sender below; left and middle, `larry_clones`, right, `typed`. *Told*: the strength comes out to
# within a fifth; *ranked*: strong is told from weak. The number says in how many cultures, of
# compositions like these, the pair would be found four times out of five; a dash: in no number of
# them, as in many copies of one culture.

# %%
told = [int((plan["verdict"] == "told").sum()) for plan in plans.values()]
kinds = ["larry_clones.plan", "larry_clones.planned", "typed.plan"][-len(told) :]
run.record({f"{kind}.told": n for kind, n in zip(kinds, told, strict=True)})
claim = "one culture of larry_clones tells no pair, the planned ones at least ten"
run.expect(claim, lambda: told[0] == 0 and told[1] >= 10, needs="larry_clones")

# %% [markdown]
# ## On paper, for two types
#
# Let cells of type A drift by themselves, and be pulled by cells of type B. Call $m_A$ and $m_B$
# the mean of all A and of all B cells of a population $p$, $s_p$ its *density* (how many cells
# there are, relative to other populations) and $\pi_{pB}$ the *share* of its cells that are B. The
# more B cells an A cell meets, the stronger the pull, so
#
# $$
# \frac{\mathrm{d} m_A}{\mathrm{d} t} \;=\;
# \underbrace{c - \theta\, m_A}_{\text{own drift}} \;+\;
# S \cdot \underbrace{s_p\, \pi_{pB}}_{\text{how many B}} \cdot
# \underbrace{(m_B - m_A)}_{\text{which way}} .
# $$
#
# The *strength* $S$ is what we want: above 0, B pulls A; below 0, B pushes A away. Nobody measures
# $\mathrm{d} m_A / \mathrm{d} t$. But integrate both sides from one snapshot to the next: on the
# left stands how far the mean went; on the right, nearly, the time between times the average of
# both ends. All but $c$, $\theta$ and $S$ has been measured, and **the equation is linear in
# them**: a regression. No cell is followed, no network is trained.
#
# Two types whose law we know: A cells are pulled with $S = 0.5$, B cells by nobody.

# %%
two = two_types(strength=0.5, n_populations=n_populations, n_cells=n_cells, seed=seed)
groups = [two.obs[key].astype(str) for key in ("population", "time", "cell_type")]
mean = pd.DataFrame(two.X, index=two.obs_names).groupby(groups).mean()
mean.unstack().head(5).round(2)  # of the first population

# %% [markdown]
# The regression, by hand. A row is one coordinate of one step of one population, the columns are
# $c$ (one for each coordinate), $\theta$ and $S$.

# %%
rows, steps = [], []
for population, cells in two.obs.groupby("population", observed=True):
    m_a = mean.xs((population, "A"), level=[0, 2]).to_numpy()  # (times, 2)
    m_b = mean.xs((population, "B"), level=[0, 2]).to_numpy()
    pull = cells["density"].iloc[0] * (cells["cell_type"] == "B").mean() * (m_b - m_a)
    for k in range(len(m_a) - 1):  # snapshots are one unit of time apart
        halfway = (m_a[k] + m_a[k + 1]) / 2
        rows.append(np.column_stack([np.eye(2), -halfway, (pull[k] + pull[k + 1]) / 2]))
        steps.append(m_a[k + 1] - m_a[k])
x, y = np.concatenate(rows), np.concatenate(steps)
solution, *_ = np.linalg.lstsq(x, y, rcond=None)
dict(zip(("c1", "c2", "theta", "S"), solution.round(3).tolist(), strict=True))

# %% [markdown]
# The truth is 0.6, 0, 0.3 and 0.5. `scimf.who_moves_whom` does the same regression for every pair
# at once, with what real data need besides: pulls that fade with distance, rows weighted by their
# numbers of cells, the noise of the means taken off, and intervals from leaving out one population
# after the other.

# %%
pair = scimf.who_moves_whom(two, form="towards", permutations=permutations, seed=seed).table
by_hand = float(solution[-1])
a_by_b = pair[pair["receiver"] == "A"].iloc[0]
inside = bool(a_by_b["lo"] < by_hand < a_by_b["hi"])
run.record({"two_types.by_hand": by_hand, "two_types.strength": a_by_b["strength"]})
run.record({"two_types.lo": a_by_b["lo"], "two_types.hi": a_by_b["hi"]})
run.expect("the regression by hand lies in the interval of who_moves_whom", inside)
run.expect("and within 0.05 of the true strength", abs(by_hand - 0.5) < 0.05)
pair.round(3)

# %% [markdown]
# ## The map, in seconds
#
# Now the five types of `typed`. Before the table, one question for the data as a whole. It is
# answered by *permutation*: without interaction it would not matter in which culture a cell is, so
# cultures exchange their senders at random, many times, and we count how often that explains the
# cells as well as the true senders do. That share is $p$. Each pair gets a $p$ of its own; $q$
# corrects it for looking at many pairs (of pairs with $q \le 0.05$, about one in twenty is false).
# The column `truth` is the simulator's matrix: pulls that saturate with distance. Compare signs and
# order with it, not sizes.

# %%
print(scimf.do_cells_interact(typed, permutations=permutations, seed=seed))
began = perf_counter()
found = scimf.who_moves_whom(typed, permutations=permutations, seed=seed)
seconds = perf_counter() - began
truth = typed.uns["scimf"]["truth"]["type_matrix"]  # (receiver, sender)
names = list(typed.uns["scimf"]["truth"]["types"])
table = found.table
table["truth"] = truth[table["receiver"].map(names.index), table["sender"].map(names.index)]
print(f"{seconds:.1f} s")
table.round(3)

# %%
is_true = table["truth"] != 0
is_found = table["q"] <= 0.05
right = np.sign(table["strength"]) == np.sign(table["truth"])
counts = {"pairs": len(table), "true": int(is_true.sum())}
counts["true_found"] = int((is_found & is_true).sum())
counts["false_found"] = int((is_found & ~is_true).sum())
counts["sign_right"] = int((right & is_true).sum())
run.record({f"typed.edges.{key}": value for key, value in counts.items()})
run.record({"typed.edges.seconds": seconds})
run.expect("the map finds every true pair", counts["true_found"] == counts["true"])
run.expect("it has the sign of every true pair right", counts["sign_right"] == counts["true"])
run.expect("at most one pair is found that is none", counts["false_found"] <= 1)

# %%
fig, ax = plt.subplots(figsize=(4.4, 3.9))
values = table.rename(columns={"strength": "value"})
influence_map(ax, values, truth=truth, unit="per unit of time")
ax.set_title("{true_found} of {true} true pairs found, {false_found} others".format(**counts))
fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=2)
run.save_figure(fig, "fig5b_who_moves_whom", data=table)

# %% [markdown]
# **Figure 5b.** Find the receiver on the left and the sender below. A triangle to the right of the
# line in its square: the sender *pulls* the receiver closer; to the left: it *pushes* it away; the
# farther out, the stronger. Bars, mostly hidden by the triangles, are 95 % intervals. Filled:
# $q \le 0.05$; hollow: not told from nothing. Grey: true pairs, which only a simulation knows.
#
# What it does **not** show: a molecule, or populations unlike those measured. If a type that nobody
# labelled pulls, the map blames a labelled one that is frequent where it is. And how a type pulls
# its own kind moves no mean: the squares of the diagonal stay empty.
#
# ## Two readings, side by side
#
# The network of chapters 2 and 3 is read in another way: its *influence* of B on A is how much the
# velocity of A cells towards B grows with the weight of B cells as senders, per unit of their
# share. **The footing is unequal**: the regression is given types and densities and answers for
# means of types; the network gets cells and densities, no types, and answers for every cell. Both
# are asked what the mean of each type receives in each snapshot (*error*: 0 is perfect, 1 as good
# as saying nothing; *missing*: the share of it that is lost), and to rank the pairs (*auroc*: the
# chance that a true pair stands before another; 0.5 is a coin). Training takes some twenty seconds.

# %%
size = {"hidden": (32, 32), "rank": 5, "hidden_interaction": 32}
batches = {"batch_cells": n_cells, "target_cells": n_cells}
config = scimf.SDEConfig(start="t0", lr=5e-3, dt=0.34, steps=n_steps, **size, **batches)
options = {"seeds": range(n_seeds), "cache": run.fits, "device": run.device}
began = perf_counter()
kept = scimf.fit_many(typed, splits["typed"], spaces["typed"], configs={"scimf": config}, **options)
training = perf_counter() - began
models = [kept["scimf", s] for s in range(n_seeds)]

# %%
readings = compare_readings(typed, found, models)
for reading, row in readings.iterrows():
    run.record({f"typed.{reading}.{key}": value for key, value in row.items()})
better = readings["error"]["regression"] < 0.2 < readings["error"]["network"]
run.expect("the error of the regression is below 0.2, that of the network above", better)
run.expect("both rank true pairs before others", bool((readings["auroc"] > 0.9).all()))
readings["given"] = ["cells, densities, types", "cells, densities"]
readings["seconds"] = [seconds, training]  # next to none where fits were read from the cache
readings.round(2)

# %% [markdown]
# The network finds the pairs and their signs, without labels, and loses a large part of the pulls.
# So: **strengths, intervals and p-values from the regression; trajectories, velocities and other
# cultures from the network.** For other cultures it is needed next.
#
# ## What if the population were another one?
#
# In the simulation the question has an answer. One type is removed, halved or doubled, or two
# populations are mixed; the same cells are put among the old and the new cells, and the *shift* is
# how far a type ends from where it would have been.

# %%
first = typed.obs[typed.obs["time"] == 0]
shares = pd.crosstab(first["population"], first["cell_type"], normalize="index")
home = str(shares.min(axis=1).idxmax())  # the most even population
other = str((shares - shares.loc[home]).abs().sum(axis=1).idxmax())  # and the one least like it
strongest = table["strength"].abs().groupby(table["sender"]).mean().idxmax()

# %%
changes = {"removed": 0.0, "halved": 0.5, "doubled": 2.0, "tenfold": 10.0}
changes = {f"{strongest} {word}": Change(factors={strongest: x}) for word, x in changes.items()}
changes[f"{home} mixed with {other}"] = Change(mix_with=other)
last = float(typed.obs["time"].max())
answers = {}
for question, change in changes.items():
    answers[question] = what_if(models, typed, population=home, times=[last], change=change)
    print(f"{question}: {answers[question].attrs['warning'] or 'within what was seen'}")

# %%
seen = {key: answer for key, answer in answers.items() if not answer.attrs["warning"]} or answers
fig, ax = plt.subplots(figsize=(5.2, 2.4))
shifts(ax, seen, ylabel="shift by the last time\n(data coordinates)")
run.save_figure(fig, "fig5c_what_if", data=pd.concat(answers, names=["question", "row"]))

# %% [markdown]
# **Figure 5c.** How far each type ends from where it would have: mean and 95 % interval over
# training seeds; grey bars, how far the type goes anyway. Questions outside of what the network was
# trained on get a warning, above, and are not drawn: a network extrapolates without blushing.
#
# How good is such an answer? We simulate the true experiment in all populations, with the type
# missing and its place taken by the others, and compare the means of types.

# %%
composition = typed.uns["scimf"]["truth"]["composition"].copy()  # (populations, types)
composition[:, names.index(strongest)] = 0
composition /= composition.sum(1, keepdims=True)
same_system = {"seed": seed, "n_populations": n_populations, "n_cells": n_cells}
experiment = scimf.load("typed", **same_system, compositions=composition, replicate=1)
experiment.obsm["X_scimf"] = spaces["typed"].encode(experiment)
draws = Simulation(n=200, draws=1)
errors = errors_of_removal(models, typed, experiment, strongest, simulation=draws)
errors.mean().sort_values().round(3)

# %%
gain = scimf.interval(errors["observed"] - errors["observed_and_shift"])  # over populations
run.record({f"typed.counterfactual.gain.{key}": gain[key] for key in ("mean", "lo", "hi")})
run.record({f"typed.counterfactual.error.{key}": errors[key].mean() for key in errors})
closer = "come closer to the true experiment than 'nothing changes'"
run.expect(f"observed cells plus the predicted shift {closer}", gain["lo"] > 0)

# %% [markdown]
# **Recommended: what was observed, plus the predicted shift** (`observed_and_shift`): what the
# network gets wrong about the unchanged population cancels. Here it is about as good to simulate
# the changed population (`changed`). Real populations need the same test before anyone trusts it.
#
# ## Real cells of one culture: velocities, yes
#
# What *can* be asked of one culture is where its cells go. The *velocity* of a cell is the drift of
# the network at that cell, among the cells of its snapshot. Fits take some ten seconds.

# %%
config = scimf.SDEConfig(steps=real_steps)
fits = {}
for name, adata in real.items():
    data = (adata, splits[name], spaces[name])
    kept = scimf.fit_many(*data, configs={"scimf": config}, **options)
    fits[name] = [kept["scimf", s] for s in range(n_seeds)]
    scimf.velocity(fits[name][0], adata)  # writes obsm["velocity_scimf"]

# %%
if real:
    fig, panels = plt.subplots(len(real), 2, figsize=(7, 2.6 * len(real)), squeeze=False)
    for row, (name, adata) in zip(panels, real.items(), strict=True):
        pcs = (adata.obsm["X_scimf"][:, :2], adata.obsm["velocity_scimf"][:, :2])
        velocities(*row, *pcs, types=adata.obs["kind"].to_numpy(str), name=name)
    run.save_figure(fig, "fig5d_velocity_of_real_cells")

# %% [markdown]
# **Figure 5d.** Cells of all days by type (left); velocities, averaged on a grid (right; each set
# has its own length of arrows), in the first two components.
#
# Arrows always look like a story. How well do they agree with the way to the next day? The cosine
# between a cell's velocity and the way to its partners under optimal transport stands beside the
# same after velocities were permuted among cells, and beside a baseline without any model: all
# cells go the way from mean to mean.

# %%
agreement = agreement_table(fits, real)
for name, part in agreement.groupby("data"):
    for row in part.drop(columns="data").to_dict("records"):
        key = f"{name}.velocity_agreement.day_{row.pop('day'):g}".replace("10.5", "10_5")
        nulls = {null: row.pop(null) for null in ("permuted", "mean_direction")}
        run.record({f"{key}.scimf": row, **{f"{key}.{null}": x for null, x in nulls.items()}})
agreement.round(2)

# %%
for name in datasets:
    mine = agreement[agreement["data"] == name]
    claim = f"velocities of {name} agree with the next day better than permuted ones"
    run.expect(claim, bool((mine["mean"] > mine["permuted"]).all()), needs=name)
    beyond = bool((mine["lo"] > mine["mean_direction"]).all())
    claim = f"velocities of {name} are not clearly better than the mean direction on every day"
    run.expect(claim, not beyond, needs=name)

# %% [markdown]
# So the arrows know more than chance, but not reliably more than the one sentence "everybody goes
# that way". And the next day is no judge: the fits have seen it, and the partners are themselves a
# model. This is a check of consistency, not a proof.
#
# ## ... and who moves whom, no
#
# `who_moves_whom` refuses one culture. A network does not: it draws a map of anything.

# %%
maps = {}
if "larry_clones" in real:
    adata = real["larry_clones"]
    cells = adata[(adata.obs["kind"] != "rare").to_numpy()].copy()
    try:
        scimf.who_moves_whom(cells)
    except ValueError as refusal:
        print(refusal)
    trained = fits["larry_clones"]
    maps["trained"] = influence_over_seeds(trained, cells)
    untrained = [trained[0].untrained(seed=s) for s in range(n_seeds)]
    maps["untrained"] = influence_over_seeds(untrained, cells)
filled = {kind: int((part["lo"] * part["hi"] > 0).sum()) for kind, part in maps.items()}
run.record({f"larry_clones.influence.filled.{kind}": n for kind, n in filled.items()})

# %%
if maps:
    fig, panels = plt.subplots(1, 2, figsize=(7, 3.6))
    for ax, (kind, part) in zip(panels, maps.items(), strict=True):
        influence_map(ax, part, conclusive=False, unit="PC units per day")
        ax.set_title(f"{n_seeds} {kind} networks: {filled[kind]} pairs look certain", loc="left")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    run.save_figure(fig, "fig5e_a_wrong_map", data=maps)
claim = "training seeds agree on the sign of some pairs of one culture that cannot be told"
run.expect(claim, lambda: filled["trained"] > 0, needs="larry_clones")

# %% [markdown]
# **Figure 5e.** Reading as in figure 5b, for one culture of real cells; mean and 95 % interval over
# training seeds, each panel on its own scale. Left, a map with signs and certainty. **It cannot be
# told**, whatever the seeds agree on: all saw the same culture, and share what it cannot tell. An
# interval over seeds says how much the *training* wavers, never whether the data could answer.
#
# ## Exercise 5.1 · Predict
#
# Let the medium be changed, so that the own drift is another one in every interval: the regression
# by hand then needs $c$ once for each step, eight numbers in place of two. What will the strength
# be with all cultures together, and what in each culture alone? Count equations and unknowns.

# %% tags=["solution"]
every_step = np.column_stack([np.tile(np.eye(8), (n_populations, 1)), x[:, 2:]])
together = np.linalg.lstsq(every_step, y, rcond=None)[0][-1]
parts = zip(np.split(every_step, n_populations), np.split(y, n_populations), strict=True)
alone = np.array([np.linalg.lstsq(*part, rcond=None)[0][-1] for part in parts])
print(f"true: 0.5, together: {together:.2f}, alone: {alone.min():.2f} to {alone.max():.2f}")
# one culture has eight equations for ten unknowns: any strength fits it, and 0 is the smallest
assert np.abs(alone - 0.5).mean() > 3 * abs(together - 0.5)

# %% [markdown]
# ## Exercise 5.2 · Plan
#
# Every second culture of `typed` is lost, and of the others four cells in five.
# How many pairs could still be told? What would bring the rest back: more cultures or more cells?

# %% tags=["solution"]
design = Design.of(typed)
half = design.count[:, ::2] // 5
small = Design(half, design.density[::2], design.times, design.types)
plan = scimf.plan_experiment(small)
print(plan["verdict"].value_counts().to_dict())
print(plan.loc[plan["verdict"] == "cannot be told", ["populations", "cells"]].median().to_dict())
assert (plan["verdict"] == "told").sum() < len(plan)

# %% [markdown]
# ## Exercise 5.3 · Five lines: who speeds whom up?
#
# The influence of the network may also be read along the receiver's own way, `towards="velocity"`:
# positive speeds up, negative slows down, and a type may act on itself. Which sender slows others
# most? Is it much?

# %% tags=["solution"]
along = scimf.influence(models[0], typed, towards="velocity")
others = along.where(~np.eye(len(along), dtype=bool))
brake = others.mean().idxmin()
print(f"{brake} slows the others most: {others[brake].mean():.2f} per unit of time")
assert np.isfinite(np.diag(along)).all() and others[brake].mean() == others.mean().min()

# %% [markdown]
# ## What you have now
#
# - a plan that says, before the experiment, which pairs it will tell;
# - a map of pushes and pulls with its certainty, and a wrong one to recognise the next by;
# - one caveat that no figure removes: one population, one composition, no answer.

# %%
run.finish()
