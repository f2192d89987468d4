# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6 · Growth: moved or multiplied
#
# **You will** let cells divide and die: give each a weight, put a price on growth, and ask who
# makes whom divide.
#
# **You will learn to**
#
# - say why two snapshots cannot tell motion from growth, and what else can;
# - derive the weight of a cell;
# - find who multiplies whom by a regression, in ten lines and in one.
#
# **You need** notebooks 2 and 5. Report `growth` holds the evidence, on simulations and real cells.
#
# | profile | machine | what you should see |
# | --- | --- | --- |
# | `smoke` | 2 CPU cores | that it runs |
# | `teach`, `paper` | 2 CPU cores | effects within 0.2 of the truth, shares closer than a copy |

# %% tags=["parameters"]
profile: str = "teach"  # row of the table above; make sets it
seed: int = 0  # seeds Python, NumPy and torch
device: str = "cpu"  # "auto", "cpu" or "cuda"
n_families: int = 2000  # families of cells that are simulated
n_populations: int = 24  # simulated populations
n_cells: int = 400  # simulated cells per population and time
permutations: int = 999  # of every p-value
n_steps: int = 100  # optimiser steps of the network

# %%
import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import ot
import pandas as pd
import torch
from scipy.stats import norm

import scimf
from beside.growing import growing
from beside.maps import pair_matrix
from scimf import start_notebook
from scimf.dynamics.interactions import AdditiveInteraction

run = start_notebook("06_growth", globals())
rng = np.random.default_rng(seed)
run

# %% [markdown]
# ## Moved or multiplied?
#
# A measurement destroys a cell, so two days are two clouds without arrows. In the first panel the
# cloud of day 1 (blue) lies to the right of that of day 0 (grey). Two stories explain it.

# %%
day0 = rng.normal(size=(150, 2))
day1 = rng.normal(size=(150, 2)) + [1, 0]
children = rng.poisson(np.exp(day0[:, 0]))  # if nobody moves: many on the right, few on the left
dead = children == 0
print(f"{dead.mean():.0%} died, {(children > 1).mean():.0%} divided")

# %%
fig, panels = plt.subplots(1, 3, figsize=(7, 2.6), sharex=True, sharey=True)
for ax, after in zip(panels[:2], (day1, day0 + [1, 0]), strict=True):
    ax.scatter(*day0.T, s=8, color="0.7")
    ax.scatter(*after.T, s=8)
panels[1].quiver(*day0[::4].T, 1, 0, angles="xy", scale_units="xy", scale=1, color="0.3")
panels[2].scatter(*day0[dead].T, s=14, color="0.6", marker="x", lw=0.8)
panels[2].scatter(*day0[~dead].T, s=10 * children[~dead], alpha=0.6, lw=0)
for ax, title in zip(panels, ("Seen", "Moved?", "Or multiplied?"), strict=True):
    ax.set(xticks=[], yticks=[], title=title)
run.save_figure(fig, "fig6a_moved_or_multiplied", data=pd.DataFrame(day0).assign(n=children))

# %% [markdown]
# **Figure 6a.** Each cell went right (arrows: one in four), or nobody moved: crosses died, and the
# larger a dot, the more descendants.
#
# The two stories do not merely look alike. Multiply a bell curve by $e^{x}$: $e^{-x^2/2}\, e^{x}$
# is, up to a constant, $e^{-(x-1)^2/2}$, the same bell one unit to the right. **Snapshots alone
# cannot decide**, however many cells they have.

# %%
x = rng.normal(size=100_000)
w = np.exp(x)  # nobody moves, cells multiply
mean = np.average(x, weights=w)
variance = np.average((x - mean) ** 2, weights=w)
np.testing.assert_allclose([mean, variance], [1, 1], atol=0.1)  # as if all had moved by one

# %% [markdown]
# ## One cell
#
# A cell divides at rate $b$ and dies at rate $d$ per day. Within a short time $h$ it has become two
# with probability $bh$ and none with $dh$. So the *expected* number $w$ of its descendants, its
# **weight**, is multiplied by $1 + (b - d)h$, again and again. With the growth rate $g = b - d$:
#
# $$
# \mathrm{d} \log w = g\,\mathrm{d}t .
# $$


# %%
def families(birth, death, h=0.02, days=2):
    number = [np.ones(n_families, int)]
    for _ in range(round(days / h)):
        born = rng.binomial(number[-1], birth * h)
        died = rng.binomial(number[-1], death * h)
        number.append(number[-1] + born - died)
    return np.stack(number, axis=1)  # (families, times)


# %%
number = families(birth=1.0, death=0.5)
days = np.linspace(0, 2, number.shape[1])
weight = np.exp((1.0 - 0.5) * days)
ratio = number[:, -1].mean() / weight[-1]
print(f"{number[:, -1].mean():.2f} descendants on average, weight {weight[-1]:.2f}")

# %%
fig, ax = plt.subplots(figsize=(4.4, 2.4))
ax.plot(days, number[:40].T, color="0.8", lw=0.7)
ax.plot(days[::10], number.mean(0)[::10], "o", color="C1", label=f"mean of {len(number)} families")
ax.plot(days, weight, color="C0", label="weight of one cell")
ax.set_title("Families are luck, their mean is the weight", loc="left")
ax.set(xlabel="days", ylabel="descendants", ylim=(-0.2, 12))
ax.legend(loc="upper left")
run.save_figure(fig, "fig6b_families_and_weight", data=pd.DataFrame({"weight": weight}, days))

# %% [markdown]
# **Figure 6b.** Grey: forty families; many die out. A weight has no luck in it.
#
# ## A moving cell, and many
#
# Let the cell move meanwhile. Its weight stands beside its equation of notebook 2:
#
# $$
# \mathrm{d}X = f(X, \mu)\,\mathrm{d}t + \sigma\,\mathrm{d}W, \qquad
# \mathrm{d} \log w = g(X)\,\mathrm{d}t .
# $$
#
# Many cells are the population $\mu = \sum_i w_i\, \delta_{X_i}$: a cell of weight 2 counts as two,
# in a mean and **as a sender**.

# %%
listen = AdditiveInteraction(dim=1, rank=3)
five = torch.randn(1, 5, 1, generator=run.generator())
weighted = listen(five, sender_weight=torch.tensor([[2.0, 1, 1, 1, 1]]))
twice = listen(torch.cat([five, five[:, :1]], dim=1))  # cell 0 has divided
# sums are divided by the other cells, four before and five now
torch.testing.assert_close(weighted[:, 1:], twice[:, 1:5] * 5 / 4)

# %% [markdown]
# ## The price of growth
#
# A model must choose between the two stories, so growth gets a price $\lambda$. Among all plans
# that send cells of day 0 to cells of day 1, and may create or delete some at either end, take the
# one with the least (the Wasserstein–Fisher–Rao form)
#
# $$
# \text{squared way} \;+\; \lambda \cdot \text{change of numbers at both ends (KL divergence)} .
# $$
#
# Two bells of width 1, one unit apart: move by $m$, and let growth shift each end by $(1 - m)/2$. A
# shift by $\delta$ has the divergence $\delta^2/2$, so the price is $m^2 + \lambda (1 - m)^2 / 4$.
# It is lowest for $m = \lambda / (\lambda + 4)$.

# %%
before = norm.ppf((np.arange(60) + 0.5) / 60)  # a bell of 60 cells
way = before + 1 - before[:, None]  # from each cell of day 0 to each of day 1
equal = np.full(60, 1 / 60)
prices = np.geomspace(0.1, 100, 13)
moved = []
for price in prices:
    plan = ot.unbalanced.mm_unbalanced(equal, equal, way**2, price, numItermax=300)
    moved.append((plan * way).sum() / plan.sum())
exact = prices / (prices + 4)
np.testing.assert_allclose(moved, exact, atol=0.03)

# %%
fig, ax = plt.subplots(figsize=(4.4, 2.6))
ax.plot(prices, exact, label=r"$\lambda / (\lambda + 4)$")
ax.plot(prices, moved, "o", color="C1", label="cheapest plan for 60 cells")
ax.set(xscale="log", xlabel=r"price of growth $\lambda$", ylabel="motion", ylim=(0, 1))
ax.set_title("Every answer fits the data: you choose by the price", loc="left")
ax.secondary_yaxis("right", functions=(lambda m: 1 - m, lambda g: 1 - g)).set_ylabel("growth")
ax.legend()
run.save_figure(fig, "fig6c_price_of_growth", data=pd.DataFrame({"price": prices, "moved": moved}))

# %% [markdown]
# **Figure 6c.** Which share of the shift is motion. Cheap growth: all multiplied; dear growth: all
# moved. The right axis is also how much more often per day a cell one unit to the right divides.
# *That* can be measured: doubling times, cell numbers, the share of dead cells, genes of
# proliferation and of apoptosis. One such number picks the point on the curve; clouds never will.
#
# ## Who multiplies whom
#
# Named types make it easier: the number of cells of a type changes by growth only, whatever moves
# (if cells keep their type). Call $n_a$ the cells of type $a$ in a population, relative to all at
# its start, and $s$ its density (notebook 5). Each type grows at a rate of its own, $r_a$, and
# **the cells of $b$ that it meets add $G_{ab}$ each** (ecologists: generalised Lotka–Volterra):
#
# $$
# \frac{\mathrm{d} \log n_a}{\mathrm{d} t} = r_a + \sum_b G_{ab}\; s\, n_b .
# $$
#
# We make one: A makes B divide, C makes B die, in cultures of different compositions. Measured are
# the number of all cells (`mass`) and the types of a few hundred.

# %%
types, times = list("ABC"), np.arange(5.0)
rates = np.array([0.0, 0.2, 0.1])
effects = np.array([[0, 0, 0], [0.6, 0, -0.6], [0, 0, 0]])  # (receiver, sender)
density = np.exp(rng.uniform(np.log(0.5), np.log(2), size=(n_populations, 1)))
n = rng.dirichlet(np.ones(3), size=n_populations)  # (populations, types)
history = [n]
for _ in range(400):
    n = n * np.exp((rates + density * n @ effects.T) * 0.01)
    history.append(n)
truly = np.stack(history[::100], axis=1)  # (populations, times, types)

# %%
mass = truly.sum(-1, keepdims=True)
counts = rng.multinomial(n_cells, truly / mass)
number = mass * counts / n_cells  # what is measured
number[0].round(2)  # of the first population, at five times

# %% [markdown]
# As in notebook 5, integrate from one snapshot to the next: on the left the change of $\log n_a$,
# on the right the time between times the average of what was met. **Linear in $r$ and $G$**.

# %%
met = density[:, None] * (number[:, 1:] + number[:, :-1]) / 2
design = np.concatenate([np.ones_like(met[..., :1]), met], axis=-1)  # one day apart
found = {}
for a, receiver in enumerate(types):
    enough = (counts[:, 1:, a] >= 5) & (counts[:, :-1, a] >= 5)  # the log of a few is noise
    change = np.log(number[:, 1:, a][enough] / number[:, :-1, a][enough])
    found[receiver] = np.linalg.lstsq(design[enough], change, rcond=None)[0]
by_hand = pd.DataFrame(found, index=["rate", *types]).T
by_hand.round(2)

# %%
fig, ax = plt.subplots(figsize=(3.4, 2.8))
pair_matrix(ax, by_hand[types], truth=effects, label="effect on growth, per day")
ax.set_title("A makes B divide, C makes it die", loc="left")
run.save_figure(fig, "fig6d_who_multiplies_whom", data=by_hand)
worst = float(np.abs(by_hand[types] - effects).to_numpy().max())

# %% [markdown]
# **Figure 6d.** Blue: the sender makes the receiver divide; red: die. Framed: true effects. Here
# the diagonal means something: a type that slows itself is *crowded*.
#
# `scimf.who_multiplies_whom` does the same from cells, with intervals and a test. Where totals are
# not known, it says what is left: growth of types *relative to each other*.

# %%
names = [f"p{p:02d}" for p in range(n_populations)]
levels = {"population": names, "time": times, "cell_type": types}
obs = pd.MultiIndex.from_product(levels.values(), names=levels).to_frame(index=False)
obs["mass"] = np.repeat(mass.ravel(), 3)
obs["density"] = np.repeat(density.ravel(), 15)
obs = obs.loc[obs.index.repeat(counts.ravel())].reset_index(drop=True)
cells = ad.AnnData(obs=obs.set_index(obs.index.astype(str)))

# %%
growth = scimf.who_multiplies_whom(cells, permutations=permutations, seed=seed)
growth.table.round(2)

# %% [markdown]
# What if A were removed? The fitted equation, rolled forward from other numbers at the start:

# %%
as_it_was = growth.predict(4.0).sum()
without = growth.predict(4.0, factors={"A": 0.0}).sum()
pd.DataFrame({"as it was": as_it_was, "without A": without}).round(1)  # all cultures together

# %% [markdown]
# ## The network
#
# `SDEConfig(growth="type")` trains a rate for each type beside the drift of notebook 2, and
# `sample` returns cells with `obs["weight"]`. In `growing`, types divide and die and nobody
# listens. A day is held out and predicted from the day before.

# %%
cultures = growing(seed=seed, n_populations=n_populations, n_cells=n_cells)
split = scimf.hold_out(cultures, times=[3])
space = scimf.fit_space(cultures, split)
config = scimf.SDEConfig(growth="type", interaction="none", steps=n_steps, lr=2e-2)
model = scimf.fit(cultures, split, space, config=config, seed=seed)
sampled = model.sample(times=[3], seed=seed)
log_w = np.log(sampled.obs["weight"]).groupby(sampled.obs["cell_type"]).mean()
learned = pd.DataFrame({"learned": log_w, "true": cultures.uns["scimf"]["truth"]["rates"]})
learned.round(2)

# %% [markdown]
# ## What may be believed
#
# - Growth of *types*: yes, where totals were counted and cells keep their type.
# - Growth along a *state*: as good as what you put in; no cloud decides.
# - Who multiplies whom: between cultures that differ, and no more than "where many A are, B grows".
#   An unmeasured type that goes along with A would look the same.
#
# ## Exercise 6.1 · Predict
#
# A cell that divides at rate 2.5 and dies at rate 2 has the weight of ours. Of which do more
# families die out? Can weights tell the two?

# %% tags=["solution"]
restless = families(birth=2.5, death=2.0)
calm = families(birth=1.0, death=0.5)
print(f"died out: {(calm[:, -1] == 0).mean():.2f} and {(restless[:, -1] == 0).mean():.2f}")
# the mean is the same: only lineages, or dead cells, tell the two
assert (restless[:, -1] == 0).mean() > (calm[:, -1] == 0).mean()

# %% [markdown]
# ## Exercise 6.2 · Choose a price
#
# A microscope shows that a cell one unit to the right divides 0.25 times more often per day. What
# is the price, and does the plan agree?

# %% tags=["solution"]
price = 4 * 0.75 / 0.25  # moved: 1 - 0.25, and m = price / (price + 4)
plan = ot.unbalanced.mm_unbalanced(equal, equal, way**2, price, numItermax=300)
assert abs((plan * way).sum() / plan.sum() - 0.75) < 0.03

# %% [markdown]
# ## Exercise 6.3 · Five lines: lose the totals
#
# Use changes of $\log$ shares, $\log(n_a / \sum_b n_b)$, with what was met as before. What becomes
# of the matrix, and which differences survive?

# %% tags=["solution"]
often = (counts >= 5).all(axis=-1)
rows = often[:, 1:] & often[:, :-1]
fits = []
for known in (number, counts / n_cells):  # with totals, without
    change = np.log(known[:, 1:][rows] / known[:, :-1][rows])
    fits.append(np.linalg.lstsq(design[rows], change, rcond=None)[0].T)  # (receiver, 1 + senders)
lost = fits[0] - fits[1]  # the same for every receiver: what all types share is lost,
np.testing.assert_allclose(lost, np.tile(lost[:1], (3, 1)), atol=1e-8)  # differences survive
pd.DataFrame(fits[1], types, ["rate", *types]).round(2)

# %% [markdown]
# ## What you have now
#
# - a weight for every cell, and a number that says when weights wear out;
# - a curve between moved and multiplied, and measurements that pick a point on it;
# - one caveat: clouds alone pick none.

# %%
edges = growth.table[growth.table["q"] <= 0.05]
called = set(zip(edges["receiver"], edges["sender"], strict=True))
off = float((learned["learned"] - learned["true"]).abs().max())
run.record({"families.mean_to_weight": ratio, "by_hand.worst_error": worst})
run.record({"growing.rate.worst_error": off})
run.expect("the mean number of descendants is the weight, within 15 %", abs(ratio - 1) < 0.15)
run.expect("every effect by hand is within 0.2 of the truth", worst < 0.2)
run.expect("one call finds both effects", {("B", "A"), ("B", "C")} <= called)
run.expect("the network learns every rate to 0.1 per day", off < 0.1)
run.finish()
